"""What of a board does not change, looked up by occupancy mask. PURE.

Two boards that offer the same profiles share one table of 256 entries (16 for four slices).

>>> halves(8)
(15, 240)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .place import Device, Profile, mask, stranded


@dataclass(frozen=True, slots=True)
class Geometry:
    """A kind of board. ``stranded`` and ``largest`` (the largest placement that is still free, in
    memory slices) are by occupancy mask, ``placements`` by profile name: start and mask.
    """

    slices: int
    profiles: dict[str, Profile]
    placements: dict[str, tuple[tuple[int, int], ...]]
    stranded: tuple[float, ...]
    largest: tuple[int, ...]


@cache
def of(profiles: tuple[Profile, ...]) -> Geometry:
    """The tables of a board that offers these profiles."""
    board = Device(0, "", "", True, 0, profiles, ())
    placements = {
        each.name: tuple((start, mask(start, each.memory)) for start in each.starts)
        for each in profiles
    }
    shapes = [(each.memory, bits) for each in profiles for _, bits in placements[each.name]]
    states = range(1 << board.slices)
    return Geometry(
        board.slices,
        {each.name: each for each in profiles},
        placements,
        tuple(stranded(board, occupied) for occupied in states),
        tuple(_largest(shapes, occupied) for occupied in states),
    )


def _largest(shapes: Sequence[tuple[int, int]], occupied: int) -> int:
    return max((size for size, bits in shapes if not bits & occupied), default=0)


def halves(slices: int) -> tuple[int, int]:
    """The masks of the two halves of a board: no profile but the whole board spans both."""
    half = slices // 2
    return mask(0, half), mask(half, slices - half)
