"""Write an image to a disk: what is there, how it gets to the disk, and that it got there.

The disk first loses its partition tables. Then come the partitions, which are read back, and the
tables only behind those. So a disk on which this was interrupted or failed has no partition table,
and no firmware starts anything from it.

    image = Image.read(BUILD / "image")
    with opened(Path("/dev/sdb")) as target:
        write(target, image, image.table.place(target.size, image.kept))
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lib.assembly import DISK, MANIFEST
from lib.flash_table import HEAD_MAX, Placed, Table
from lib.flash_table import read as read_table
from lib.flash_target import CHUNK, Target
from lib.host import HostError
from lib.layout import MIB, SECTOR
from lib.progress import Progress, format_elapsed, step

# How much a disk forgets or zeroes at a time: an interruption waits for no more than that.
DISCARD = 16 << 30
ZEROED = 16 * CHUNK
_ZEROS = bytes(CHUNK)
# The SHA-256 of each piece of an image by its offset, None where there are only zeros.
Digests = dict[int, bytes | None]
_HELD = {"root": "root.erofs", "verity": "root.verity"}  # partition: file of the manifest


@dataclass(frozen=True, slots=True)
class Image:
    """A finished image: its disk, the table on that, and its manifest."""

    disk: Path
    table: Table
    manifest: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Image:
        """Return the image in a directory. Raises HostError when it is not whole."""
        disk = folder / DISK
        if not (folder / MANIFEST).exists() or not disk.exists():
            raise HostError(f"there is no image in {folder}; `make image` builds one")
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
        except ValueError as error:
            raise HostError(f"{folder / MANIFEST} cannot be read: {error}") from None
        with disk.open("rb") as file:
            table = read_table(file.read(HEAD_MAX))
        if table.end > disk.stat().st_size:
            raise HostError(f"{disk} is shorter than its partitions: build it anew")
        image = cls(disk, table, manifest)
        if missing := image.kept - {each.uuid for each in table.partitions}:
            raise HostError(f"{disk} is not of this {MANIFEST}: no partition {min(missing)}")
        return image

    @property
    def kept(self) -> frozenset[str]:
        """The UUIDs that the signed command line names: the halves of the root hash."""
        return frozenset(self.manifest["root"]["partuuid"].values())

    @property
    def title(self) -> str:
        """What it is, for people."""
        return "AINOS {version} ({variant}, {architecture})".format(**self.manifest)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Offset and length of each piece of the partitions, from the first to the last."""
        for offset in range(self.table.start, self.table.end, CHUNK):
            yield offset, min(CHUNK, self.table.end - offset)

    def check(self) -> None:
        """Raise HostError unless root and hash tree on the disk are those of the manifest."""
        places = {each.uuid: each for each in self.table.partitions}
        with self.disk.open("rb") as file:
            for part, uuid in self.manifest["root"]["partuuid"].items():
                listed = self.manifest["files"][_HELD[part]]
                file.seek(places[uuid].start)
                digest, left = hashlib.sha256(), listed["size"]
                while data := file.read(min(CHUNK, left)):
                    digest.update(data)
                    left -= len(data)
                if digest.hexdigest() != listed["sha256"]:
                    name = _HELD[part]
                    raise HostError(f"{self.disk} does not hold the {name} of {MANIFEST}")

    def digests(self, progress: Progress) -> Digests:
        """Read all pieces."""
        found: Digests = {}
        with self.disk.open("rb") as file:
            for offset, length in self.chunks():
                found[offset] = None
                if _holds_data(file, offset, length):
                    data = _piece(file, offset, length)
                    if data != _ZEROS[:length]:
                        found[offset] = hashlib.sha256(data).digest()
                progress.update(offset, self.table.end)
        return found


def write(
    target: Target,
    image: Image,
    placed: Placed,
    *,
    discard: bool = False,
    add: Callable[[], None] | None = None,
) -> None:
    """Write the image and read it back. Raises HostError; the disk then has no partition table.
    With ``discard`` an SSD is told first that it is empty. ``add`` puts a configuration beside it.
    """
    with step("image") as progress:
        image.check()
        digests = image.digests(progress)
        data = sum(digest is not None for digest in digests.values()) * CHUNK
        progress.note(f"{_mib(image.table.end)}, of which {_mib(data)} hold data")
    with step("old tables"):
        _clear(target, image.table, placed)
    try:
        if discard:
            with step("discard") as progress:
                _discard(target, image.table, progress)
        with step("zeros") as progress:
            _zero(target, image, digests, progress)
        with step("data") as progress:
            _write_data(target, image, digests, progress)
        with step("read back") as progress:
            _read_back(target, image, digests, progress)
            _check_tail(target, placed)
        if add:
            with step("configuration"):
                add()
    except BaseException:
        print(
            f"{target.path} has no partition table now, and nothing starts from it: write it again",
            file=sys.stderr,
        )
        raise
    with step("partition table"):
        _write_tables(target, placed)


