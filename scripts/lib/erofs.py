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

# lz4 decompresses at memory speed, which start-up lives on. The root: lz4hc 81 MiB in 14 s, zstd
# level 3 70 MiB in 29 s, level 9 66 MiB in 55 s; without compression 192 MiB. 64-KiB clusters save
# 5 MiB against 16 KiB.
COMPRESSION = "lz4hc,12"
CLUSTER = 65536


def build(tree: Path, out: Path, identity: uuid.UUID, compression: str = COMPRESSION) -> None:
    """Pack a directory into an erofs image."""
    options = [f"-z{compression}", f"-C{CLUSTER}", "-Eztailpacking"]
    options += ["--all-root", f"-T{epoch()}", f"-U{identity}", "--quiet"]
    with published(out) as temporary:
        run([*tools.command("mkfs.erofs"), *options, str(temporary), str(tree)], timeout=1800)
