"""Every state that a disk can have after a power cut, of a log of its writes.

What was flushed is on the disk; of what was written since, any sector of 512 bytes may be there or
not. To kill QEMU models no cut: the host's page cache keeps what was written.

    replay = Replay(log, FileBase(image))
    for point in points(log, seed=8):
        disk = replay.at(point)

A write that was still under way while a flush ended counts as flushed: the log has both in the
order of their ends, so a client that waits for no write before it flushes would pass.

===============  =====================================================================
`boundary`       all writes up to one, in order; with none of the epoch: all dropped
`dropped`        all writes of an epoch but one
`alone`          one write of an epoch
`torn`           all writes before one, and some of its sectors; or some of two writes'
`reordered`      some of the epoch's writes, in any order, some of them torn
===============  =====================================================================
"""

from __future__ import annotations

import itertools
import mmap
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lib.cut_log import SECTOR, Log, Write

# Of so many writes in an epoch, every combination is a point; of so many sectors in a write, too.
FEW_WRITES, FEW_SECTORS = 6, 3
SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a write: ``sectors`` of it, counted from its first; None: all of them."""

    write: Write
    sectors: tuple[int, ...] | None = None


Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A cut: the epochs before ``epoch`` are on the disk, and these pieces, in this order."""

    epoch: int
    kind: str
    pieces: Pieces

    def __str__(self) -> str:
        words = [f"{piece.write.number}{_partly(piece)}" for piece in self.pieces]
        return f"epoch {self.epoch}, {self.kind}: {' '.join(words) or 'nothing'}"


class Base(Protocol):
    """What the disk held before."""

    @property
    def size(self) -> int:
        """In bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there."""


class FileBase:
    """An image file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self._map)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there."""
        return self._map[offset : offset + length]


def points(log: Log, seed: int, *, samples: int = SAMPLES) -> Iterator[Point]:
    """Every cut that is looked at, each once, by epochs. The same seed gives the same points."""
    for number, epoch in enumerate(log.epochs):
        draw = random.Random(f"{seed} {number}")
        seen = set()
        for point in _points(number, epoch, draw, samples):
            pieces = _canonical(_forced(point.pieces, epoch))
            if pieces not in seen:
                seen.add(pieces)
                yield replace(point, pieces=pieces)


def _points(
    number: int, epoch: Sequence[Write], draw: random.Random, samples: int
) -> Iterator[Point]:
    whole = tuple(map(Piece, epoch))
    for end in range(len(whole) + 1):
        yield Point(number, "boundary", whole[:end])
    for place, write in enumerate(epoch):
        yield Point(number, "dropped", whole[:place] + whole[place + 1 :])
        yield Point(number, "alone", whole[place : place + 1])
        for sectors in _tears(write.count, draw, samples):
            yield Point(number, "torn", (*whole[:place], Piece(write, sectors)))
    if len(whole) <= FEW_WRITES:
        for size in range(1, len(whole)):
            for some in itertools.combinations(whole, size):
                yield Point(number, "reordered", some)
        for one, other in itertools.combinations(whole, 2):
            for _ in range(samples):
                yield Point(number, "torn", (_torn(one, draw), _torn(other, draw)))
    for _ in range(samples * bool(len(whole) > 1)):
        drawn = draw.sample(whole, draw.randint(1, len(whole)))
        yield Point(number, "reordered", tuple(_worn(piece, draw) for piece in drawn))


def _tears(count: int, draw: random.Random, samples: int) -> Iterator[tuple[int, ...]]:
    """Which sectors of a write are there: every combination of few, samples of many."""
    if count <= FEW_SECTORS:
        for size in range(1, count):
            yield from itertools.combinations(range(count), size)
        return
    yield (0,)
    yield tuple(range(1, count))
    yield tuple(range(count - 1))
    for _ in range(samples):
        yield tuple(sorted(draw.sample(range(count), draw.randint(1, count - 1))))


def _worn(piece: Piece, draw: random.Random) -> Piece:
    return piece if draw.random() < 0.5 else _torn(piece, draw)


def _torn(piece: Piece, draw: random.Random) -> Piece:
    """Some sectors of a write, if it has several."""
    count = piece.write.count
    if count == 1:
        return piece
    return replace(piece, sectors=tuple(sorted(draw.sample(range(count), draw.randint(1, count)))))