def _clear(target: Target, table: Table, placed: Placed) -> None:
    """Take both partition tables away, for good, before anything else is touched.

    The entries of the new second table come at once, though without a header: they are looked for
    when everything else is written, and are gone if the disk is smaller than it says.
    """
    last = target.size // SECTOR * SECTOR
    tail = max(table.end, last - MIB)
    target.zero(0, table.start)
    target.zero(tail, last - tail)
    target.flush()
    target.write(last - len(placed.second), placed.second[:-SECTOR])


def _discard(target: Target, table: Table, progress: Progress) -> None:
    """Let an SSD forget what is between the tables, which might come back if it were those."""
    end = target.size // SECTOR * SECTOR - MIB
    for offset in range(table.start, end, DISCARD):
        target.discard(offset, min(DISCARD, end - offset))
        progress.update(offset, end)


def _zero(target: Target, image: Image, digests: Digests, progress: Progress) -> None:
    """Let the disk read as zeros where the image has nothing: no old data shines through."""
    empty = [piece for piece in image.chunks() if digests[piece[0]] is None]
    pace = Pace(progress, sum(length for _, length in empty))
    for offset, length in _joined(empty):
        target.zero(offset, length)
        pace.advance(length)
    target.flush()
    progress.note(_mib(pace.total))


def _write_data(target: Target, image: Image, digests: Digests, progress: Progress) -> None:
    pieces = [piece for piece in image.chunks() if digests[piece[0]] is not None]
    pace = Pace(progress, sum(length for _, length in pieces))
    with image.disk.open("rb") as file:
        for offset, length in pieces:
            target.write(offset, _piece(file, offset, length))
            pace.advance(length)
    target.flush()
    pace.end()


def _read_back(target: Target, image: Image, digests: Digests, progress: Progress) -> None:
    pace = Pace(progress, image.table.end - image.table.start)
    with image.disk.open("rb") as file:
        for offset, length in image.chunks():
            data, digest = target.read(offset, length), digests[offset]
            is_zero = digest is None and data == _ZEROS[:length]
            if not is_zero and hashlib.sha256(data).digest() != digest:
                wanted = _ZEROS[:length] if digest is None else _piece(file, offset, length)
                _compare(target, offset, data, wanted)
                raise HostError(f"{image.disk} changed while it was written")
            pace.advance(length)
    pace.end()


def _check_tail(target: Target, placed: Placed) -> None:
    wanted = placed.second[:-SECTOR]
    offset = target.size // SECTOR * SECTOR - len(placed.second)
    _compare(target, offset, target.read(offset, len(wanted)), wanted)


def _write_tables(target: Target, placed: Placed) -> None:
    """Write the tables, the one at the start last, and of that the first sectors last."""
    end = target.size // SECTOR * SECTOR
    names = 2 * SECTOR  # protective MBR and header, without which the rest is nothing
    parts = (
        (end - len(placed.second), placed.second),
        (names, placed.first[names:]),
        (0, placed.first[:names]),
    )
    for offset, data in parts:
        target.write(offset, data)
        target.flush()
    for offset, data in parts:
        _compare(target, offset, target.read(offset, len(data)), data)


def _compare(target: Target, offset: int, data: bytes, wanted: bytes) -> None:
    """Raise HostError with the place of the first byte that differs, if one does."""
    if data == wanted:
        return
    at = next(
        at for at, (is_, should) in enumerate(zip(data, wanted, strict=True)) if is_ != should
    )
    raise HostError(
        f"{target.path} reads back other than it was written, first at byte {offset + at}: "
        f"{data[at]:#04x} instead of {wanted[at]:#04x}; "
        "it is bad, or smaller than it says: take another"
    )


class Pace:
    """How fast a step goes, and how long it still takes."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.total = total
        self._progress = progress
        self._done = 0
        self._start = time.monotonic()

    def advance(self, count: int) -> None:
        """So many bytes more are done."""
        self._done += count
        left = (self.total - self._done) / max(self._rate(), 1.0)
        text = f"{self._rate() / MIB:.0f} MiB/s, {format_elapsed(left)} left"
        self._progress.update(self._done, self.total, text)

    def end(self) -> None:
        """Everything is done, flushing included."""
        self._progress.note(f"{_mib(self.total)}, {self._rate() / MIB:.0f} MiB/s")

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._start, 1e-6)


def _joined(pieces: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join adjacent pieces, each still short enough to interrupt."""
    found: list[tuple[int, int]] = []
    for offset, length in pieces:
        start, before = found[-1] if found else (0, ZEROED)
        if start + before == offset and before < ZEROED:
            found[-1] = (start, before + length)
        else:
            found.append((offset, length))
    return found


def _holds_data(file: BinaryIO, offset: int, length: int) -> bool:
    """Whether a piece is no hole, as far as the file system knows."""
    try:
        return os.lseek(file.fileno(), offset, os.SEEK_DATA) < offset + length
    except OSError:  # only a hole is behind it
        return False


def _piece(file: BinaryIO, offset: int, length: int) -> bytes:
    data = os.pread(file.fileno(), length, offset)
    if len(data) != length:
        raise HostError(f"{file.name} became shorter while it was read")
    return data


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
