"""The partition table of an image, and the same table for a larger disk and for one disk only.

The image's second copy lies where the image ends; on a disk it belongs at the disk's end, or
firmware reports a damaged table. All values by the UEFI specification, section 5.3.

    table = read(head)                    # the image from its start to its first partition
    placed = table.place(disk_size, keep={root, verity})
    placed.first, placed.second           # what goes to the disk's start and to its end
"""

from __future__ import annotations

import struct
import uuid
from binascii import crc32
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ainit.linux import gpt
from lib.host import HostError
from lib.layout import MIB, SECTOR

HEAD_MAX = 4 * MIB  # what is read of an image to find its table
# Signature, revision, header size, its checksum, reserved; this copy, the other copy, first and
# last usable sector; the disk's GUID; the entries' first sector, number, size and checksum.
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
# Kind, GUID of this partition, first and last sector, attributes, name.
ENTRY = struct.Struct("<16s16sQQQ72s")
# Where the record of the protective MBR has its type, and its number of sectors.
_MBR_TYPE, _MBR_SECTORS, _MBR_GPT = 446 + 4, 446 + 12, 0xEE


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: name, UUID in lower case, first byte and number of bytes."""

    name: str
    uuid: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Placed:
    """The table of one disk: ``first`` goes to its start, ``second`` to its end."""

    first: bytes
    second: bytes
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The table of an image. ``head`` is the image up to its first partition.

    ``usable`` and ``entries_at`` are sectors, ``length`` is the header's in bytes.
    """

    head: bytes
    revision: int
    length: int
    usable: int
    entries_at: int
    entries: bytes
    count: int
    partitions: tuple[Partition, ...]

    @property
    def start(self) -> int:
        """The first byte of the first partition."""
        return min(each.start for each in self.partitions)

    @property
    def end(self) -> int:
        """The byte behind the last partition."""
        return max(each.start + each.size for each in self.partitions)

    @property
    def needed(self) -> int:
        """How many bytes a disk must have: what the partitions take, and the second copy."""
        return self.end + _sectors(self.entries) * SECTOR + SECTOR

    def place(
        self, size: int, keep: Collection[str], new: Callable[[], uuid.UUID] = uuid.uuid4
    ) -> Placed:
        """Return the table for a disk of ``size`` bytes.

        The disk and every partition whose UUID is not in ``keep`` get a UUID from ``new``. Raises
        HostError when the disk is too small.
        """
        if size < self.needed:
            raise HostError(f"the image needs {self.needed} bytes, the disk has {size}")
        width = len(self.entries) // self.count
        entries = bytearray(self.entries)
        for at in range(0, len(entries), width):
            if (
                any(entries[at : at + 16])
                and gpt.guid(bytes(entries[at + 16 : at + 32])) not in keep
            ):
                entries[at + 16 : at + 32] = new().bytes_le
        last = size // SECTOR - 1
        behind = last - _sectors(entries)
        disk = new().bytes_le
        first = self._header(1, last, self.entries_at, behind - 1, disk, entries)
        second = self._header(last, 1, behind, behind - 1, disk, entries)
        head = bytearray(self.head)
        _patch(head, 0, _mbr(self.head[:SECTOR], last))
        _patch(head, SECTOR, first)
        _patch(head, self.entries_at * SECTOR, entries)
        tail = bytearray((last + 1 - behind) * SECTOR)
        _patch(tail, 0, entries)
        _patch(tail, len(tail) - SECTOR, second)
        return Placed(bytes(head), bytes(tail), _partitions(entries, width))

    def _header(
        self, own: int, other: int, start: int, usable: int, disk: bytes, entries: bytes | bytearray
    ) -> bytes:
        """One copy of the header, with its checksums."""
        width = len(entries) // self.count
        fields = (own, other, self.usable, usable, disk, start, self.count, width, crc32(entries))
        plain = HEADER.pack(b"EFI PART", self.revision, self.length, 0, 0, *fields)
        plain += bytes(self.length - len(plain))  # reserved, when it is longer than the fields
        return plain[:16] + struct.pack("<I", crc32(plain)) + plain[20:]


def read(head: bytes) -> Table:
    """Return the table at the start of an image. Raises HostError when there is none, or a bad one.

    ``head`` has to reach the first partition; what is behind that is left out.
    """
    # Only the copy at the start counts: its sector is also the last one of a disk of two sectors.
    if not gpt.parse(lambda at, length: head[at : at + length], 2 * SECTOR, SECTOR):
        raise HostError("the image has no partitions, or no GPT with right checksums")
    header = HEADER.unpack_from(head, SECTOR)
    revision, length, usable = header[1], header[2], header[7]
    start, count, width = header[10:13]
    entries = head[start * SECTOR : start * SECTOR + count * width]
    partitions = _partitions(entries, width)
    begin = min(each.start for each in partitions)
    if not start * SECTOR + len(entries) <= begin <= len(head):
        raise HostError(f"the image's first partition begins at byte {begin}, where none can")
    return Table(head[:begin], revision, length, usable, start, entries, count, partitions)


def _partitions(entries: bytes | bytearray, width: int) -> tuple[Partition, ...]:
    found = []
    for at in range(0, len(entries), width):
        kind, unique, first, last, _, name = ENTRY.unpack_from(entries, at)
        if any(kind):
            label = name.decode("utf-16-le", "replace").partition("\0")[0]
            size = (last + 1 - first) * SECTOR
            found.append(Partition(label, gpt.guid(unique), first * SECTOR, size))
    return tuple(found)


def _mbr(mbr: bytes, last: int) -> bytes:
    """The protective MBR, which says how large the disk is: as far as 32 bits go."""
    if mbr[_MBR_TYPE] != _MBR_GPT:
        raise HostError("the image has no protective MBR")
    sectors = struct.pack("<I", min(last, 0xFFFFFFFF))
    return mbr[:_MBR_SECTORS] + sectors + mbr[_MBR_SECTORS + 4 :]


def _patch(data: bytearray, offset: int, part: bytes | bytearray) -> None:
    data[offset : offset + len(part)] = part


def _sectors(entries: bytes | bytearray) -> int:
    return -(-len(entries) // SECTOR)
