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
import socket
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lib import bench
from lib.bench import Goal
from lib.host import BUILD, REPOSITORY, HostError, published, run
from lib.progress import Progress, step
from tests.pidns.machine import Machine

SERVICES = 50
WANTED = 1_000_000
RESULT = BUILD / "soak/endurance.json"
KINDS = ("crashes", "control")
# A million crashes take long: control messages get this share of the time.
CONTROL_SHARE = 0.25
SAMPLES = 200
MINIMUM_SAMPLES = 20
BATCH = 64
NO_CALLS = (b"{\0", b"[]\0", b'{"method":1}\0', b"\xff\0")
_OWN = ("Pss_Anon:", "Pss_Shmem:")

# It ends at once, with as little of its own as can be: what is measured is PID 1.
FALSE = "int main(void) { return 1; }\n"
UNIT = """[service]
exec = ["{false}"]
type = "simple"
restart = "always"
essential = false

[backoff]
first_s = 0.01
max_s = 0.01
limit = 0

[logs]
ring = "16K"
"""
QUIET = """[service]
exec = ["/bin/sleep", "infinity"]
essential = false

[logs]
ring = "16K"
"""


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


class Stand:
    """A machine with ``SERVICES`` units of one text, and PID 1 as ``measured.py`` has it."""

    def __init__(self, text: str) -> None:
        self.machine = Machine()
        self.machine.guest = "measured.py"
        for number in range(SERVICES):
            unit = self.machine.directory / f"units/s{number}.toml"
            unit.write_text(text.format(false=self.machine.directory / "false"), encoding="utf-8")

    def boot(self) -> None:
        """Build what the services run, and start."""
        directory = self.machine.directory
        (directory / "false.c").write_text(FALSE, encoding="ascii")
        run(["gcc", "-static", "-O2", "-o", str(directory / "false"), str(directory / "false.c")])
        self.machine.boot()

    def restarts(self) -> int:
        """How often services were started anew, all together."""
        units = self.machine.call("Status")["units"]
        assert isinstance(units, list)
        return sum(int(unit["restarts"]) for unit in units)

    def faults(self) -> int:
        """How often PID 1 had to be executed anew: an endurance run has no business with that."""
        status = self.machine.call("Status")["machine"]
        assert isinstance(status, dict)
        return int(status.get("faults") or 0)

    def pauses(self) -> tuple[float, float]:
        """The longest garbage collection: processor and wall time in milliseconds."""
        text = (self.machine.directory / "gc").read_text(encoding="ascii")
        found = json.loads(text)
        return float(found["cpu_ms"]), float(found["wall_ms"])


class Crashes:
    """Services that fail all the time; nothing is to be done but wait."""

    text = UNIT

    def __init__(self, stand: Stand) -> None:
        self._stand = stand

    def advance(self, seconds: float) -> int:
        """Let it run for so long; returns how many events there were up to now."""
        time.sleep(seconds)
        return self._stand.restarts()


class Control:
    """A client that sends batches of calls: pipelined, some of them refused, some not calls."""

    text = QUIET

    def __init__(self, stand: Stand) -> None:
        self._path = stand.machine.control
        self._sent = 0
        self._batches = 0
        self._channel: socket.socket | None = None

    def advance(self, seconds: float) -> int:
        """Call for so long; returns how many messages there were up to now."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._batch()
        return self._sent

    def _batch(self) -> None:
        self._batches += 1
        channel = self._channel or self._connect()
        unit = f"s{self._batches % SERVICES}"
        calls = [_call(method, parameters) for method, parameters in _mix(unit)]
        calls = (calls * BATCH)[:BATCH]
        channel.sendall(b"".join(calls))
        waiting = BATCH
        while waiting:
            data = channel.recv(1 << 16)
            if not data:
                raise HostError("PID 1 hung up on a client that did nothing wrong")
            waiting -= data.count(b"\0")
        self._sent += BATCH
        if self._batches % 16 == 0:
            channel.sendall(
                (b"{\0", b"[]\0", b'{"method":1}\0', b"\xff\0")[self._batches // 16 % 4]
            )
            if channel.recv(1):
                raise HostError("PID 1 answered what is no call")
            self._sent += 1
            channel.close()
            self._channel = None

    def _connect(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.settimeout(60)
        channel.connect(self._path)
        self._channel = channel
        return channel


def _mix(unit: str) -> list[tuple[str, dict[str, object]]]:
    control = "org.ainos.Control"
    return [
        (f"{control}.Describe", {"name": unit}),
        (f"{control}.Start", {"name": unit}),
        (f"{control}.Describe", {"name": "nobody"}),
        (f"{control}.Logs", {"unit": unit, "lines": 5}),
        (f"{control}.Describe", {"name": 5}),
        ("org.varlink.service.GetInfo", {}),
        (f"{control}.Accounting", {"names": [unit]}),
        (f"{control}.NoSuch", {"x": [None, 1e300, "\N{SNOWMAN}"]}),
    ]


def _call(method: str, parameters: dict[str, object]) -> bytes:
    return json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"


ROUTES: dict[str, type[Crashes | Control]] = {"crashes": Crashes, "control": Control}


def leg(kind: str, seconds: float, enough: int, progress: Progress) -> Leg:
    """Run one PID 1 for so many seconds, or until there were ``enough`` events."""
    stand = Stand(ROUTES[kind].text)
    try:
        stand.boot()
        route = ROUTES[kind](stand)
        pid = stand.machine.init_host_pid
        began = time.monotonic()
        interval = max(seconds / SAMPLES, 0.25)
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
    """The entries: of slopes and pauses the worst leg counts, of events the sum of each kind."""
    reached = {kind: sum(one.events for one in legs if one.kind == kind) for kind in KINDS}
    worst = {
        kind: max((one.pss_slope for one in legs if one.kind == kind), default=0.0)
        for kind in KINDS
    }
    memory = {f"{kind}, PSS": round(worst[kind], 3) for kind in KINDS}
    for kind in KINDS:
        slopes = [one.files_slope for one in legs if one.kind == kind]
        memory[f"{kind}, memfds"] = round(max(slopes, default=0.0), 3)
    pauses = {"wall": max((one.gc_wall_ms for one in legs), default=0.0)}
    descriptors = [abs(round(one.descriptors_slope, 6)) for one in legs]
    faults = sum(one.faults for one in legs)
    fewest = min(reached.values())
    events = bench.goal("pid1.endurance_events", [fewest], "events of each kind", None, reached)
    whole = fewest >= WANTED and not faults
    return [
        bench.goal("pid1.bytes_per_event", _worst(one.pss_slope for one in legs), "B", 1.0, memory),
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