def _forced(pieces: Pieces, epoch: Sequence[Write]) -> Pieces:
    """The pieces with every write that came before the last of them and did not wait for a flush:
    those are on the disk, in their order, below what else is.
    """
    last = max((piece.write.number for piece in pieces), default=-1)
    there = [write for write in epoch if write.forced and write.number < last]
    others = (piece for piece in pieces if piece.write not in there)
    return (*map(Piece, there), *others) if there else pieces


def _canonical(pieces: Pieces) -> Pieces:
    """The pieces in one order of all that leave the same: only those that overlap keep theirs."""
    ordered = sorted(pieces, key=lambda piece: piece.write.sector)
    overlapping, reached, before = set(), -1, None
    for piece in ordered:
        if piece.write.sector < reached and before is not None:
            overlapping |= {before.write.number, piece.write.number}
        if piece.write.end > reached:
            reached, before = piece.write.end, piece
    apart = [piece for piece in pieces if piece.write.number not in overlapping]
    apart.sort(key=lambda piece: piece.write.number)
    return (*apart, *(piece for piece in pieces if piece.write.number in overlapping))


def _partly(piece: Piece) -> str:
    if piece.sectors is None:
        return ""
    return f"[{len(piece.sectors)} of {piece.write.count} sectors]"


class Disk:
    """What the disk holds after one cut, to be read before the next one is asked for."""

    def __init__(self, base: Base, durable: Replay, over: dict[int, bytes], point: Point) -> None:
        self.base = base
        self._durable = durable
        self._over = over
        self.point = point
        self.size = base.size

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there."""
        first, end = offset // SECTOR, -(-(offset + length) // SECTOR)
        data = bytearray(self.base.read(first * SECTOR, (end - first) * SECTOR))
        for layer in (self._durable.sectors, self._over):
            if len(layer) < end - first:
                held = [number for number in layer if first <= number < end]
            else:
                held = [number for number in range(first, end) if number in layer]
            for number in held:
                start = (number - first) * SECTOR
                data[start : start + SECTOR] = layer[number]
        return bytes(data[offset - first * SECTOR :][:length])

    def key(self, offset: int, length: int) -> tuple[object, ...]:
        """Equal where the bytes there are: which writes lie in that part."""
        first, end = offset // SECTOR, -(-(offset + length) // SECTOR)
        pieces = [
            (piece.write.number, piece.sectors)
            for piece in self.point.pieces
            if piece.write.sector < end and piece.write.end > first
        ]
        return self._durable.last(first, end), tuple(pieces)

    def changed(self, offset: int, length: int) -> Iterator[tuple[int, bytes]]:
        """The sectors there that were written, with their offsets."""
        first, end = offset // SECTOR, -(-(offset + length) // SECTOR)
        held = {**self._durable.sectors, **self._over}
        for number, data in held.items():
            if first <= number < end:
                yield number * SECTOR, data


class Replay:
    """The disk at each point of a log, over what it held before it. Points come by epochs."""

    def __init__(self, log: Log, base: Base) -> None:
        self._log = log
        self._base = base
        self._file = log.path.open("rb")
        self._epoch = 0
        self._written: list[Write] = []
        self._last: dict[tuple[int, int], tuple[int, int]] = {}
        self.sectors: dict[int, bytes] = {}

    def close(self) -> None:
        """Close the log."""
        self._file.close()

    def at(self, point: Point) -> Disk:
        """The disk after this cut; those asked for before are of no use any more."""
        while self._epoch < point.epoch:
            for write in self._log.epochs[self._epoch]:
                self._put(self.sectors, Piece(write))
                self._written.append(write)
            self._epoch += 1
        over: dict[int, bytes] = {}
        for piece in point.pieces:
            self._put(over, piece)
        return Disk(self._base, self, over, point)

    def last(self, first: int, end: int) -> int:
        """The last write on the disk that lies in these sectors; -1: none."""
        seen, found = self._last.get((first, end), (0, -1))
        for write in itertools.islice(self._written, seen, None):
            if write.sector < end and write.end > first:
                found = write.number
        self._last[first, end] = len(self._written), found
        return found

    def _put(self, into: dict[int, bytes], piece: Piece) -> None:
        write = piece.write
        size = write.count * SECTOR
        if write.at is None:
            data = bytes(size)
        else:
            self._file.seek(write.at)
            data = self._file.read(size)
        for number in range(write.count) if piece.sectors is None else piece.sectors:
            into[write.sector + number] = data[number * SECTOR : (number + 1) * SECTOR]
