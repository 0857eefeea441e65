"""Read a FAT32 file system as firmware does: what a loader finds on an ESP after a power cut.

Microsoft's specification of 2000, and EDK2's FatPkg: a long name counts when its parts are whole,
in order, and have the short name's checksum; else the short name does. It is an oracle's reader, so
nothing of it is what the update client uses. Leaves out FAT12, FAT16 and writing.

    Fat(lambda offset, length: image[offset : offset + length]).files("EFI/Linux")
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
_ENTRY, _END, _BAD = 32, 0x0FFFFFF8, 0x0FFFFFF7
_LONG, _LABEL, _FOLDER = 0x0F, 0x08, 0x10
_MOST = 1 << 16  # clusters of a directory


class FatError(Exception):
    """The file system cannot be read."""


@dataclass(frozen=True, slots=True)
class File:
    """A file or directory; ``size`` in bytes."""

    name: str
    is_directory: bool
    cluster: int
    size: int


class Fat:
    """The file system that ``read(offset, length)`` reads. Raises FatError where there is none."""

    def __init__(self, read: Read) -> None:
        self._read = read
        boot = read(0, 512)
        fields = struct.unpack_from("<HBHBHHBHHHII", boot, 11)
        sector, cluster, reserved, copies, roots, few, _, small, *_ = fields
        each, _, _, root = struct.unpack_from("<IHHI", boot, 36)
        power = sector in (512, 1024, 2048, 4096) and cluster in (1, 2, 4, 8, 16, 32, 64, 128)
        if boot[510:512] != b"\x55\xaa" or not power or roots or few or small or not each:
            raise FatError("no FAT32 boot sector")
        self._table: int = reserved * sector
        self._data: int = self._table + copies * each * sector
        self.cluster: int = cluster * sector
        self._count = each * sector // 4
        self._root = root

    def files(self, folder: str) -> list[File]:
        """What is in a directory. Raises FatError when there is none."""
        cluster = self._root
        for part in filter(None, folder.split("/")):
            inside = self._folder(cluster)
            found = [each for each in inside if each.is_directory and _same(each.name, part)]
            if not found:
                raise FatError(f"no directory {part}")
            cluster = found[0].cluster
        return self._folder(cluster)

    def find(self, path: str) -> File:
        """The first file of this path, in any case. Raises FatError."""
        folder, _, name = path.rpartition("/")
        for each in self.files(folder):
            if not each.is_directory and _same(each.name, name):
                return each
        raise FatError(f"no file {path}")

    def content(self, file: File) -> bytes:
        """A file's bytes. Raises FatError when its clusters end before it does."""
        runs: list[list[int]] = []
        needed = -(-file.size // self.cluster)
        for cluster in self._chain(file.cluster, needed):
            if runs and runs[-1][0] + runs[-1][1] == cluster:
                runs[-1][1] += 1
            else:
                runs.append([cluster, 1])
        parts = [self._read(self._place(first), count * self.cluster) for first, count in runs]
        return b"".join(parts)[: file.size]

    def clusters(self, file: File) -> list[int]:
        """Where a file is. Raises FatError as `content` does."""
        return list(self._chain(file.cluster, -(-file.size // self.cluster)))

    def _chain(self, cluster: int, needed: int) -> Iterator[int]:
        for _ in range(needed):
            if not 2 <= cluster < min(self._count, _BAD):
                raise FatError("a chain of clusters ends early")
            yield cluster
            cluster = self._next(cluster)

    def _next(self, cluster: int) -> int:
        entry = self._read(self._table + 4 * cluster, 4)
        return int.from_bytes(entry, "little") & 0x0FFFFFFF

    def _place(self, cluster: int) -> int:
        return self._data + (cluster - 2) * self.cluster

    def _folder(self, cluster: int) -> list[File]:
        found: list[File] = []
        parts: list[bytes] = []
        for entry in self._entries(cluster):
            if entry[0] == 0:
                break
            if entry[0] == 0xE5:
                parts = []
            elif entry[11] & 0x3F == _LONG:
                parts = [entry] if entry[0] & 0x40 else [*parts, entry]
            else:
                if not entry[11] & _LABEL and entry[0] != ord("."):
                    found.append(_file(entry, parts))
                parts = []
        return found

    def _entries(self, cluster: int) -> Iterator[bytes]:
        for _ in range(_MOST):
            if cluster >= _END:
                return
            if not 2 <= cluster < min(self._count, _BAD):
                raise FatError("a directory's chain of clusters is broken")
            data = self._read(self._place(cluster), self.cluster)
            for at in range(0, self.cluster, _ENTRY):
                yield data[at : at + _ENTRY]
            cluster = self._next(cluster)
        raise FatError("a directory has no end")


def _file(entry: bytes, parts: list[bytes]) -> File:
    (high,) = struct.unpack_from("<H", entry, 20)
    low, size = struct.unpack_from("<HI", entry, 26)
    name = _long(parts, entry[:11]) or _short(entry)
    return File(name, bool(entry[11] & _FOLDER), high << 16 | low, size)


def _long(parts: list[bytes], short: bytes) -> str:
    """The long name of these parts, last one first; empty when they are not this file's."""
    total = 0
    for byte in short:
        total = (((total & 1) << 7) + (total >> 1) + byte) & 0xFF
    wanted = list(range(len(parts), 0, -1))
    if not parts or not parts[0][0] & 0x40 or [part[0] & 0x3F for part in parts] != wanted:
        return ""
    if any(part[13] != total for part in parts):
        return ""
    codes = b"".join(part[1:11] + part[14:26] + part[28:32] for part in reversed(parts))
    text = codes.decode("utf-16-le", "replace")
    return text.partition("\0")[0].rstrip("\uffff")


def _short(entry: bytes) -> str:
    stem, kind = (entry[at:end].decode("latin-1").rstrip() for at, end in ((0, 8), (8, 11)))
    stem = stem.lower() if entry[12] & 8 else stem
    kind = kind.lower() if entry[12] & 16 else kind
    return f"{stem}.{kind}" if kind else stem


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()
