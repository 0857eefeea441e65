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

CLUSTER = 65536
# docs/adr/0007-size-of-the-slot.md has the figures. Fragments pack the ends of files together.
SMALL = ("-zzstd,9", "-Eztailpacking,fragments,dedupe")
# For gigabytes: one pass, and an agent's start is not spent on decompression.
FAST = ("-zlz4", "-Eztailpacking")


def build(tree: Path, out: Path, identity: uuid.UUID, packing: tuple[str, ...] = SMALL) -> None:
    """Pack a directory into an erofs image."""
    options = [*packing, f"-C{CLUSTER}"]
    options += ["--all-root", f"-T{epoch()}", f"-U{identity}", "--quiet"]
    with published(out) as temporary:
        run([*tools.command("mkfs.erofs"), *options, str(temporary), str(tree)], timeout=1800)
