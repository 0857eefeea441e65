"""A disk whose state is sealed at its first boot, made of one whose state lies open.

The state partition becomes blank; its file system goes to the boot partition, compressed, from
where ainit puts it into the volume that it makes (`ainit.seal.first`). The rest is the image's.

    make(BUILD / "image", BUILD / "image-sealed")
"""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

from ainit.seal.first import SEED
from lib.assembly import DISK, MANIFEST
from lib.host import HostError, published, run
from lib.layout import MIB, PARTITIONS, VOLUME_HEADER
from lib.progress import step
from lib.state_partition import partition_offset

_CHUNK = MIB


def make(image: Path, out: Path) -> None:
    """Write the sealed disk to ``out``, beside links to the image's other files."""
    if not (image / MANIFEST).exists():
        raise HostError(f"there is no image in {image}; `make image` builds one")
    out.mkdir(parents=True, exist_ok=True)
    for path in image.iterdir():
        if path.is_file() and path.name != DISK:
            with published(out / path.name) as temporary:
                temporary.unlink(missing_ok=True)
                os.link(path, temporary)
    with step("sealed disk"), published(out / DISK) as disk:
        run(["cp", "--sparse=always", str(image / DISK), str(disk)])
        move_state(disk)


def move_state(disk: Path) -> None:
    """Take the file system off the state partition of a disk, and put it on the boot partition."""
    start = partition_offset("state")
    with tempfile.TemporaryDirectory(dir=disk.parent) as name, disk.open("r+b") as file:
        seed = Path(name) / "seed.gz"
        size = PARTITIONS["state"].size
        file.seek(start)
        with seed.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            for _ in range((size - VOLUME_HEADER) // _CHUNK):
                packed.write(file.read(_CHUNK))
        run(["fallocate", "--punch-hole", "-o", str(start), "-l", str(size), str(disk)])
        boot = f"{disk}@@{partition_offset('esp')}"
        run(["mmd", "-D", "s", "-i", boot, f"::/{Path(SEED).parent}"])
        run(["mcopy", "-o", "-i", boot, str(seed), f"::/{SEED}"])
