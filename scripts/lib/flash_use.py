"""Why nothing may be written to a disk: what uses it, and what it lacks.

refusals(Machine(), disk, needed=4 << 30)       # [] when there is nothing against it
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from lib.flash_disks import Disk, Machine, format_size, partitions, text
from lib.layout import SECTOR


def refusals(machine: Machine, disk: Disk, needed: int) -> list[str]:
    """Return why nothing may be written to a disk, each with what to do about it.

    ``needed`` is how many bytes the image needs.
    """
    found = []
    if disk.read_only:
        found.append(f"{disk.name} is read-only: look for a switch on it (blockdev --getro)")
    if disk.size < needed:
        sizes = f"{format_size(disk.size)}, and the image needs {format_size(needed)}"
        found.append(f"{disk.name} has {sizes}: take a larger disk")
    if disk.sector != SECTOR:
        found.append(
            f"{disk.name} has sectors of {disk.sector} bytes, and the image's tables are for "
            f"{SECTOR}: an NVMe disk can often be formatted so (nvme format --lbaf)"
        )
    mounts, swaps = _mounts(machine), _swaps(machine)
    for name, through in _users(machine, disk.name):
        where = f"{name}, which is on {through}," if through else name
        number = text(machine.sysfs / "class/block" / name / "dev")
        found += [_mounted(where, point) for point in mounts.get(number, ())]
        if number in swaps:
            found.append(f"{where} is swap space: swapoff /dev/{name}")
        if through:
            how = "take that down first (cryptsetup close, vgchange -an, mdadm --stop)"
            found.append(f"{through} is in use by {_title(machine, name)}: {how}")
    return found


def _users(machine: Machine, disk: str) -> Iterator[tuple[str, str]]:
    """A disk, its partitions, and what is built on them, with what each of those is built on."""
    waiting = [(name, "") for name in [disk, *partitions(machine, disk)]]
    seen = set()
    while waiting:
        name, through = waiting.pop(0)
        if (name, through) not in seen:
            seen.add((name, through))
            yield name, through
            holders = machine.sysfs / "class/block" / name / "holders"
            if holders.is_dir():
                waiting += [(holder.name, name) for holder in sorted(holders.iterdir())]


def _mounted(where: str, point: str) -> str:
    if point == "/":
        return f"{where} holds the running system: choose another disk"
    return f"{where} is mounted on {point}: umount {shlex.quote(point)}"


def _title(machine: Machine, name: str) -> str:
    """A virtual device as its owner knows it: ``dm-0 (vg-root)``."""
    title = text(machine.sysfs / "class/block" / name / "dm/name")
    return f"{name} ({title})" if title else name


def _mounts(machine: Machine) -> dict[str, list[str]]:
    """Mount points by device number, and by that of the source: btrfs has numbers of its own."""
    found = defaultdict(list)
    for line in (machine.proc / "self/mountinfo").read_text("utf-8", "replace").splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        point = fields[4].encode().decode("unicode_escape")
        for number in {fields[2], _number_of(machine, after.split()[1])} - {""}:
            found[number].append(point)
    return found


def _swaps(machine: Machine) -> set[str]:
    lines = (machine.proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]
    return {_number_of(machine, line.split()[0]) for line in lines} - {""}


def _number_of(machine: Machine, path: str) -> str:
    """The device number of a path below /dev; empty when it is none."""
    if not path.startswith("/dev/"):
        return ""
    name = (machine.dev / path.removeprefix("/dev/")).resolve().name
    return text(machine.sysfs / "class/block" / name / "dev")
