"""A log of a disk's writes and flushes, as QEMU's ``blklogwrites`` driver keeps it.

Its format is Linux' dm-log-writes (admin-guide/device-mapper/log-writes.rst; QEMU's
block/blklogwrites.c): a header, and entries each with the data that it wrote. QEMU keeps the number
of entries up to date with each flush, so a log ends with the last one.

    log = read(path); sum(map(len, log.epochs))
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from lib.host import HostError

SECTOR = 512
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
_MAGIC, _VERSION = 0x6A736677736872, 1
_SUPER, _ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")


@dataclass(frozen=True, slots=True)
class Write:
    """One write, or discard: its number in the log, first sector, sectors, and where the log has
    its data, in bytes; None: they are zeros. ``forced`` is whether it lasts without a flush (FUA).
    """

    number: int
    sector: int
    count: int
    at: int | None
    forced: bool = False

    @property
    def end(self) -> int:
        """The sector behind it."""
        return self.sector + self.count


@dataclass(frozen=True, slots=True)
class Log:
    """The epochs between flushes, in order, and marks: after so many epochs, what was noted."""

    path: Path
    epochs: tuple[tuple[Write, ...], ...]
    marks: tuple[tuple[int, str], ...] = ()

    @property
    def writes(self) -> int:
        """How many there are."""
        return sum(map(len, self.epochs))


def read(path: Path) -> Log:
    """A log that was closed in order. Raises HostError when it is none."""
    epochs: list[list[Write]] = [[]]
    marks = []
    with path.open("rb") as file:
        head = file.read(SECTOR)
        if len(head) < SECTOR:
            raise HostError(f"{path} is no log of writes")
        magic, version, entries, sector = _SUPER.unpack_from(head)
        if (magic, version, sector) != (_MAGIC, _VERSION, SECTOR):
            raise HostError(f"{path} is no log of writes in sectors of {SECTOR} bytes")
        at = SECTOR
        for number in range(entries):
            file.seek(at)
            head = file.read(SECTOR)
            if len(head) < SECTOR:
                raise HostError(f"{path} ends at entry {number} of {entries}")
            first, count, flags, length = _ENTRY.unpack_from(head)
            at += SECTOR
            if flags & ~(FLUSH | FUA | DISCARD | MARK):
                raise HostError(f"{path}: entry {number} has the flags {flags:#x}")
            if flags & MARK:
                marks.append((len(epochs) - 1, file.read(length).rstrip(b"\0").decode()))
                at += -(-length // SECTOR) * SECTOR
                continue
            if flags & FLUSH:  # what came before; a write of this entry comes behind it
                epochs.append([])
            if count:
                data = None if flags & DISCARD else at
                epochs[-1].append(Write(number, first, count, data, bool(flags & FUA)))
                at += 0 if flags & DISCARD else count * SECTOR
    return Log(path, tuple(map(tuple, epochs)), tuple(marks))
