"""The two slots: which one runs, by the devices below the verified root, and the other one.

found = find(); found.other.root.device, found.disk
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RefusedError
from ..linux import block, efi

_NAMES = ("a", "b")


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of a slot: its device, its label, and its UUID in lower case."""

    device: str
    label: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot, ``a`` or ``b``."""

    name: str
    root: Part
    verity: Part


@dataclass(frozen=True, slots=True)
class Slots:
    """Both slots of the disk that the system is on."""

    disk: str
    running: Slot
    other: Slot


def find(sysfs: str = "/sys", dev: str = "/dev") -> Slots:
    """The slots of this machine. Raises RefusedError when it does not run from one."""
    loader = efi.loader_text("LoaderDevicePartUUID").lower()
    return of(block.partitions(sysfs, dev), block.root_members(sysfs), loader, dev)


def of(
    partitions: list[block.Partition], members: Sequence[str], loader: str, dev: str = "/dev"
) -> Slots:
    """The slots, by what is below the verified root. Raises RefusedError as `find` does."""
    disk = block.system_disk(partitions, list(members), loader)
    slots = [_slot(partitions, disk, name, dev) for name in _NAMES]
    below = {f"{dev}/{name}" for name in members}
    running = [slot for slot in slots if {slot.root.device, slot.verity.device} == below]
    if len(running) != 1:
        raise RefusedError(f"the root is not one of the slots of {disk}")
    other = next(slot for slot in slots if slot != running[0])
    return Slots(f"{dev}/{disk}", running[0], other)


def _slot(partitions: list[block.Partition], disk: str, name: str, dev: str) -> Slot:
    parts = []
    for label in (f"root_{name}", f"verity_{name}"):
        found = [each for each in partitions if each.disk == disk and each.label == label]
        if len(found) != 1:
            raise RefusedError(f"{disk} has {len(found)} partitions named {label}, not one")
        parts.append(Part(f"{dev}/{found[0].name}", label, found[0].uuid))
    return Slot(name, *parts)
