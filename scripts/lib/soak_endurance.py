"""How PID 1 fares over a million events: memory, descriptors and garbage collection.

A *leg* is one PID 1 in namespaces of its own, with services that fail as fast as it starts them
(``crashes``), or a client that calls as fast as it is answered (``control``). Legs last minutes and
add up until there are a million of each; they are kept in ``build/soak/endurance.json`` with the
tree that they measured, so that a later run goes on. Memory is the proportional set size without
what is mapped from files, for that is less the more other programs run the same interpreter. Beside
it stands what the memfds hold, which is journal and log rings. Slopes are least squares over the
second half of a leg.

    entries = soak_endurance.main(minutes=10)
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lib import bench
from lib.bench import Goal
from lib.endurance_stand import ROUTES, Stand
from lib.host import BUILD, REPOSITORY, HostError, published, run
from lib.progress import Progress, step

WANTED = 1_000_000
STEADY = 100_000  # events of a leg whose slopes count: before, rings of lines are being filled
RESULT = BUILD / "soak/endurance.json"
KINDS = ("crashes", "control")
# A million crashes take long: control messages get this share of the time.
CONTROL_SHARE = 0.25
SAMPLES = 200
MINIMUM_SAMPLES = 20
LONGEST_SECONDS = 1.0  # between two samples: a leg may have its million long before its time is up
_OWN = ("Pss_Anon:", "Pss_Shmem:")


@dataclass(frozen=True, slots=True)
class Sample:
    """PID 1 after so many events: bytes of memory, bytes in its memfds, and descriptors."""

    events: int
    pss: int
    files: int
    descriptors: int


@dataclass(frozen=True, slots=True)
class Leg:
    """One run of one kind. Slopes are per event; the pauses are in milliseconds."""

    kind: str
    tree: str
    events: int
    seconds: float
    pss_slope: float
    files_slope: float
    descriptors_slope: float
    gc_cpu_ms: float
    gc_wall_ms: float
    faults: int
    first: Sample
    last: Sample


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares through the points; 0 for points that have no width.

    >>> slope([(0, 1), (1, 3), (2, 5)])
    2.0
    """
    if len(points) < 2 or len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def second_half(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of the second half of the events, when what fills once has filled."""
    middle = samples[-1].events / 2
    return [sample for sample in samples if sample.events >= middle]


def look(host_pid: int, events: int) -> Sample:
    """What the kernel says of PID 1 now."""
    with open(f"/proc/{host_pid}/smaps_rollup", encoding="ascii") as file:
        pss = sum(int(line.split()[1]) << 10 for line in file if line.startswith(_OWN))
    files = descriptors = 0
    for name in os.listdir(f"/proc/{host_pid}/fd"):
        try:
            descriptor = f"/proc/{host_pid}/fd/{name}"
            held = os.stat(descriptor).st_blocks * 512
            if os.readlink(descriptor).startswith("/memfd:"):
                files += held
        except FileNotFoundError:
            continue  # open for the moment only
        descriptors += 1
    return Sample(events, pss, files, descriptors)


def leg(kind: str, seconds: float, enough: int, progress: Progress) -> Leg:
    """Run one PID 1 for so many seconds, or until there were ``enough`` events."""
    stand = Stand(ROUTES[kind].text)
    try:
        stand.boot()
        route = ROUTES[kind](stand)
        pid = stand.machine.init_host_pid
        began = time.monotonic()
        interval = min(max(seconds / SAMPLES, 0.25), LONGEST_SECONDS)
        samples = [look(pid, 0)]
        while time.monotonic() - began < seconds and samples[-1].events < enough:
            samples.append(look(pid, route.advance(interval)))
            progress.update(samples[-1].events, enough, f"{samples[-1].events} events")
        lasted = time.monotonic() - began
        half = second_half(samples)
        if len(half) < MINIMUM_SAMPLES / 2:
            raise HostError(f"{len(samples)} samples of {kind} say nothing: give it more time")
        cpu, wall = stand.pauses()
        return Leg(
            kind=kind,
            tree=measured_tree(),
            events=samples[-1].events,
            seconds=round(lasted, 1),
            pss_slope=slope([(one.events, one.pss) for one in half]),
            files_slope=slope([(one.events, one.files) for one in half]),
            descriptors_slope=slope([(one.events, one.descriptors) for one in half]),
            gc_cpu_ms=round(cpu, 3),
            gc_wall_ms=round(wall, 3),
            faults=stand.faults(),
            first=half[0],
            last=half[-1],
        )
    finally:
        stand.machine.destroy()


def measured_tree() -> str:
    """What tells one version of the package from another."""
    return run(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD:ainit"]).strip()


def kept(path: Path = RESULT) -> list[Leg]:
    """The legs of former runs over the same tree."""
    if not path.exists():
        return []
    tree = measured_tree()
    legs = [_leg(record) for record in json.loads(path.read_text(encoding="ascii"))]
    return [one for one in legs if one.tree == tree]


def _leg(record: dict[str, object]) -> Leg:
    for name in ("first", "last"):
        record[name] = Sample(**record[name])  # type: ignore[arg-type]
    return Leg(**record)  # type: ignore[arg-type]


def keep(legs: Sequence[Leg], path: Path = RESULT) -> None:
    """Write the legs down."""
    with published(path) as file:
        file.write_text(json.dumps([asdict(one) for one in legs], indent=1) + "\n", "ascii")


def goals(legs: Sequence[Leg]) -> list[Goal]:
    """The entries: of slopes and pauses the worst leg counts, of events the sum of each kind. A
    leg that is too short for a slope has none.
    """
    reached = {kind: sum(one.events for one in legs if one.kind == kind) for kind in KINDS}
    steady = [one for one in legs if one.events >= STEADY]
    memory = {}
    for kind in KINDS:
        own = [one for one in steady if one.kind == kind]
        memory[f"{kind}, PSS"] = round(max((one.pss_slope for one in own), default=0.0), 3)
        memory[f"{kind}, memfds"] = round(max((one.files_slope for one in own), default=0.0), 3)
    pauses = {"wall": max((one.gc_wall_ms for one in legs), default=0.0)}
    bytes_ = [one.pss_slope for one in steady]
    descriptors = [abs(round(one.descriptors_slope, 6)) for one in steady]
    faults = sum(one.faults for one in legs)
    fewest = min(reached.values())
    events = bench.goal("pid1.endurance_events", [fewest], "events of each kind", None, reached)
    whole = fewest >= WANTED and not faults
    return [
        bench.goal("pid1.bytes_per_event", _worst(bytes_), "B", 1.0, memory),
        bench.goal("pid1.descriptors_per_event", _worst(descriptors), "descriptors", 0.0),
        bench.goal("pid1.gc_pause_ms", _worst(one.gc_cpu_ms for one in legs), "ms", 10.0, pauses),
        Goal(**{**asdict(events), "bound": WANTED, "met": whole}),
    ]


def _worst(values: Iterable[float]) -> list[float]:
    found = [round(value, 3) for value in values]
    return [max(found)] if found else []


def main(minutes: float) -> list[Goal]:
    """Go on with what is missing for so many minutes, and judge all there is."""
    legs = kept()
    for kind in KINDS:
        missing = WANTED - sum(one.events for one in legs if one.kind == kind)
        if missing <= 0:
            continue
        share = CONTROL_SHARE if kind == "control" else 1 - CONTROL_SHARE
        with step(f"endurance, {kind}") as progress:
            legs.append(leg(kind, minutes * 60 * share, missing, progress))
            keep(legs)
            progress.note(f"{legs[-1].events} events in {legs[-1].seconds} s")
    return goals(legs)
