"""Boards as arrays: profiles, placements, and tables by occupancy mask.

All that is known of a board comes from ``ainit/sched/boards.json``, as everywhere.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import geometry
from ..place import Profile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FILE = Path(__file__).resolve().parents[1] / "boards.json"


class Board(NamedTuple):
    """One kind of board. By profile: ``memory`` (slices), ``mib``, ``share`` of the SMs, ``least``
    (whether no other offers as much for fewer slices). By placement: ``profile``, ``start``,
    ``mask``, ``half`` (the mask of its half of the board, or all). By occupancy mask: ``stranded``,
    ``largest``.
    """

    memory: Ints
    mib: Floats
    share: Floats
    profile: Ints
    start: Ints
    mask: Ints
    half: Ints
    stranded: Floats
    largest: Ints
    watts: float


def names() -> list[str]:
    """The kinds of board that a scenario may name."""
    return ["A100-40GB", "H100-80GB", "H200-141GB", "B200-180GB"]


@cache
def profiles(name: str) -> tuple[Profile, ...]:
    """The profiles of a board as the driver would list them."""
    return tuple(
        Profile(
            each["name"],
            each["id"],
            each["compute"],
            each["memory"],
            each["limit"],
            tuple(each["starts"]),
            each["memory_mib"],
        )
        for each in _document()[name]["profiles"]
    )


@cache
def board(name: str) -> Board:
    """The arrays of a board; profiles with media engines are left out, as ``state.speeds`` does."""
    offered = profiles(name)
    table = geometry.of(offered)
    plain = [each for each in offered if "+" not in each.name]
    sms = _sms(name)
    whole = max(sms.values())
    placements = [
        (number, start, bits)
        for number, each in enumerate(plain)
        for start, bits in table.placements[each.name]
    ]
    halves = geometry.halves(table.slices)
    spans = [next((h for h in halves if not bits & ~h), 0xFF) for _, _, bits in placements]
    return Board(
        np.array([each.memory for each in plain]),
        np.array([float(each.memory_mib) for each in plain]),
        np.array([sms[each.name] / whole for each in plain]),
        np.array([number for number, _, _ in placements]),
        np.array([start for _, start, _ in placements]),
        np.array([bits for _, _, bits in placements]),
        np.array(spans),
        np.array(table.stranded),
        np.array(table.largest),
        float(_document()[name]["power_w"]),
    )


@cache
def _document() -> dict[str, Any]:
    boards: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["boards"]
    return boards


def _sms(name: str) -> dict[str, int]:
    """SMs by profile, or compute slices where the SMs are not known."""
    offered = _document()[name]["profiles"]
    unit = "sms" if all(each["sms"] for each in offered) else "compute"
    return {each["name"]: each[unit] for each in offered}
