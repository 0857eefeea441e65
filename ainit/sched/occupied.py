"""Who is on which slices until when, as arrays: the state of ``tables``. See ``occupancy``.

A *variant* is a placement on a GPU that is not as it is: with those gone who would be displaced, or
without the instance that a move leaves.
"""

from __future__ import annotations

import numpy as np

from . import features
from .boards import BITS, Array, Boards
from .state import RESIDENCY_S, Running, State, left

NEVER = 1e30  # seconds; in a logarithm as good as for ever
_SLOTS = tuple(tuple(slot for slot in range(8) if mask >> slot & 1) for mask in range(256))
_HAS = np.array([[mask >> slot & 1 for slot in range(8)] for mask in range(256)], dtype=np.float64)
_PLACEMENT = {name: place for place, name in enumerate(features.PLACEMENT)}
_UNTIL = slice(_PLACEMENT["half_until"], _PLACEMENT["gpu_until"] + 1)
_GONE = slice(_PLACEMENT["displaces"], _PLACEMENT["displaced_used"] + 1)
_AREA = slice(_PLACEMENT["displaced_area"], _PLACEMENT["displaced_cost"] + 1)
_HELD = _PLACEMENT["held"]
_NOBODY = (0.0,) * 6
_FIXED = 5


class Occupied:
    """The GPUs of a state. ``free`` are the placements that nobody is on."""

    def __init__(self, boards: Boards, state: State) -> None:
        self.boards = boards
        self.devices = devices = [device for device in state.devices if device.mig]
        places = {device.index: place for place, device in enumerate(devices)}
        masks: dict[tuple[int, int], int] = {}
        taken: list[int] = []
        for place, device in enumerate(devices):
            mine = device.barred
            for each in device.instances:
                mask = ((1 << each.size) - 1) << each.start
                masks[place, each.start] = mask
                mine |= mask
            taken.append(mine & 255)
        self.held = [0] * len(devices)
        holds = [(at, e) for e in state.holds if (at := places.get(e.gpu)) is not None]
        for at, hold in holds:
            self.held[at] |= hold.mask & 255
        occupied = [mine | held for mine, held in zip(taken, self.held, strict=True)]
        until = [[NEVER if mask >> slot & 1 else 0.0 for slot in range(8)] for mask in occupied]
        for at, hold in holds:
            for slot in _SLOTS[hold.mask & ~taken[at] & 255]:
                until[at][slot] = min(hold.seconds, NEVER)
        self.running: list[tuple[int, int, Running, float]] = []
        for running in state.running:
            at = places.get(running.gpu, -1)
            if mask := masks.get((at, running.start), 0):
                request = running.request
                work = left(request.estimate_s, request.attained_s)
                seconds = min(work / request.speeds[running.profile], NEVER)
                self.running.append((at, mask, running, seconds))
                for slot in _SLOTS[mask & ~self.held[at]]:
                    until[at][slot] = seconds
        self.taken = sum(mask.bit_count() for mask in occupied)
        self.occupied = np.array(occupied, dtype=np.intp)
        self.until = np.array(until)
        self.masks = self.occupied.take(boards.gpus)  # what is taken where each placement lies
        self.free = boards.free[self.masks, boards.places]
        self.full = np.zeros(len(boards.places), dtype=np.bool_)
        for (gpu, name), where in boards.limited.items():
            same = [each for each in devices[gpu].instances if each.profile == name]
            if same and len(same) >= boards.profiles[where[0]].limit:
                self.full[where] = True
        self.slots = self.until.T.take(boards.gpus, axis=1)
        self.on = np.zeros((0, 0), dtype=np.bool_)

    def free_at(self) -> Array:
        """By profile: seconds until the first of its placements is free."""
        spans = np.maximum.reduce(self.slots * self.boards.own, axis=0)
        return np.minimum.reduceat(spans.take(self.boards.by_name), self.boards.name_begins)

    def displaced(self) -> tuple[Array, Array]:
        """The placements that are free once those on them are stopped, all of whom may be; and the
        slice-seconds that these have left.
        """
        boards = self.boards
        if not any(running.movable for _, _, running, _ in self.running):
            return np.zeros(0, dtype=np.intp), np.zeros(0)
        # At most eight run on a GPU: of each the mask, then what is told of it.
        masks = [[0] * 8 for _ in self.devices]
        facts = [[_NOBODY] * 8 for _ in self.devices]
        self.who = [list[str]() for _ in self.devices]
        for at, mask, running, seconds in self.running:
            place = len(self.who[at])
            fixed = not running.movable or running.since_s < RESIDENCY_S
            masks[at][place] = mask
            area = seconds * mask.bit_count()
            cost, used = running.request.restart_s, running.request.used
            facts[at][place] = (area, seconds, running.since_s, cost, used, float(fixed))
            self.who[at].append(running.request.name)
        there = np.array(masks).take(boards.gpus, axis=0)
        on = boards.bits[:, None] & there > 0
        there *= on
        freed = np.bitwise_or.reduce(there, axis=1)
        self.facts = np.array(facts)
        fixed_ones = self.facts[:, :, _FIXED].take(boards.gpus, axis=0) * on
        able = (freed > 0) & (fixed_ones.max(axis=1) == 0.0)
        if any(self.held):
            held = np.array(self.held, dtype=np.intp).take(boards.gpus)
            able &= boards.bits & self.masks & ~(freed & ~held) == 0
        else:
            able &= boards.bits & self.masks & ~freed == 0
        places = np.flatnonzero(able)
        self.gone = freed.take(places)
        self.on = on.take(places, axis=0)
        self.told = self.facts.take(boards.gpus.take(places), axis=0) * self.on[:, :, None]
        return places, self.told[:, :, 0].sum(axis=1)

    def columns(self) -> Array:
        """The placement features, a row for each placement as things are."""
        boards = self.boards
        rows = np.zeros((len(boards.places), len(features.PLACEMENT)))
        rows[:, : _UNTIL.start] = boards.does[self.masks, boards.places]
        spans = rows[:, _UNTIL]
        spans[:, 0] = np.maximum.reduce(self.slots * boards.half, axis=0)
        spans[:, 1] = np.maximum.reduce(self.slots * boards.rest, axis=0)
        _squash(spans)
        if any(self.held):
            rows[:, _HELD] = (BITS.take(self.held) / features.SLICES).take(boards.gpus)
        return rows

    def variants(self, places: Array, gone: Array) -> Array:
        """The same for placements from where these slices are gone."""
        boards = self.boards
        before = self.masks.take(places) & ~gone
        rows = np.zeros((len(places), len(features.PLACEMENT)))
        rows[:, : _UNTIL.start] = boards.does[before, places]
        slots = self.slots.take(places, axis=1) * _HAS.take(before, axis=0).T
        spans = rows[:, _UNTIL]
        spans[:, 0] = np.maximum.reduce(slots * boards.half.take(places, axis=1), axis=0)
        spans[:, 1] = np.maximum.reduce(slots * boards.rest.take(places, axis=1), axis=0)
        _squash(spans)
        if any(self.held):
            held = BITS.take(self.held) / features.SLICES
            rows[:, _HELD] = held.take(boards.gpus.take(places))
        return rows

    def displacing(self, places: Array) -> Array:
        """The variants of what ``displaced`` found, with what is told of those who would go."""
        rows = self.variants(places, self.gone)
        told = self.told
        rows[:, _GONE.start] = np.minimum(self.on.sum(axis=1) / 7.0, 1.0)
        about = rows[:, _AREA]
        about[:, 0] = told[:, :, 0].sum(axis=1)
        about[:, 1] = told[:, :, 1].max(axis=1)
        about[:, 2] = np.where(self.on, told[:, :, 2], np.inf).min(axis=1)
        about[:, 3] = told[:, :, 3].sum(axis=1)
        _squash(about)
        rows[:, _GONE.stop - 1] = np.minimum(told[:, :, 4].max(axis=1) / 2.0, 1.0)
        self.gpus: Array = self.boards.gpus.take(places)
        return rows

    def names(self, number: int) -> tuple[str, ...]:
        """Who is stopped for the ``number``-th of what ``displaced`` found."""
        who = self.who[int(self.gpus[number])]
        return tuple(who[place] for place in np.flatnonzero(self.on[number]))


def _squash(values: Array) -> None:
    np.log1p(values, out=values)
    values /= features.LOG_TOP
    np.minimum(values, 1.0, out=values)
