"""The disks that an image could be written to: what each is, and why one is refused.

Everything is read from sysfs and /proc. The paths are parameters, so that tests can lay out a
machine in a directory.

    machine = Machine()
    for disk in candidates(machine): print(disk.name, refusals(machine, disk, needed=4 << 30))
"""

from __future__ import annotations

import os
import shlex
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator
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
        optical = _text(folder / "device/type") == _OPTICAL
        if (folder / "device").exists() and not optical and _text(folder / "hidden") != "1":
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
        _text(folder / "removable") == "1",
        _text(folder / "ro") == "1",
        _number(folder / "queue/discard_max_bytes") > 0,
    )


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
        number = _text(machine.sysfs / "class/block" / name / "dev")
        found += [_mounted(where, point) for point in mounts.get(number, ())]
        if number in swaps:
            found.append(f"{where} is swap space: swapoff /dev/{name}")
        if through:
            found.append(f"{through} is in use by {_title(machine, name)}: take that down first")
    return found


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
    parts = len(_partitions(machine, disk.name))
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


def _users(machine: Machine, disk: str) -> Iterator[tuple[str, str]]:
    """A disk, its partitions, and what is built on them, with what each of those is built on."""
    waiting = [(name, "") for name in [disk, *_partitions(machine, disk)]]
    seen = set()
    while waiting:
        name, through = waiting.pop(0)
        if (name, through) not in seen:
            seen.add((name, through))
            yield name, through
            holders = machine.sysfs / "class/block" / name / "holders"
            if holders.is_dir():
                waiting += [(holder.name, name) for holder in sorted(holders.iterdir())]


def _partitions(machine: Machine, disk: str) -> list[str]:
    folder = machine.sysfs / "block" / disk
    return sorted(path.parent.name for path in folder.glob("*/partition"))


def _mounted(where: str, point: str) -> str:
    if point == "/":
        return f"{where} holds the running system"
    return f"{where} is mounted on {point}: umount {shlex.quote(point)}"


def _title(machine: Machine, name: str) -> str:
    """A virtual device as its owner knows it: ``dm-0 (vg-root)``."""
    title = _text(machine.sysfs / "class/block" / name / "dm/name")
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
    return _text(machine.sysfs / "class/block" / name / "dev")


def _model(folder: Path) -> str:
    if backing := _text(folder / "loop/backing_file"):
        return Path(backing).name
    model = _text(folder / "device/model") or _text(folder / "device/name")
    vendor = _text(folder / "device/vendor")
    words = [vendor, model] if model and vendor not in ("ATA", "NVMe") else [model]
    return " ".join(" ".join(words).split())


def _serial(folder: Path) -> str:
    for path in (folder / "serial", folder / "device/serial"):
        if text := _text(path):
            return text
    for parent in folder.resolve().parents:
        if (parent / "idVendor").exists():
            return _text(parent / "serial")
    page = folder / "device/vpd_pg80"
    try:
        return page.read_bytes()[4:].decode("ascii", "replace").strip("\0 ")
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdecimal() else 0
