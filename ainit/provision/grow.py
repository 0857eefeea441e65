"""The state takes the whole disk: its partition before it is opened, its file system after.

Only the partition named ``state`` grows, and only as the last one of the disk that the verified
root is on. A power cut leaves the old table or the new one (`gpt_disk`), and a file system of the
old size, the new one or one between (ext4 journals each step): the next boot goes on. Leaves out
what is shrunk, and finding out whether there is anything to do, which is PID 1's.

    partition("vda")        # before /dev/vda6 is opened
    file_system("/dev/vda6", "/var/lib/ainos")
"""

from __future__ import annotations

import fcntl
import os
import struct

from ..constants import STATE_PARTITION
from ..errors import RefusedError, UnavailableError
from ..linux import gpt_disk

_BLOCK = 4096
_RESIZE_FS = 0x40086610  # EXT4_IOC_RESIZE_FS: the new number of blocks
_TAIL = 1 << 20


def partition(path: str) -> str:
    """Let the state partition of a disk reach to the disk's end; returns what was done.

    Its new last MiB is zeroed: nothing that was there before there was a partition tells what is
    in this one. Raises RefusedError or OSError; then the table is as it was.
    """
    with gpt_disk.Device(path, writable=True) as disk:
        old = gpt_disk.read(disk)
        before = old.labelled(STATE_PARTITION)
        if any(each.last > before.last for each in old.partitions()):
            raise RefusedError(f"{STATE_PARTITION} is not the last partition of {path}")
        new = old.grown(disk.size)
        after = new.labelled(STATE_PARTITION)
        begin = max((after.last + 1) * disk.sector - _TAIL, (before.last + 1) * disk.sector)
        end = (after.last + 1) * disk.sector
        if begin < end:
            disk.write(begin, bytes(end - begin))
            disk.flush()
        gpt_disk.write(disk, new)
        gpt_disk.tell_size(disk, after)
    sectors = after.last + 1 - after.first
    return f"{STATE_PARTITION} takes {sectors * disk.sector >> 20} MiB of {path} now"


def file_system(device: str, mounted: str) -> str:
    """Let the ext4 on a device that is ``mounted`` fill it; returns what was done. Raises
    UnavailableError or OSError.
    """
    with open(device, "rb") as file:
        size = file.seek(0, os.SEEK_END)
    descriptor = os.open(mounted, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _RESIZE_FS, struct.pack("=Q", size // _BLOCK))
    except OSError as error:
        raise UnavailableError(f"{mounted} cannot grow: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return f"{mounted} has {size >> 20} MiB now"
