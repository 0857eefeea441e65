"""Names on a FAT32 file system that is not mounted: read, and changed one character at a time.

FAT has no rename that survives a power cut: Linux and firmware write a new entry and delete the old
one, in sectors that reach the disk in any order, and a sector may be torn. One byte is the most
that changes at once. So here a file gets a name that differs in few characters, each of them one
byte in place; whoever calls makes sure that every mixture of the two names is harmless. A file is
gone with one byte as well, before anything of it is freed. New files Linux makes, between such
changes, under names that nobody boots from.

Microsoft, "FAT32 File System Specification" (2000): the layout, and long names. Leaves out FAT12
and FAT16, making files, and characters beyond ASCII, which are shown and never changed.

    with Device("/dev/vda1", writable=True) as disk:
        held = Volume(disk).directory("EFI/Linux")
        rename(disk, held[0], "ainos_1+3-0.efi")
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import RefusedError
from .gpt_disk import Disk

_ENTRY = 32
_LONG, _VOLUME, _DIRECTORY = 0x0F, 0x08, 0x10  # attributes
_LAST = 0x40  # in the number of an entry of a long name: it has the end of the name
_DELETED = 0xE5
_SHORT = 11  # bytes of a short name
_LOWER_STEM, _LOWER_KIND = 0x08, 0x10  # of a short name, as Windows NT notes it
_CHARACTERS = (
    *range(1, 11, 2),
    *range(14, 26, 2),
    *range(28, 32, 2),
)  # of a long name, in an entry
_CHAIN_END = 0x0FFFFFF8
_DIRECTORY_MAX = 1 << 21  # bytes


@dataclass(frozen=True, slots=True)
class Name:
    """An entry of a directory: name, where on the device each of its characters is (None: a point
    that is not stored), where its short entry is, and those of the long name, attributes, first
    cluster, and size in bytes.
    """

    name: str
    characters: tuple[int | None, ...]
    at: int
    long: tuple[int, ...]
    attributes: int
    cluster: int
    size: int

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return bool(self.attributes & _DIRECTORY)


class Volume:
    """A FAT32 file system. Raises RefusedError when there is none."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        head = disk.read(0, 512)
        if len(head) < 512 or head[510:512] != b"\x55\xaa":
            raise RefusedError("there is no FAT file system")
        sector, per_cluster, reserved, fats = struct.unpack_from("<HBHB", head, 11)
        roots, small, fat_small = struct.unpack_from("<H", head, 17), head[22:24], head[36:40]
        if roots != (0,) or small != bytes(2) or sector not in (512, 1024, 2048, 4096):
            raise RefusedError("the file system is not FAT32")
        fat = int.from_bytes(fat_small, "little") * sector
        self._fat = reserved * sector
        self._fats = tuple(self._fat + number * fat for number in range(fats))
        self._data = self._fat + fats * fat
        self._cluster = per_cluster * sector
        self._last = fat // 4 - 1
        self._root = int.from_bytes(head[44:48], "little")

    def directory(self, path: str) -> list[Name]:
        """What is in a directory, in its order. Raises RefusedError when it does not exist."""
        found = self._names(self._root)
        for part in filter(None, path.split("/")):
            inside = [each for each in found if each.is_directory and _same(each.name, part)]
            if not inside:
                raise RefusedError(f"there is no directory {path}")
            found = self._names(inside[0].cluster)
        return found

    def chain(self, held: Name) -> tuple[int, ...]:
        """The clusters of a file; none when they are not as many as its size says."""
        count, cluster = -(-held.size // self._cluster), held.cluster
        found = []
        for _ in range(count):
            if not 2 <= cluster <= self._last:
                return ()
            found.append(cluster)
            cluster = self._following(cluster)
        return tuple(found) if cluster >= _CHAIN_END and len(set(found)) == count else ()

    def delete(self, held: Name, *, free: bool = True) -> None:
        """Delete a file: its name at once, then the rest of its name, and unless told otherwise its
        clusters, if they are as many as its size says. Each of the two is flushed.
        """
        chain = self.chain(held) if free else ()
        _put(self._disk, {held.at: _DELETED})
        entries = [copy + 4 * cluster for copy in self._fats for cluster in chain]
        changes = dict.fromkeys(held.long, _DELETED)
        for entry in entries:
            # The upper half of the last byte is not the table's to change.
            changes |= dict.fromkeys(range(entry, entry + 3), 0)
            changes[entry + 3] = self._disk.read(entry + 3, 1)[0] & 0xF0
        if changes:
            _put(self._disk, changes)

    def _names(self, cluster: int) -> list[Name]:
        found: list[Name] = []
        long: list[tuple[int, bytes]] = []
        for at, entry in self._entries(cluster):
            if entry[0] == 0:
                break
            if entry[0] == _DELETED:
                long = []
            elif entry[11] & 0x3F == _LONG:
                long = [(at, entry)] if entry[0] & _LAST else [*long, (at, entry)]
            else:
                if not entry[11] & _VOLUME and entry[0] != ord("."):
                    found.append(_name(at, entry, long))
                long = []
        return found

    def _entries(self, cluster: int) -> Iterator[tuple[int, bytes]]:
        seen = 0
        while 2 <= cluster <= self._last and seen < _DIRECTORY_MAX:
            start = self._data + (cluster - 2) * self._cluster
            data = self._disk.read(start, self._cluster)
            for at in range(0, len(data) - _ENTRY + 1, _ENTRY):
                yield start + at, data[at : at + _ENTRY]
            seen += self._cluster
            cluster = self._following(cluster)

    def _following(self, cluster: int) -> int:
        entry = self._disk.read(self._fat + 4 * cluster, 4)
        return int.from_bytes(entry, "little") & 0x0FFFFFFF


def rename(disk: Disk, held: Name, new: str) -> None:
    """Change characters of a name in place, and flush. Raises RefusedError when the names differ in
    anything but some characters.
    """
    if len(new) != len(held.name) or not new.isascii() or not held.name.isascii():
        raise RefusedError(f"{held.name} cannot become {new} in place")
    changes = {}
    for place, old, character in zip(held.characters, held.name, new, strict=True):
        if old != character:
            if place is None or character == ".":
                raise RefusedError(f"{held.name} cannot become {new} in place")
            is_short = held.at <= place < held.at + _SHORT
            changes[place] = ord(character.upper() if is_short else character)
    _put(disk, changes)


def _put(disk: Disk, changes: dict[int, int]) -> None:
    """Change single bytes, and flush."""
    sectors: dict[int, bytearray] = {}
    for place, value in changes.items():
        start = place // disk.sector * disk.sector
        if start not in sectors:
            sectors[start] = bytearray(disk.read(start, disk.sector))
        sectors[start][place - start] = value
    for start, data in sorted(sectors.items()):
        disk.write(start, bytes(data))
    disk.flush()


def _name(at: int, entry: bytes, long: list[tuple[int, bytes]]) -> Name:
    whole = _long_name(entry, long)
    name, characters = whole or _short_name(at, entry)
    high, low, size = (
        int.from_bytes(entry[start:end], "little") for start, end in ((20, 22), (26, 28), (28, 32))
    )
    places = tuple(place for place, _ in long) if whole else ()
    return Name(name, characters, at, places, entry[11], high << 16 | low, size)


def _long_name(
    entry: bytes, long: list[tuple[int, bytes]]
) -> tuple[str, tuple[int | None, ...]] | None:
    """The long name before a short entry, if it is whole and belongs to it."""
    numbers = [part[0] & 0x3F for _, part in long]
    if not numbers or numbers != list(range(len(numbers), 0, -1)) or not long[0][1][0] & _LAST:
        return None
    checksum = _checksum(entry[:11])
    if any(part[13] != checksum for _, part in long):
        return None
    name = ""
    places: list[int | None] = []
    for at, part in reversed(long):
        for offset in _CHARACTERS:
            code = int.from_bytes(part[offset : offset + 2], "little")
            if code in (0, 0xFFFF):
                return name, tuple(places)
            name += chr(code)
            places.append(at + offset)
    return name, tuple(places)


def _short_name(at: int, entry: bytes) -> tuple[str, tuple[int | None, ...]]:
    stem, kind = entry[:8].rstrip(b" "), entry[8:11].rstrip(b" ")
    places: list[int | None] = list(range(at, at + len(stem)))
    name = _cased(stem, entry[12] & _LOWER_STEM)
    if kind:
        name += "." + _cased(kind, entry[12] & _LOWER_KIND)
        places += [None, *range(at + 8, at + 8 + len(kind))]
    return name, tuple(places)


def _cased(part: bytes, lower: int) -> str:
    text = part.decode("latin-1")
    return text.lower() if lower else text


def _checksum(short: bytes) -> int:
    total = 0
    for byte in short:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
    return total


def _same(name: str, other: str) -> bool:
    return name.upper() == other.upper()
