"""Whether the state has less of its disk than there is. To look costs some reads of sysfs.

What there is to do is a child's: the partition's, before it is opened, PID 1 waits for; the file
system grows while it is used, by a unit that a file in /run starts.
"""

from __future__ import annotations

from .. import constants
from ..linux import block, kmsg
from . import configuration, errand

_WORTH = 64 << 20  # bytes: less than that is left alone
_SECTOR = 512  # of sysfs, whatever the disk's is
_SECONDS = 60.0
_SUPERBLOCK, _EXT4 = 1024, b"\x53\xef"
_SHIFT_MAX = 6  # blocks of 64 KiB


def room(name: str, disk: str, sysfs: str = "/sys") -> int:
    """Bytes behind a partition, the last one of its disk. 0: not the last one, or not worth it."""
    base = f"{sysfs}/class/block"
    start, length, whole = (
        block.number(f"{base}/{path}") for path in (f"{name}/start", f"{name}/size", f"{disk}/size")
    )
    left = (whole - start - length) * _SECTOR
    if not length or left < _WORTH:
        return 0
    behind = (
        part for part in block.names_on(disk, sysfs) if block.number(f"{base}/{part}/start") > start
    )
    return 0 if any(behind) else left


def spare(device: str) -> int:
    """Bytes of a device that the ext4 on it does not use. 0: no ext4, or not worth it."""
    try:
        with open(device, "rb", buffering=0) as file:
            size = file.seek(0, 2)
            file.seek(_SUPERBLOCK)
            head = file.read(_SUPERBLOCK)
    except OSError:
        return 0
    if head[56:58] != _EXT4:
        return 0
    blocks = int.from_bytes(head[4:8] + head[336:340], "little")
    shift = int.from_bytes(head[24:28], "little")
    if shift > _SHIFT_MAX:
        return 0
    left = size - (blocks << 10 + shift)
    return left if left >= _WORTH else 0


def partition(device: str, disk: str) -> None:
    """Let the state partition reach to the disk's end. It is used as it is where that fails."""
    if not room(device.rpartition("/")[2], disk):
        return
    argv = ["/usr/bin/python3", "-I", "-m", "ainit.provision", "partition", f"/dev/{disk}"]
    status, said = errand.run(argv, {"PATH": "/usr/bin"}, _SECONDS)
    level = kmsg.WARNING if status else kmsg.INFO
    kmsg.log(said.replace("\n", "; ") or f"{device} did not grow in {_SECONDS:g} s", level)


def file_system(device: str) -> None:
    """Have the unit started that lets the file system fill the device that it is mounted from."""
    if spare(device):
        configuration.write(constants.GROW, device.encode())
