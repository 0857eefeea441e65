"""Tables of a set of boards, as arrays: its placements, and what of them an occupancy mask decides.

Made once for boards that stay the same; see ``tables``, which asks them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from . import features, geometry
from .candidates import Candidate, Kind
from .geometry import Geometry
from .place import Device, Proposal

Array = Any  # of numpy
BITS = np.array([mask.bit_count() for mask in range(1 << 8)], dtype=np.float64)
_SPEEDS_MAX = 4096


class _Kind:
    """What of a kind of board depends on its occupancy mask alone, for each of its placements."""

    def __init__(self, table: Geometry) -> None:
        self.geometry = table
        shapes = [(p, start, bits) for n, p in table.profiles.items()
                  for start, bits in table.placements[n]]  # fmt: skip
        self.profiles = [profile for profile, _, _ in shapes]
        self.starts = [start for _, start, _ in shapes]
        self.bits = np.array([bits for _, _, bits in shapes], dtype=np.intp)
        before = np.arange(1 << table.slices, dtype=np.intp)[:, None]
        after = before | self.bits
        self.free = _to_256(before & self.bits == 0)
        stranded, largest = np.array(table.stranded), np.array(table.largest, dtype=np.float64)
        worse = (stranded[after] - stranded[before]) / features.SLICES
        left_over = (table.slices - BITS[after]) / features.SLICES
        shrinks = (largest[before] - largest[after]) / features.SLICES
        opens = np.broadcast_to(before == 0, after.shape)
        columns = [np.clip(worse, 0, 1), np.clip(-worse, 0, 1), left_over, opens, shrinks]
        # By mask and placement: strands, mends, free, opens, shrinks.
        self.columns = _to_256(np.maximum(np.array(columns), 0).transpose(1, 2, 0))
        halves = geometry.halves(table.slices)
        beside = [next((h for h in halves if not bits & ~h), 255) for bits in self.bits.tolist()]
        slots = 1 << np.arange(8, dtype=np.intp)[:, None]
        own = (self.bits & slots) > 0
        # Slot by placement: its own slices, the rest of its half, the rest of its GPU.
        self.slots = [own, (np.array(beside) & slots > 0) & ~own, ~own]


class Boards:
    """All placements of a set of boards, one after the other: by GPU, profile and start."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self.devices = [device for device in devices if device.mig]
        tables = [geometry.of(device.profiles) for device in self.devices]
        kinds = {id(table): _Kind(table) for table in tables}
        self.kinds = [kinds[id(table)] for table in tables]
        self.memory = {p.name: p.memory for table in tables for p in table.profiles.values()}
        self.names = list(self.memory)
        at = {name: place for place, name in enumerate(self.names)}
        self.profiles = [profile for kind in self.kinds for profile in kind.profiles]
        self.starts = [start for kind in self.kinds for start in kind.starts]
        counts = [len(kind.starts) for kind in self.kinds]
        self.gpus = np.repeat(np.arange(len(self.kinds)), counts)
        self.name = np.array([at[profile.name] for profile in self.profiles], dtype=np.intp)
        self.limited: dict[tuple[int, str], list[int]] = {}
        for place, profile in enumerate(self.profiles):
            if profile.limit < len(profile.starts):
                key = int(self.gpus[place]), profile.name
                self.limited.setdefault(key, []).append(place)
        self.by_name = np.argsort(self.name, kind="stable")
        self.name_begins = np.searchsorted(self.name[self.by_name], np.arange(len(self.names)))
        # Own slices, the rest of its half, the rest of its GPU: a 1 for each, by placement.
        self.own, self.half, self.rest = (
            np.concatenate([kind.slots[part] for kind in self.kinds], axis=1).astype(np.float64)
            for part in range(3)
        )
        self.bits = np.concatenate([kind.bits for kind in self.kinds])
        self.places = np.arange(len(self.bits))
        # By occupancy mask and placement: whether it is free, and what it does to the board.
        self.free = np.concatenate([kind.free for kind in self.kinds], axis=1)
        self.does = np.concatenate([kind.columns for kind in self.kinds], axis=1)
        self.memory_of = np.array([self.memory[name] for name in self.names], dtype=np.float64)
        # As ``candidates`` has it: of the slices of the last board that offers the profile.
        slices = {name: table.slices for table in tables for name in table.profiles}
        self.size_of = np.array([self.memory[name] / slices[name] for name in self.names])
        self.product_names = frozenset(device.name for device in self.devices)
        self._orders: dict[tuple[str, ...], Array] = {}
        self._speeds: dict[int, tuple[object, Array, tuple[str, ...]]] = {}

    def speeds(self, given: Mapping[str, float]) -> tuple[object, Array, tuple[str, ...]]:
        """Of the profiles here: how fast each is, and in a second row for ever where it cannot be
        used; and which can be, in the order of ``given``. What is given is known again as the
        object that it is.
        """
        found = self._speeds.get(id(given))
        if found is None:
            fast = [speed if (speed := given.get(n, 0.0)) > 0 else math.inf for n in self.names]
            table = np.array([[1.0 if each == math.inf else each for each in fast],
                              [each if each == math.inf else 0.0 for each in fast]])  # fmt: skip
            names = tuple([name for name in given if given[name] > 0 and name in self.memory])
            if len(self._speeds) >= _SPEEDS_MAX:
                self._speeds.clear()
            found = self._speeds[id(given)] = (given, table, names)
        return found

    def order(self, names: tuple[str, ...]) -> Array:
        """The placements of some profiles: by GPU, in the order of the profiles, by start."""
        found = self._orders.get(names)
        if found is None:
            rank = {self.names.index(name): place for place, name in enumerate(names)}
            chosen = [n for n in range(len(self.gpus)) if int(self.name[n]) in rank]
            chosen.sort(key=lambda n: (self.gpus[n], rank[int(self.name[n])], self.starts[n]))
            if len(self._orders) > 256:
                self._orders.clear()
            found = self._orders[names] = np.array(chosen, dtype=np.intp)
        return found


class Chosen(Sequence[Candidate]):
    """Candidates that are made when somebody looks at them. ``who`` are places in ``names``, of
    whom the first ``starts`` wait; ``gone`` says who is stopped for a candidate.
    """

    def __init__(
        self,
        boards: Boards,
        names: Sequence[str],
        who: Array,
        where: Array,
        starts: int,
        gone: Callable[[int], tuple[str, ...]],
        *,
        waits: bool,
    ) -> None:
        self._boards = boards
        self._names = names
        self._who = who
        self._where = where
        self._starts = starts
        self._gone = gone
        self._waits = waits

    def __len__(self) -> int:
        return len(self._where) + self._waits

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"candidate {index} of {count}: index out of range")
        index %= count
        if index == len(self._where):
            return Candidate(Kind.WAIT, "")
        boards, place, who = self._boards, int(self._where[index]), int(self._who[index])
        gpu = boards.devices[int(boards.gpus[place])].index
        profile = boards.profiles[place]
        proposal = Proposal(gpu, profile.name, boards.starts[place], profile.memory)
        kind = Kind.START if who < self._starts else Kind.MOVE
        return Candidate(kind, self._names[who], proposal, self._gone(index))

    def __iter__(self) -> Iterator[Candidate]:
        return (self[index] for index in range(len(self)))


def _to_256(table: Array) -> Array:
    """A table by mask, with masks of boards that have fewer slices left empty."""
    full = np.zeros((256, *table.shape[1:]), dtype=table.dtype)
    full[: len(table)] = table
    return full
