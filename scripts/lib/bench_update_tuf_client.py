"""The three commands that TUF's conformance suite gives a client (`init`, `refresh`, `download`;
see CLIENT-CLI.md in theupdateframework/tuf-conformance), done by the machine's own.

    python bench_update_tuf_client.py --metadata-dir DIR --metadata-url URL refresh
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ainit.errors import AinosError
from ainit.ota.metadata import METADATA, TARGETS
from ainit.ota.transfer import Limits, open_source
from ainit.ota.trust import Trust

ROOT = "root.json"


def main(arguments: Sequence[str]) -> int:
    """Run one command: 0 when it succeeded fully, else 1."""
    parser = argparse.ArgumentParser(prog="tuf-client", description=__doc__)
    parser.add_argument("--metadata-dir", required=True, type=Path)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url", default="")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    options = parser.parse_args(arguments)
    if options.command == "init":
        shutil.copyfile(options.root, options.metadata_dir / ROOT)
        return 0
    base = options.metadata_url.removesuffix(METADATA)
    if options.command == "download" and options.target_base_url != base + TARGETS:
        parser.error("metadata and targets are not side by side")
    try:
        root = (options.metadata_dir / ROOT).read_bytes()
        with open_source(base, Limits()) as source:
            trust = Trust(str(options.metadata_dir), root, source)
            trust.refresh()
            for name in options.target_name:
                place = options.target_dir / quote(name, "")
                trust.fetch(name, str(place), lambda *_: None)
    except (AinosError, OSError) as error:
        print(f"tuf-client: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
