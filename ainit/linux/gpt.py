"""Read a GPT: the names and unique UUIDs of partitions, which sysfs does not show on Linux 6.12.

UEFI specification, section 5.3. Both headers are tried, each with its checksums, as the kernel does
with ``gpt`` on its command line.
"""

from __future__ import annotations

import os
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNATURE = b"EFI PART"
_HEADER_MAX = 512
_ENTRIES_MAX = 1 << 20  # bytes; 128 entries of 128 bytes are usual


class Entry:
    """One partition: its number, unique UUID in lower case, and name."""

    __slots__ = ("name", "number", "uuid")

    def __init__(self, number: int, uuid: str, name: str) -> None:
        self.number = number
        self.uuid = uuid
        self.name = name


def guid(data: bytes) -> str:
    """The text of a GUID, whose first three fields are little-endian.

    >>> guid(bytes(range(16)))
    '03020100-0504-0706-0809-0a0b0c0d0e0f'
    """
    fields = (data[3::-1], data[5:3:-1], data[7:5:-1], data[8:10], data[10:16])
    return "-".join(field.hex() for field in fields)


def parse(read: Callable[[int, int], bytes], size: int, sector: int) -> list[Entry]:
    """The entries of a disk of ``size`` bytes that ``read(offset, length)`` reads; none: no GPT."""
    for offset in (sector, size - sector):
        header = read(offset, _HEADER_MAX)
        length = int.from_bytes(header[12:16], "little")
        if header[:8] != _SIGNATURE or not 92 <= length <= len(header):
            continue
        plain = header[:16] + bytes(4) + header[20:length]
        if crc32(plain) != int.from_bytes(header[16:20], "little"):
            continue
        entries = _entries(read, header, sector)
        if entries is not None:
            return entries
    return []


def _entries(read: Callable[[int, int], bytes], header: bytes, sector: int) -> list[Entry] | None:
    start = int.from_bytes(header[72:80], "little") * sector
    count, width, checksum = (int.from_bytes(header[at : at + 4], "little") for at in (80, 84, 88))
    if not 128 <= width <= 4096 or not 0 < count * width <= _ENTRIES_MAX:
        return None
    table = read(start, count * width)
    if len(table) != count * width or crc32(table) != checksum:
        return None
    found = []
    for index in range(count):
        entry = table[index * width : (index + 1) * width]
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
