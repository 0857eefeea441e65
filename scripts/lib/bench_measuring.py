"""How long the kernel takes to measure a file: the first time, and again, by its size.

In a machine of its own (EMULATED processor and disk), on a disk of its own.

    entries = main()
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib import bench, drive
from lib.bench import Goal
from lib.errand import Errand
from lib.host import run
from lib.progress import step
from lib.qemu import Hardware

Data = dict[str, Any]

DISK_GIB = 12
LEAST_SHARE = 0.9


def measure() -> Data:
    """What the machine found."""
    with tempfile.TemporaryDirectory(prefix="ainos-") as name, step("measuring files") as progress:
        disk = Path(name) / "disk.img"
        run(["mkfs.ext4", "-q", "-O", "verity", "-b", "4096", str(disk), f"{DISK_GIB}G"])
        errand = Errand("measuring", Path(name), Hardware(data=(disk,)))
        said = errand.run(drive.IMAGE, lambda said: said.get("over") is True)
        progress.note(f"8 GiB the first time {said['large_s']:.0f} s")
        return said


def goals(said: Data) -> list[Goal]:
    """The entries."""
    share = bench.goal("trust.measure_vs_limit", [round(one, 3) for one in said["shares"]], "of it")
    is_met = share.value is not None and share.value >= LEAST_SHARE
    return [
        bench.goal("trust.remeasure_ratio", [round(one, 3) for one in said["ratios"]], "x", 2.0),
        Goal(**{**asdict(share), "bound": LEAST_SHARE, "met": is_met}),
    ]


def main() -> list[Goal]:
    """Run it."""
    return goals(measure())
