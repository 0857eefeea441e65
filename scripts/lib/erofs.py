"""Read-only file systems: the root, and the bundles that agents come in.

Owner, times and UUID are fixed, so the bytes depend on names, modes and contents only.

    build(tree, BUILD / "image/root.erofs", EROFS_UUID)
"""

from __future__ import annotations

import uuid
from pathlib import Path

from lib import tools
from lib.host import published, run
from lib.release import epoch

# docs/adr/0007-size-of-the-slot.md has the figures. Fragments pack the ends of files together.
COMPRESSION = "zstd,9"
CLUSTER = 65536
FEATURES = "ztailpacking,fragments,dedupe"


def build(tree: Path, out: Path, identity: uuid.UUID, compression: str = COMPRESSION) -> None:
    """Pack a directory into an erofs image."""
    options = [f"-z{compression}", f"-C{CLUSTER}", f"-E{FEATURES}"]
    options += ["--all-root", f"-T{epoch()}", f"-U{identity}", "--quiet"]
    with published(out) as temporary:
        run([*tools.command("mkfs.erofs"), *options, str(temporary), str(tree)], timeout=1800)
