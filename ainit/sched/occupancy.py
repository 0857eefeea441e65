"""One GPU as a decision sees it: which slices are taken, by whom, until when. PURE.

``placement`` describes what an instance would do to it, with or without those it displaces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import features, geometry, place
from .place import Device
from .state import RESIDENCY_S, Running, State

# The numbers of the slices of each mask: decisions look at few slices, many times.
_SLOTS = tuple(tuple(n for n in range(8) if mask >> n & 1) for mask in range(256))


class Occupancy:
    """One GPU at this moment. ``running``: who runs under the scheduler, with the slices' mask."""

    def __init__(self, device: Device, state: State) -> None:
        self.device = device
        self.geometry = geometry.of(device.profiles)
        self.halves = geometry.halves(device.slices)
        holds = [each for each in state.holds if each.gpu == device.index]
        self.held = place.union(each.mask for each in holds)
        taken = device.occupied
        self.occupied = taken | self.held
        self.until = [math.inf if self.occupied >> n & 1 else 0.0 for n in range(device.slices)]
        for hold in holds:
            self._lasts(hold.mask & ~taken, hold.seconds)
        self.running: list[tuple[int, Running, float]] = []
        masks = {each.start: each.mask for each in device.instances}
        for each in state.running:
            if each.gpu == device.index and (bits := masks.get(each.start)) is not None:
                until = each.until_s
                self.running.append((bits, each, until))
                self._lasts(bits & ~self.held, until)

    def _lasts(self, bits: int, seconds: float) -> None:
        for slot in _SLOTS[bits & ((1 << self.device.slices) - 1)]:
            self.until[slot] = seconds

    def until_of(self, bits: int) -> float:
        """Seconds until all these slices are free."""
        until, latest = self.until, 0.0
        for slot in _SLOTS[bits]:
            latest = max(latest, until[slot])
        return latest

    def displaced(self, bits: int) -> list[tuple[int, Running, float]] | None:
        """Who would be stopped for these slices; None when somebody may not be."""
        stopped = [each for each in self.running if each[0] & bits]
        freed = place.union(each[0] for each in stopped) & ~self.held
        if bits & self.occupied & ~freed:
            return None
        for _, who, _ in stopped:
            if not who.movable or who.since_s < RESIDENCY_S:
                return None
        return stopped

    def placement(
        self, bits: int, stopped: Sequence[tuple[int, Running, float]] = (), own: int = 0
    ) -> tuple[float, ...]:
        """The placement half of a candidate's features; ``own``: slices that a move leaves."""
        before = self.occupied & ~own
        area = longest = cost = used = latest = 0.0
        for mask, who, until in stopped:
            before &= ~mask
            area += until * mask.bit_count()
            longest = max(longest, until)
            cost += who.request.restart_s
            used = max(used, who.request.used)
            latest = who.since_s if mask == stopped[0][0] else min(latest, who.since_s)
        after, rest, table = before | bits, before & ~bits, self.geometry
        low, high = self.halves
        half = low if not bits & ~low else high if not bits & ~high else -1
        return features.placement(
            table.stranded[before],
            table.stranded[after],
            table.slices - after.bit_count(),
            0.0 if before else 1.0,
            table.largest[before] - table.largest[after],
            self.until_of(rest & half),
            self.until_of(rest),
            len(stopped),
            area,
            longest,
            latest,
            cost,
            used,
            self.held.bit_count(),
        )
