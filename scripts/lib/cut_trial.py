"""One operation on one disk, cut at every point: how many points, and what was found there.

with State() as state:
    found = judge(Trial("commit", log, base, world), state)
found.points, found.faults
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lib import cut_log, cut_points
from lib.cut_log import Log
from lib.cut_oracle import Oracle, Verdict, World
from lib.cut_points import FileBase, Point, Replay
from lib.cut_state import State

SEED = 8
SHOWN = 3
FAULTS = ("unbootable", "mixed slots", "wrong version", "data lost")


@dataclass(frozen=True, slots=True)
class Trial:
    """What was logged while an operation ran, on which disk, and what may be there."""

    name: str
    log: Path
    base: Path
    world: World


@dataclass(slots=True)
class Found:
    """``faults`` by verdict; ``shown`` are the first of each kind, in words; ``flushes`` in the
    log, and ``writes``.
    """

    name: str
    writes: int = 0
    flushes: int = 0
    points: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        faults = ", ".join(f"{self.faults[name]} {name}" for name in FAULTS)
        starts = ", ".join(f"{each} {count} times" for each, count in sorted(self.versions.items()))
        size = f"{self.writes} writes, {self.flushes} flushes, {self.points} points"
        return f"{self.name}: {size}; {faults}; starts {starts}"


def judge(trial: Trial, state: State | None, *, first_fault: bool = False) -> Found:
    """Judge every point. With ``first_fault`` the first one ends it: a mutant is caught."""
    log = cut_log.read(trial.log)
    found = Found(trial.name, log.writes, len(log.epochs) - 1)
    for point, verdict in verdicts(trial, log, state):
        found.points += 1
        if verdict.fault:
            found.faults[verdict.fault] += 1
            if found.faults[verdict.fault] <= SHOWN:
                found.shown.append(f"{point}: {verdict.fault}: {verdict.why}")
            if first_fault:
                break
        else:
            found.versions[verdict.version] += 1
    return found


def points(log: Log) -> Iterator[Point]:
    """The points that are judged, by their fixed seed."""
    return cut_points.points(log, SEED)


def verdicts(trial: Trial, log: Log, state: State | None) -> Iterator[tuple[Point, Verdict]]:
    """Every point of a log with what the oracle says of it."""
    oracle = Oracle(trial.world, state.files if state else None)
    replay = Replay(log, FileBase(trial.base))
    try:
        for point in points(log):
            yield point, oracle.judge(replay.at(point))
    finally:
        replay.close()
