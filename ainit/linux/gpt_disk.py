"""Replace a disk's GPT so that at every moment one of its copies is whole.

The second copy is written first and flushed. Only then is the first one touched, which counts while
its checksums are right. So a power cut leaves the old table (the first copy as it was) or the new
one (the first copy as it is now; or, while that one is damaged, the second).

    with Device("/dev/vda", writable=True) as disk:
        table = read(disk).grown(disk.size)
        write(disk, table)
        tell_size(disk, table.labelled("state"))

=============================  ======================================================
`write_second`                 the copy at the disk's end
`write_first`                  the copy at its start, behind a flush of the other one
`write_mbr`                    the size in the protective MBR, where the disk grew
=============================  ======================================================

Linux looks at a table when it finds a disk, and only then: to a disk in use it can be said that a
partition's size changed (`tell_size`), but not that its UUID did. BLKRRPART is refused while
one partition is open, and BLKPG adds a partition without a UUID (``bdev_add_partition`` in
block/partitions/core.c of Linux 6.12). Nobody misses it: only ``root=`` and ``dm-mod.create`` ask
the kernel for a UUID, when it starts; `block.partitions` reads the table itself.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import sys
from array import array
from typing import Protocol, Self

from ..errors import RefusedError
from . import gpt
from .gpt_table import Partition, Table, protective

_SECTOR = 512  # of a file, in bytes
# linux/fs.h, linux/blkpg.h
_BLKFLSBUF, _BLKSSZGET, _BLKPG, _RESIZE = 0x1261, 0x1268, 0x1269, 3
_ARGUMENT, _RANGE = struct.Struct("@iiiP"), struct.Struct("@qqi64s64s")


class Disk(Protocol):
    """A disk: ``size`` and ``sector`` in bytes. What was written lasts once it was flushed."""

    @property
    def size(self) -> int:
        """Of the disk."""

    @property
    def sector(self) -> int:
        """Of a logical sector."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, fewer at the disk's end."""

    def write(self, offset: int, data: bytes) -> None:
        """Write whole sectors."""

    def flush(self) -> None:
        """Return when all that was written is on the disk."""


def read(disk: Disk) -> Table:
    """The table that counts: the first copy, or the second if that is damaged. Its second copy may
    be elsewhere, where the disk grew. Raises RefusedError when there is none.
    """
    first, second = _copies(disk)
    copy = first or second
    if copy is None:
        raise RefusedError("the disk has no partition table")
    return Table.of(copy, gpt.places(disk.size, disk.sector)[1], disk.sector)


def write(disk: Disk, new: Table) -> None:
    """Replace the table, so that a power cut leaves the old one or this one. Writes what is not
    there yet. Raises OSError, or RefusedError when there is no table to replace.
    """
    old = read(disk)
    if _copies(disk)[0] is None:  # the second copy is the only one, so the first comes first
        write_first(disk, old)
        disk.flush()
    if not _holds(disk, new.second_copy()):
        write_second(disk, new)
    disk.flush()
    if not _holds(disk, new.first_copy()):
        write_first(disk, new)
        disk.flush()
    write_mbr(disk, new)


def write_second(disk: Disk, table: Table) -> None:
    """Write the copy at the disk's end."""
    for offset, data in table.second_copy():
        disk.write(offset, data)


def write_first(disk: Disk, table: Table) -> None:
    """Write the copy at the disk's start."""
    for offset, data in table.first_copy():
        disk.write(offset, data)


def write_mbr(disk: Disk, table: Table) -> None:
    """Let the protective MBR say how large the disk is. Only four bytes of it change."""
    mbr = disk.read(0, disk.sector)
    wanted = protective(mbr, table.last)
    if wanted != mbr:
        disk.write(0, wanted)
        disk.flush()


def _copies(disk: Disk) -> tuple[gpt.Copy | None, gpt.Copy | None]:
    first, second = gpt.places(disk.size, disk.sector)
    return (
        gpt.read_copy(disk.read, first, disk.sector),
        gpt.read_copy(disk.read, second, disk.sector),
    )


def _holds(disk: Disk, copy: tuple[tuple[int, bytes], ...]) -> bool:
    return all(disk.read(offset, len(data)) == data for offset, data in copy)


class Device:
    """A block device, or a file that stands for one; opened for as long as the context lasts."""

    def __init__(self, path: str, *, writable: bool = False) -> None:
        flags = os.O_RDWR if writable else os.O_RDONLY
        self.descriptor = os.open(path, flags | os.O_CLOEXEC)
        self.size = os.lseek(self.descriptor, 0, os.SEEK_END)
        self.sector = _SECTOR
        if stat.S_ISBLK(os.fstat(self.descriptor).st_mode):
            # What memory holds of the device may be older than what a file system wrote to it.
            fcntl.ioctl(self.descriptor, _BLKFLSBUF, 0)
            answer = fcntl.ioctl(self.descriptor, _BLKSSZGET, bytes(4))
            self.sector = int.from_bytes(answer, sys.byteorder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, fewer at the end."""
        return os.pread(self.descriptor, length, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of it."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            offset, view = offset + written, view[written:]

    def flush(self) -> None:
        """Write out what memory holds, and have the disk do so."""
        os.fsync(self.descriptor)


def tell_size(disk: Device, partition: Partition) -> None:
    """Tell the kernel the size of a partition, in use or not (BLKPG). Raises OSError."""
    first, length = partition.first * disk.sector, partition.last + 1 - partition.first
    data = array("b", _RANGE.pack(first, length * disk.sector, partition.number, b"", b""))
    address, _ = data.buffer_info()
    fcntl.ioctl(disk.descriptor, _BLKPG, _ARGUMENT.pack(_RESIZE, 0, _RANGE.size, address))
