"""A disk that logs its writes and flushes in the form that QEMU's ``blklogwrites`` has."""

from __future__ import annotations

import struct
from pathlib import Path

SECTOR = 512
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
_MAGIC, _VERSION = 0x6A736677736872, 1


def entry(sector: int, data: bytes = b"", flags: int = 0, count: int | None = None) -> bytes:
    """One entry of a log, with its data; ``count`` in place of the data's sectors."""
    sectors = len(data) // SECTOR if count is None else count
    length = len(data) if flags & MARK else 0
    head = struct.pack("<QQQQ", sector, 0 if flags & MARK else sectors, flags, length)
    return head.ljust(SECTOR, b"\0") + data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0")


def log(*entries: bytes) -> bytes:
    """A log of these entries."""
    head = struct.pack("<QQQI", _MAGIC, _VERSION, len(entries), SECTOR)
    return head.ljust(SECTOR, b"\0") + b"".join(entries)


class LoggedDisk:
    """A disk over an image, which stays as it is."""

    def __init__(self, image: Path, sector: int = SECTOR) -> None:
        self._image = image
        self.sector = sector
        self.size = image.stat().st_size
        self._held: dict[int, bytes] = {}
        self._entries: list[bytes] = []

    def read(self, offset: int, length: int) -> bytes:
        """What was written last."""
        first, end = offset // SECTOR, -(-(offset + length) // SECTOR)
        with self._image.open("rb") as file:
            file.seek(first * SECTOR)
            data = bytearray(file.read((end - first) * SECTOR))
        for number in range(first, end):
            if number in self._held:
                data[(number - first) * SECTOR : (number - first + 1) * SECTOR] = self._held[number]
        return bytes(data[offset - first * SECTOR :][:length])

    def write(self, offset: int, data: bytes) -> None:
        """Write whole sectors."""
        assert offset % SECTOR == 0
        assert len(data) % SECTOR == 0
        for at in range(0, len(data), SECTOR):
            self._held[(offset + at) // SECTOR] = data[at : at + SECTOR]
        self._entries.append(entry(offset // SECTOR, data))

    def flush(self) -> None:
        """Keep what was written."""
        self._entries.append(entry(0, flags=FLUSH))

    def save(self, path: Path) -> Path:
        """Write the log."""
        path.write_bytes(log(*self._entries))
        return path
