"""Read a GPT: the names and unique UUIDs of partitions, which sysfs does not show on Linux 6.12.

UEFI specification, section 5.3. Both copies are tried, each with its checksums, as the kernel does
with ``gpt`` on its command line. `gpt_table` edits one, `gpt_disk` writes it.
"""

from __future__ import annotations

import os
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNATURE = b"EFI PART"
_HEADER_MAX = 512
_START_MAX = 1 << 50  # sectors: no disk has them, and pread(2) takes no offset of 64 bits
_ENTRIES_MAX = 1 << 20  # bytes; 128 entries of 128 bytes are usual


class Entry:
    """One partition: its number, unique UUID in lower case, and name."""

    __slots__ = ("name", "number", "uuid")

    def __init__(self, number: int, uuid: str, name: str) -> None:
        self.number = number
        self.uuid = uuid
        self.name = name


class Copy:
    """One of a disk's two copies, with right checksums. ``width`` is an entry's, in bytes."""

    __slots__ = ("entries", "header", "width")

    def __init__(self, header: bytes, entries: bytes, width: int) -> None:
        self.header = header
        self.entries = entries
        self.width = width


def guid(data: bytes) -> str:
    """The text of a GUID, whose first three fields are little-endian.

    >>> guid(bytes(range(16)))
    '03020100-0504-0706-0809-0a0b0c0d0e0f'
    """
    fields = (data[3::-1], data[5:3:-1], data[7:5:-1], data[8:10], data[10:16])
    return "-".join(field.hex() for field in fields)


def places(size: int, sector: int) -> tuple[int, int]:
    """The sectors of the headers of both copies on a disk of ``size`` bytes: the first counts."""
    return 1, size // sector - 1


def read_copy(read: Callable[[int, int], bytes], place: int, sector: int) -> Copy | None:
    """The copy whose header is the sector ``place``; None: there is none, or it is damaged."""
    header = read(place * sector, _HEADER_MAX)
    length = int.from_bytes(header[12:16], "little")
    if header[:8] != _SIGNATURE or not 92 <= length <= len(header):
        return None
    plain = header[:16] + bytes(4) + header[20:length]
    if crc32(plain) != int.from_bytes(header[16:20], "little"):
        return None
    own, start = (int.from_bytes(header[at : at + 8], "little") for at in (24, 72))
    count, width, checksum = (int.from_bytes(header[at : at + 4], "little") for at in (80, 84, 88))
    if own != place or start > _START_MAX:
        return None
    if not 128 <= width <= 4096 or not 0 < count * width <= _ENTRIES_MAX:
        return None
    entries = read(start * sector, count * width)
    if len(entries) != count * width or crc32(entries) != checksum:
        return None
    return Copy(header[:length], entries, width)


def parse(read: Callable[[int, int], bytes], size: int, sector: int) -> list[Entry]:
    """The entries of a disk of ``size`` bytes that ``read(offset, length)`` reads; none: no GPT."""
    for place in places(size, sector):
        copy = read_copy(read, place, sector)
        if copy is not None:
            return _entries(copy)
    return []


def _entries(copy: Copy) -> list[Entry]:
    found = []
    for index in range(len(copy.entries) // copy.width):
        entry = copy.entries[index * copy.width : (index + 1) * copy.width]
        if any(entry[:16]):
            name = entry[56:128].decode("utf-16-le", "replace").partition("\0")[0]
            found.append(Entry(index + 1, guid(entry[16:32]), name))
    return found


def read_disk(path: str, sector: int) -> list[Entry]:
    """The entries of a block device. Raises OSError when it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        return parse(lambda offset, length: os.pread(descriptor, length, offset), size, sector)
    finally:
        os.close(descriptor)
