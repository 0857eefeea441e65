"""What firmware, loader and kernel take of a disk, by their own rules, read for an oracle.

=============  ============================================================================
`table`        GPT as EDK2's PartitionDxe and Linux with ``gpt`` read it: a protective MBR, the
               first copy when its checksums hold, else the one at the disk's end
`order`        entries as systemd-boot 252 sorts them (``config_entry_compare`` in boot.c):
               those without a try left last, then the newest version, then the highest name,
               then the most tries left, then the fewest done
=============  ============================================================================

Nothing of it is what the update client uses. Pure.

>>> [each.name for each in order([Entry("a_1+3.efi", "1"), Entry("a_2+0-3.efi", "2")])]
['a_1+3.efi', 'a_2+0-3.efi']
"""

from __future__ import annotations

import re
import struct
import uuid
from binascii import crc32
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
_SECTOR = 512
_COUNTED = re.compile(r"(?P<stem>.+)\+(?P<left>\d+)(?:-(?P<done>\d+))?\.efi", re.IGNORECASE)
_PART = re.compile(r"\d+|[a-z]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: type and UUID as UEFI writes them, first byte and length."""

    kind: uuid.UUID
    uuid: uuid.UUID
    name: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that the loader takes, and the version that its image says it has."""

    name: str
    version: str

    @property
    def counter(self) -> tuple[int, int] | None:
        """Tries left and done; None: it is not counted."""
        found = _COUNTED.fullmatch(self.name)
        return (int(found["left"]), int(found["done"] or 0)) if found else None

    @property
    def identity(self) -> str:
        """Its name without the counter, in lower case."""
        found = _COUNTED.fullmatch(self.name)
        return (found["stem"] + ".efi" if found else self.name).lower()


def table(read: Read, size: int) -> list[Partition] | None:
    """The partitions; None: neither firmware nor kernel finds a table."""
    mbr = read(0, _SECTOR)
    records = [mbr[at : at + 16] for at in range(446, 510, 16)]
    if mbr[510:512] != b"\x55\xaa" or not any(
        record[4] == 0xEE and record[8:12] == b"\1\0\0\0" for record in records
    ):
        return None
    for place in (1, size // _SECTOR - 1):
        found = _copy(read, place, size // _SECTOR)
        if found is not None:
            return found
    return None


def _copy(read: Read, place: int, sectors: int) -> list[Partition] | None:
    header = read(place * _SECTOR, _SECTOR)
    (length,) = struct.unpack_from("<I", header, 12)
    if header[:8] != b"EFI PART" or not 92 <= length <= _SECTOR:
        return None
    if crc32(header[:16] + bytes(4) + header[20:length]) != struct.unpack_from("<I", header, 16)[0]:
        return None
    own, _, first, last = struct.unpack_from("<QQQQ", header, 24)
    at, count, width, checksum = struct.unpack_from("<QIII", header, 72)
    if own != place or not first <= last < sectors or width < 128 or count * width > 1 << 20:
        return None
    entries = read(at * _SECTOR, count * width)
    if crc32(entries) != checksum:
        return None
    return [
        _partition(entries[start : start + width])
        for start in range(0, count * width, width)
        if any(entries[start : start + 16])
    ]


def _partition(entry: bytes) -> Partition:
    first, last = struct.unpack_from("<QQ", entry, 32)
    return Partition(
        uuid.UUID(bytes_le=entry[:16]),
        uuid.UUID(bytes_le=entry[16:32]),
        entry[56:128].decode("utf-16-le", "replace").partition("\0")[0],
        first * _SECTOR,
        (last + 1 - first) * _SECTOR,
    )


def order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries as the loader sorts them: it starts the first one."""
    found = sorted(entries, key=_tries)
    found.sort(key=lambda each: _parts(each.identity), reverse=True)
    found.sort(key=lambda each: _parts(each.version), reverse=True)
    found.sort(key=lambda each: each.counter is not None and each.counter[0] == 0)
    return found


def _tries(entry: Entry) -> tuple[int, int]:
    left, done = entry.counter or (0, 0)
    return -left, done


def _parts(version: str) -> list[tuple[int, int, str]]:
    """What versions of numbers, dots and words are compared by (UAPI.10, without ``~`` and ``^``):
    the end sorts before a word, a word before a number.
    """
    return [
        (2, int(part), "") if part.isdigit() else (1, 0, part) for part in _PART.findall(version)
    ]
