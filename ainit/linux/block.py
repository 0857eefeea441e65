"""Block devices: which disk holds the verified root, and what else is on it.

Sysfs says which partitions there are, their GPTs what they are called. ``sysfs`` and ``dev`` are
parameters, so that tests can lay out a machine in a directory.
"""

from __future__ import annotations

import os

from ..errors import RefusedError
from . import gpt

ROOT_DEVICE = "dm-0"
_SECTOR = 512


class Partition:
    """One partition: kernel name (``vda2``), disk (``vda``), GPT name and UUID in lower case."""

    __slots__ = ("disk", "label", "name", "uuid")

    def __init__(self, name: str, disk: str, label: str, uuid: str) -> None:
        self.name = name
        self.disk = disk
        self.label = label
        self.uuid = uuid


def partitions(sysfs: str = "/sys", dev: str = "/dev") -> list[Partition]:
    """Every partition of the machine. One whose GPT cannot be read has neither label nor UUID."""
    found = []
    tables: dict[str, dict[int, gpt.Entry]] = {}
    base = f"{sysfs}/class/block"
    for name in sorted(os.listdir(base)):
        index = number(f"{base}/{name}/partition")
        if not index:
            continue
        disk = os.path.basename(os.path.dirname(os.path.realpath(f"{base}/{name}")))
        if disk not in tables:
            tables[disk] = _table(f"{base}/{disk}", f"{dev}/{disk}")
        entry = tables[disk].get(index)
        label, uuid = (entry.name, entry.uuid) if entry else ("", "")
        found.append(Partition(name, disk, label, uuid))
    return found


def _table(directory: str, device: str) -> dict[int, gpt.Entry]:
    sector = number(f"{directory}/queue/logical_block_size") or _SECTOR
    try:
        return {entry.number: entry for entry in gpt.read_disk(device, sector)}
    except OSError:
        return {}


def names_on(disk: str, sysfs: str = "/sys") -> list[str]:
    """Kernel names of the partitions of a disk; empty without such a disk."""
    try:
        names = os.listdir(f"{sysfs}/class/block/{disk}")
    except OSError:
        return []
    return [name for name in names if number(f"{sysfs}/class/block/{disk}/{name}/partition")]


def number(path: str) -> int:
    """The number that a file of sysfs holds; 0 without one."""
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def root_members(sysfs: str = "/sys", device: str = ROOT_DEVICE) -> list[str]:
    """Kernel names of the partitions under the verified root; empty without dm-verity."""
    try:
        return sorted(os.listdir(f"{sysfs}/block/{device}/slaves"))
    except OSError:
        return []


def system_disk(all_partitions: list[Partition], members: list[str], loader_uuid: str) -> str:
    """The one disk that the system may use.

    Raises RefusedError when the root spans disks, when another disk carries a partition with the
    same UUID (two copies of one image: choosing would be luck), or when the loader came from
    another disk. ``loader_uuid`` is systemd-boot's LoaderDevicePartUUID, empty when unknown.
    """
    mine = [part for part in all_partitions if part.name in members]
    disks = sorted({part.disk for part in mine})
    if len(disks) != 1:
        raise RefusedError(
            f"the verified root lies on {', '.join(disks)}, not on one disk"
            if disks
            else "the root is not a verified partition"
        )
    disk = disks[0]
    identities = {part.uuid for part in all_partitions if part.disk == disk and part.uuid}
    for part in all_partitions:
        if part.disk != disk and part.uuid in identities:
            raise RefusedError(
                f"{disk} and {part.disk} carry the same system image (partition UUID {part.uuid}): "
                "detach one of them"
            )
    if loader_uuid and loader_uuid not in identities:
        raise RefusedError(f"the boot loader came from another disk than {disk}")
    return disk


def labelled(all_partitions: list[Partition], disk: str, label: str) -> str:
    """The device path of the partition of ``disk`` with this GPT name; empty when there is none."""
    for part in all_partitions:
        if part.disk == disk and part.label == label:
            return f"/dev/{part.name}"
    return ""
