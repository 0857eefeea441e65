"""A GPT as a value, and what another one is made of it: UUIDs, a larger disk.

UEFI specification, section 5.3. What an edit does not name stays as it was, and both copies are
made anew. Leaves out writing them, which `gpt_disk` does. Pure.

    table = gpt_disk.read(disk)
    table.named(table.labelled("root_b").number, uuid.uuid4()).second_copy()
"""

from __future__ import annotations

import struct
import uuid
from binascii import crc32
from dataclasses import dataclass, replace

from ..errors import RefusedError
from . import gpt

# Signature, revision, header size, its checksum, reserved; this copy, the other copy, first and
# last usable sector; the disk's GUID; the entries' first sector, number, size and checksum.
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
# Kind, GUID of this partition, first and last sector, attributes, name.
ENTRY = struct.Struct("<16s16sQQQ72s")
# Where the record of the protective MBR has its type, and its number of sectors.
_MBR_TYPE, _MBR_SECTORS, _MBR_GPT = 446 + 4, 446 + 12, 0xEE
_ALIGNED = 1 << 20  # a partition that grows ends where this divides the offset, in bytes
_FIRST = 1  # the sector of the first copy's header


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: number, name, UUID in lower case, first and last sector."""

    number: int
    name: str
    uuid: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Table:
    """What both copies say. ``last`` is the sector of the second header, the last of the disk;
    ``usable`` the first and the last sector that partitions may have; ``entries_at`` the first of
    the first copy's entries; ``length`` the header's, in bytes.
    """

    sector: int
    last: int
    revision: int
    length: int
    usable: tuple[int, int]
    disk: bytes
    entries_at: int
    entries: bytes
    width: int

    @classmethod
    def of(cls, copy: gpt.Copy, last: int, sector: int) -> Table:
        """The table in a copy, on a disk whose second header belongs in the sector ``last``."""
        fields = HEADER.unpack_from(copy.header)
        _, revision, length, _, _, own, _, first, end, disk, start, *_ = fields
        at = start if own == _FIRST else _FIRST + 1
        return cls(sector, last, revision, length, (first, end), disk, at, copy.entries, copy.width)

    def partitions(self) -> tuple[Partition, ...]:
        """Every partition, by number."""
        found = []
        for number in range(1, len(self.entries) // self.width + 1):
            kind, unique, first, last, _, name = self._entry(number)
            if any(kind):
                label = name.decode("utf-16-le", "replace").partition("\0")[0]
                found.append(Partition(number, label, gpt.guid(unique), first, last))
        return tuple(found)

    def partition(self, number: int) -> Partition:
        """One of them. Raises RefusedError."""
        for each in self.partitions():
            if each.number == number:
                return each
        raise RefusedError(f"the disk has no partition {number}")

    def labelled(self, name: str) -> Partition:
        """The one partition of this name. Raises RefusedError."""
        found = [each for each in self.partitions() if each.name == name]
        if len(found) != 1:
            raise RefusedError(f"the disk has {len(found)} partitions named {name}, not one")
        return found[0]

    def named(self, number: int, identity: uuid.UUID) -> Table:
        """The table with this UUID of a partition. Raises RefusedError when another one has it."""
        self.partition(number)
        for each in self.partitions():
            if each.uuid == str(identity) and each.number != number:
                raise RefusedError(f"partition {each.number} has the UUID {identity} already")
        return self._changed(number, 1, identity.bytes_le)

    def grown(self, size: int) -> Table:
        """The table on a disk of ``size`` bytes, whose last partition reaches to its end, or to the
        last whole MiB before. Never smaller: raises RefusedError where that would be needed.
        """
        moved = self.moved(size)
        end = max(moved.partitions(), key=lambda each: each.last)
        step = max(_ALIGNED // self.sector, 1)
        last = (moved.usable[1] + 1) // step * step - 1
        return moved._changed(end.number, 3, last) if last > end.last else moved

    def moved(self, size: int) -> Table:
        """The table on a disk of ``size`` bytes, with the partitions as they are."""
        last = size // self.sector - 1
        usable = last - _sectors(self.entries, self.sector) - 1
        end = max((each.last for each in self.partitions()), default=self.usable[0])
        if usable < end:
            raise RefusedError(f"the disk ends at sector {last}, before its partitions do")
        return replace(self, last=last, usable=(self.usable[0], usable))

    def first_copy(self) -> tuple[tuple[int, bytes], ...]:
        """What is written at the disk's start, with its offsets: entries, and header."""
        return self._copy(_FIRST, self.last, self.entries_at)

    def second_copy(self) -> tuple[tuple[int, bytes], ...]:
        """What is written at the disk's end."""
        return self._copy(self.last, _FIRST, self.last - _sectors(self.entries, self.sector))

    def header(self, own: int, other: int, start: int) -> bytes:
        """A header in the sector ``own``, of entries that begin at ``start``, with checksums."""
        count = len(self.entries) // self.width
        checksum = crc32(self.entries)
        fields = (own, other, *self.usable, self.disk, start, count, self.width, checksum)
        plain = HEADER.pack(b"EFI PART", self.revision, self.length, 0, 0, *fields)
        plain += bytes(self.length - len(plain))  # reserved, when it is longer than the fields
        return plain[:16] + struct.pack("<I", crc32(plain)) + plain[20:]

    def _copy(self, own: int, other: int, start: int) -> tuple[tuple[int, bytes], ...]:
        room = _sectors(self.entries, self.sector) * self.sector
        entries = self.entries.ljust(room, b"\0")
        header = self.header(own, other, start).ljust(self.sector, b"\0")
        return (start * self.sector, entries), (own * self.sector, header)

    def _entry(self, number: int) -> tuple[bytes, bytes, int, int, int, bytes]:
        return ENTRY.unpack_from(self.entries, (number - 1) * self.width)

    def _changed(self, number: int, field: int, value: object) -> Table:
        fields: list[object] = list(self._entry(number))
        fields[field] = value
        at = (number - 1) * self.width
        entries = bytearray(self.entries)
        ENTRY.pack_into(entries, at, *fields)
        return replace(self, entries=bytes(entries))


def protective(mbr: bytes, last: int) -> bytes:
    """The protective MBR of a disk whose last sector is ``last``, as far as 32 bits go. Raises
    RefusedError when ``mbr`` is none.
    """
    if mbr[_MBR_TYPE] != _MBR_GPT:
        raise RefusedError("there is no protective MBR")
    sectors = struct.pack("<I", min(last, 0xFFFFFFFF))
    return mbr[:_MBR_SECTORS] + sectors + mbr[_MBR_SECTORS + 4 :]


def _sectors(entries: bytes | bytearray, sector: int) -> int:
    return -(-len(entries) // sector)
