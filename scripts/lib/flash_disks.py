"""The disks that an image could be written to: what each is, and what is on it.

Everything is read from sysfs and /proc. The paths are parameters, so that tests can lay out a
machine in a directory.

    machine = Machine()
    for disk in candidates(machine): print(disk.name, contents(machine, disk))
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ainit.linux import gpt
from lib.host import HostError
from lib.layout import SECTOR

# By a part of the device's path in sysfs; the first one that fits.
_TRANSPORTS = {
    "/usb": "USB", "/nvme": "NVMe", "/virtio": "virtio", "/mmc": "MMC", "/ata": "SATA",
    "/end_device-": "SAS", "/loop": "loop", "/nbd": "NBD",
}  # fmt: skip
# Virtual block devices that stand for a whole disk of a virtual machine.
_STANDS_FOR_DISK = ("loop", "nbd")
_OPTICAL = "5"  # among the types of SCSI devices
_MEANT = {"esp", "root_a", "verity_a", "state"}


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the kernel shows this machine. The paths differ in tests only."""

    sysfs: Path = Path("/sys")
    dev: Path = Path("/dev")
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class Disk:
    """One whole disk. ``size`` and ``sector`` are in bytes; ``model`` is empty when it has none."""

    name: str
    size: int
    sector: int
    model: str
    serial: str
    transport: str
    removable: bool
    read_only: bool
    discards: bool

    @property
    def identity(self) -> str:
        """What a person types to confirm the disk: its model, or its size when it has none."""
        return self.model or format_size(self.size)


def format_size(size: int) -> str:
    """Return a size as vendors of disks write it.

    >>> format_size(256_060_514_304)
    '256.1 GB'
    """
    value, unit = (size / 1e9, "GB") if size < 1e12 else (size / 1e12, "TB")
    return f"{value:.1f} {unit}"


def candidates(machine: Machine) -> list[Disk]:
    """The disks of the machine's hardware that have a medium, in the order of their names."""
    found = []
    for folder in sorted((machine.sysfs / "block").iterdir()):
        optical = text(folder / "device/type") == _OPTICAL
        if (folder / "device").exists() and not optical and text(folder / "hidden") != "1":
            found.append(describe(machine, folder.name))
    return [disk for disk in found if disk.size]


def find(machine: Machine, target: Path) -> Disk:
    """Return the whole disk that a path names, also one below /dev/disk. Raises HostError."""
    try:
        status = target.stat()
    except OSError as error:
        raise HostError(f"{target}: {error.strerror}; `scripts/flash --list` lists disks") from None
    if not stat.S_ISBLK(status.st_mode):
        raise HostError(f"{target} is no block device; for a virtual machine's disk, say --file")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return find_number(machine, number)


def find_number(machine: Machine, number: str) -> Disk:
    """Return the whole disk with a device number, such as ``8:0``. Raises HostError."""
    folder = (machine.sysfs / "dev/block" / number).resolve()
    name = folder.name
    if (folder / "partition").exists():
        disk = folder.parent.name
        raise HostError(f"{name} is a partition of {disk}; the image is a whole disk: /dev/{disk}")
    if not (folder / "device").exists() and not name.startswith(_STANDS_FOR_DISK):
        raise HostError(f"{name} is no disk of the machine's hardware, and no firmware starts it")
    return describe(machine, name)


def of_file(path: Path, image: Path) -> Disk:
    """Return a file as the disk that it is to a virtual machine. Raises HostError.

    ``image`` is what will be read, and so cannot be written.
    """
    if not path.exists():
        raise HostError(f"{path} is not there; `truncate --size 8G {path}` makes a disk of 8 GiB")
    if not path.is_file():
        raise HostError(f"{path} is no file, as --file says")
    if path.samefile(image):
        raise HostError(f"{path} is the image itself")
    size = path.stat().st_size // SECTOR * SECTOR
    return Disk(path.name, size, SECTOR, "", "", "file", False, False, False)


def describe(machine: Machine, name: str) -> Disk:
    """Return what sysfs says of a disk."""
    folder = machine.sysfs / "block" / name
    path = f"{folder.resolve()}/"
    return Disk(
        name,
        _number(folder / "size") * 512,  # of 512 bytes, whatever the disk's own sector is
        _number(folder / "queue/logical_block_size") or SECTOR,
        _model(folder),
        _serial(folder),
        next((kind for part, kind in _TRANSPORTS.items() if part in path), "SCSI"),
        text(folder / "removable") == "1",
        text(folder / "ro") == "1",
        _number(folder / "queue/discard_max_bytes") > 0,
    )


def contents(machine: Machine, disk: Disk) -> str:
    """Return in a few words what is on a disk."""
    entries = _entries(machine, disk)
    if entries is None:
        return "not readable"
    names = {entry.name for entry in entries}
    if names >= _MEANT:
        return "AINOS"
    if entries:
        return f"GPT: {', '.join(entry.name or str(entry.number) for entry in entries)}"
    parts = len(partitions(machine, disk.name))
    return f"{parts} partitions" if parts else "no partition table"


@dataclass(frozen=True, slots=True)
class Twins:
    """What other disks have in common with an image.

    ``same`` are their partitions, by the disk's name; ``unread`` disks could not be looked at.
    """

    same: dict[str, list[str]]
    unread: list[str]


def twins(machine: Machine, disk: str, uuids: Collection[str]) -> Twins:
    """Look for partitions with one of these UUIDs on every other disk."""
    found = Twins({}, [])
    names = [path.name for path in sorted((machine.sysfs / "block").iterdir())]
    virtual = [describe(machine, each) for each in names if each.startswith(_STANDS_FOR_DISK)]
    for other in [*candidates(machine), *(each for each in virtual if each.size)]:
        if other.name == disk:
            continue
        entries = _entries(machine, other)
        if entries is None:
            found.unread.append(other.name)
        elif same := [each.name for each in entries if each.uuid in uuids]:
            found.same[other.name] = same
    return found


def _entries(machine: Machine, disk: Disk) -> list[gpt.Entry] | None:
    try:
        return gpt.read_disk(str(machine.dev / disk.name), disk.sector)
    except OSError:
        return None


def partitions(machine: Machine, disk: str) -> list[str]:
    """Return the names of the partitions that the kernel sees on a disk."""
    folder = machine.sysfs / "block" / disk
    return sorted(path.parent.name for path in folder.glob("*/partition"))


def _model(folder: Path) -> str:
    if backing := text(folder / "loop/backing_file"):
        return Path(backing).name
    model = text(folder / "device/model") or text(folder / "device/name")
    vendor = text(folder / "device/vendor")
    words = [vendor, model] if model and vendor not in ("ATA", "NVMe") else [model]
    return " ".join(" ".join(words).split())


def _serial(folder: Path) -> str:
    for path in (folder / "serial", folder / "device/serial"):
        if found := text(path):
            return found
    for parent in folder.resolve().parents:
        if (parent / "idVendor").exists():
            return text(parent / "serial")
    page = folder / "device/vpd_pg80"
    try:
        return page.read_bytes()[4:].decode("ascii", "replace").strip("\0 ")
    except OSError:
        return ""


def text(path: Path) -> str:
    """Return what a file of sysfs says; nothing when it is not there."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    found = text(path)
    return int(found) if found.isdecimal() else 0
