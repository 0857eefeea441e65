"""Ten thousand damages to models on a disk, none of which may give a reader a wrong byte.

Damaged and read in a machine of its own (EMULATED processor): the kernel's fs-verity on ext4, the
files as large as three models. The digests that the kernel gives are held to those of ``fsverity``
and to ours.

    entries = main(count=10_000)
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ainit.linux import fsverity
from lib import bench, drive
from lib.bench import Goal
from lib.errand import Errand
from lib.host import HostError, run
from lib.progress import step
from lib.qemu import Hardware

Data = dict[str, Any]

SIZES = {"tiny": 777, "small": 70_000, "large": 700_001}
IMAGE_MIB = 8
SEED = 11
_SIZE_OFFSET = 4  # of i_size_lo in an inode (struct ext4_inode)


def prepare(folder: Path, count: int) -> Data:
    """A file system with the files, what the machine has to know of it, and the files' digests."""
    (folder / "files").mkdir()
    draw = random.Random(SEED)
    for name, size in SIZES.items():
        (folder / "files" / name).write_bytes(draw.randbytes(size))
    image = folder / "fs.img"
    # Without checksums of metadata, so that a size that was changed is no error of ext4.
    run(
        [
            *("mkfs.ext4", "-q", "-O", "verity,^metadata_csum,^has_journal", "-b", "4096"),
            *("-I", "256", "-d", str(folder / "files"), str(image), f"{IMAGE_MIB}M"),
        ]
    )
    wanted = {
        "count": count,
        "seed": SEED,
        "size_at": {name: _inode(image, name) + _SIZE_OFFSET for name in SIZES},
    }
    (folder / "corruption.json").write_text(json.dumps(wanted))
    return {name: _digests(folder / "files" / name) for name in SIZES}


def _inode(image: Path, name: str) -> int:
    """Where a file's inode lies: debugfs says ``located at block 35, offset 0x0b00``."""
    said = run(["debugfs", "-R", f"imap /{name}", str(image)])
    found = re.search(r"located at block (\d+), offset (0x[0-9a-f]+)", said)
    if found is None:
        raise HostError(f"debugfs does not say where {name} lies: {said}")
    return int(found[1]) * 4096 + int(found[2], 16)


def _digests(path: Path) -> tuple[str, str]:
    """By ``fsverity`` and by ours."""
    said = run(["fsverity", "digest", "--compact", str(path)]).strip()
    return said, fsverity.digest_file(str(path)).hex()


def damage(count: int) -> tuple[Data, Data]:
    """What the machine said last, and the digests of the files."""
    with tempfile.TemporaryDirectory(prefix="ainos-") as name, step("damaged models") as progress:
        folder = Path(name)
        digests = prepare(folder, count)
        files = {each: folder / each for each in ("fs.img", "corruption.json")}

        def is_over(said: Data) -> bool:
            progress.update(int(said.get("damaged", 0)), count)
            return said.get("damaged") == count

        said = Errand("corruption", folder, Hardware(), files).run(drive.IMAGE, is_over)
        progress.note(", ".join(f"{number} {name}" for name, number in said["outcomes"].items()))
        return said, digests


def goals(said: Data, digests: Data, wanted: int) -> list[Goal]:
    """The entries."""
    outcomes = said["outcomes"]
    peers = {name: float(number) for name, number in sorted(outcomes.items())}
    count = bench.goal("trust.corruptions", [said["damaged"]], "damages", peers=peers)
    differing = sum(len({*digests[name], said["digests"][name]}) != 1 for name in SIZES)
    return [
        Goal(**{**asdict(count), "bound": wanted, "met": said["damaged"] >= wanted}),
        bench.goal("trust.wrong_bytes", [outcomes.get("wrong", 0)], "readers", 0.0),
        bench.goal("trust.digests_differ", [differing], "files", 0.0),
    ]


def main(count: int) -> list[Goal]:
    """Run it."""
    said, digests = damage(count)
    if not said["whole"]:
        raise HostError("a file stayed damaged: what was read says nothing")
    return goals(said, digests, count)
