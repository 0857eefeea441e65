"""A disk in memory that loses its power: what may be on it after any of its writes.

Until a flush, each sector of 512 bytes is as any of the writes to it left it, whatever the others
are; and one may be torn, with a part of the new and the rest of the old.

    disk = CutDisk(data); write(disk, table)
    for held in disk.cuts():
        ...
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import strategies as st

SECTOR = 512
Sectors = dict[int, bytes]  # by number
_EVERY_MAX = 6  # sectors in an epoch of which every combination is looked at
_SOME = 40  # combinations of more than that


@dataclass(frozen=True)
class Cut:
    """What a disk holds after a cut: what it held at first, but for some sectors."""

    initial: bytes
    sectors: Sectors
    sector: int = SECTOR

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.initial)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there."""
        first, last = offset // SECTOR, (offset + length - 1) // SECTOR
        if not any(number in self.sectors for number in range(first, last + 1)):
            return self.initial[offset : offset + length]
        held = b"".join(self._sector(number) for number in range(first, last + 1))
        return held[offset - first * SECTOR :][:length]

    def data(self) -> bytes:
        """All of it."""
        held = bytearray(self.initial)
        for number, content in self.sectors.items():
            held[number * SECTOR : (number + 1) * SECTOR] = content
        return bytes(held)

    def write(self, offset: int, data: bytes) -> None:
        """It is off."""
        raise AssertionError((offset, data))

    def flush(self) -> None:
        """It is off."""

    def _sector(self, number: int) -> bytes:
        return self.sectors.get(number, self.initial[number * SECTOR : (number + 1) * SECTOR])


@dataclass
class Epoch:
    """What lies between two flushes: the sectors that differed before it from those at first, and
    each sector's contents since.
    """

    before: Sectors
    sectors: dict[int, list[bytes]] = field(default_factory=dict)


class CutDisk:
    """A disk of whole sectors in memory."""

    def __init__(self, data: bytes, sector: int = SECTOR) -> None:
        self.initial = data
        self.data = bytearray(data)
        self.sector = sector
        self.size = len(data)
        self.log: list[str] = []
        self.epochs = [Epoch({})]

    def read(self, offset: int, length: int) -> bytes:
        """What was written last."""
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        """Take whole sectors."""
        assert offset % self.sector == 0
        assert len(data) % self.sector == 0
        assert offset + len(data) <= self.size
        self.log.append("write")
        known = self.epochs[-1].sectors
        for at in range(0, len(data), SECTOR):
            number = (offset + at) // SECTOR
            new, old = data[at : at + SECTOR], self.read(offset + at, SECTOR)
            if new != old:
                known.setdefault(number, [old]).append(new)
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        """Keep what was written."""
        self.log.append("flush")
        last = self.epochs[-1]
        held = {number: contents[-1] for number, contents in last.sectors.items()}
        self.epochs.append(Epoch(last.before | held))

    def cuts(self, torn: int = 8, seed: int = 0) -> Iterator[Cut]:
        """The disk after a cut in each epoch: every combination of its sectors, some of them where
        they are many; and ``torn`` times a torn sector in each of those.
        """
        rng = random.Random(seed)
        for epoch in self.epochs:
            yield Cut(self.initial, epoch.before)
            for chosen in _combinations(epoch, rng):
                held = epoch.before | dict(zip(epoch.sectors, chosen, strict=True))
                yield Cut(self.initial, held)
                for _ in range(torn if epoch.sectors else 0):
                    for number in rng.sample(list(epoch.sectors), min(3, len(epoch.sectors))):
                        versions, at = epoch.sectors[number], rng.randrange(1, SECTOR)
                        first, second = rng.choice(versions), rng.choice(versions)
                        yield Cut(self.initial, held | {number: first[:at] + second[at:]})

    @property
    def cut(self) -> st.SearchStrategy[Cut]:
        """The disk after some cut, any number of its sectors torn anywhere."""
        return st.sampled_from(self.epochs).flatmap(self._epoch_cut)

    def _epoch_cut(self, epoch: Epoch) -> st.SearchStrategy[Cut]:
        each = {number: _sector(versions) for number, versions in epoch.sectors.items()}
        return st.fixed_dictionaries(each).map(lambda held: Cut(self.initial, epoch.before | held))


class View:
    """A partition: a part of a disk."""

    def __init__(self, disk: CutDisk | Cut, start: int, size: int) -> None:
        self.disk = disk
        self.start = start
        self.size = size
        self.sector = disk.sector

    @property
    def data(self) -> bytes:
        """All of it."""
        return self.read(0, self.size)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there."""
        return self.disk.read(self.start + offset, max(0, min(length, self.size - offset)))

    def write(self, offset: int, data: bytes) -> None:
        """Take whole sectors."""
        assert offset + len(data) <= self.size
        self.disk.write(self.start + offset, data)

    def flush(self) -> None:
        """The whole disk."""
        self.disk.flush()


def _combinations(epoch: Epoch, rng: random.Random) -> Iterator[tuple[bytes, ...]]:
    each = list(epoch.sectors.values())
    if len(each) <= _EVERY_MAX:
        yield from itertools.product(*each)
        return
    for count in range(len(each) + 1):  # in order, and all but one
        yield tuple(one[-1] if at < count else one[0] for at, one in enumerate(each))
        yield tuple(one[0] if at == count else one[-1] for at, one in enumerate(each))
    for _ in range(_SOME):
        yield tuple(rng.choice(one) for one in each)


def _sector(versions: list[bytes]) -> st.SearchStrategy[bytes]:
    whole = st.sampled_from(versions)
    mixed = st.tuples(whole, whole, st.integers(1, SECTOR - 1))
    return whole | mixed.map(lambda drawn: drawn[0][: drawn[2]] + drawn[1][drawn[2] :])
