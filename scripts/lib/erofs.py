"""Read-only file systems: the root, and the bundles that agents come in.

Owner, times and UUID are fixed, so the bytes depend on names, modes and contents only.

    build(tree, BUILD / "image/root.erofs", EROFS_UUID)
"""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

from lib import tools
from lib.host import published, run
from lib.release import epoch

CLUSTER = 65536
# Of the largest libraries, which are read after PID 1 answers: more is unpacked for one page.
LARGE_CLUSTER = 262144
LARGE = (
    r"/onnxruntime/capi/[^/]+\.so$",
    r"/numpy\.libs/[^/]+\.so[^/]*$",
    r"/numpy/_core/_multiarray_umath\.[^/]+\.so$",
    r"/cryptography/hazmat/bindings/_rust\.[^/]+$",
)
# docs/adr/0007-size-of-the-slot.md has the figures. Fragments pack small files and ends of files
# together: most of what a boot reads, hence in small clusters.
SMALL = ("-zzstd,9:lz4hc,12", f"-Eztailpacking,fragments={CLUSTER},dedupe")
# What is read before PID 1 answers is packed by the second algorithm, which takes more room, and
# less time to unpack.
HOT = (
    r"^usr/bin/python3\.[0-9]+$",
    r"^usr/lib/([a-z0-9_]+-linux-gnu/)?(ld-linux[^/]*|libc|libm|libz|libexpat|libffi)\.so[^/]*$",
    r"^usr/lib/python3\.[0-9]+/lib-dynload/.*",
    r"^usr/lib/ainit/pid1\.bundle$",
    r"^usr/lib/ainit/ainit/linux/libainit\.so$",
    r"^usr/s?bin/init$",
)
# For gigabytes: one pass, and an agent's start is not spent on decompression.
FAST = ("-zlz4", "-Eztailpacking")


def build(tree: Path, out: Path, identity: uuid.UUID, packing: tuple[str, ...] = SMALL) -> None:
    """Pack a directory into an erofs image."""
    options = [*packing, f"-C{LARGE_CLUSTER if packing is SMALL else CLUSTER}"]
    options += ["--all-root", f"-T{epoch()}", f"-U{identity}", "--quiet"]
    with published(out) as temporary, tempfile.NamedTemporaryFile("w") as hints:
        if packing is SMALL:
            hints.write("".join(f"{CLUSTER} 1 {pattern}\n" for pattern in HOT))
            hints.write("".join(f"{LARGE_CLUSTER} 0 {pattern}\n" for pattern in LARGE))
            hints.write(f"{CLUSTER} 0 .*\n")
            hints.flush()
            options.append(f"--compress-hints={hints.name}")
        run([*tools.command("mkfs.erofs"), *options, str(temporary), str(tree)], timeout=1800)
