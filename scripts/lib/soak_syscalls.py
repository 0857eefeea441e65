"""Every system call of PID 1 fails, in every way that it can, in whatever befalls the machine.

PID 1 runs on a simulated kernel (``tests.support.lives``), so that a fault and all that follows
from it take milliseconds. In pass 0 one call fails for each stimulus, call and error; in the passes
after it another call fails besides while PID 1 takes up from its journal, and each pass takes the
stimuli in another order. What a task found is kept in ``build/soak/syscalls.json`` with the tree
that it measured, so that a later run goes on. Real system calls fail in a sample: see
``soak_traced``.

    entries = soak_syscalls.main(minutes=30)
"""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

from lib import bench
from lib.bench import Goal
from lib.host import BUILD, REPOSITORY, published, run
from lib.progress import step
from lib.soak_traced import Traced, sample
from tests.support.kernel import Hang
from tests.support.lives import Death, InconsistentError, World
from tests.support.seam import PLAUSIBLE, Seam

WANTED = 200_000
TRACED = 200  # of real system calls
TRACED_SHARE = 0.25  # of the time
RESULT = BUILD / "soak/syscalls.json"
WORKERS = 2
NICE = 5
CALLS_OF_A_TAKE_UP = 230
_TROUBLES_KEPT = 20
_LOOK_SECONDS = 0.2
_COLLECT = 20_000, 10, 20

Task = tuple[int, str]  # pass, stimulus


@dataclass
class Found:
    """What came of a task. ``handled`` are the faults that PID 1 expected and went on from."""

    number: int
    stimulus: str
    faults: int = 0
    handled: int = 0
    deaths: int = 0
    hangs: int = 0
    inconsistent: int = 0
    seconds: float = 0.0
    sites: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


class Sweep:
    """One task: every call of one stimulus."""

    def __init__(self, task: Task) -> None:
        self.found = Found(*task)
        self._chance = random.Random(f"{task}")
        self._sites: set[str] = set()
        self._world: World | None = None

    def run(self, most: int = sys.maxsize) -> Found:
        """Inject ``most`` faults at most."""
        begun = time.monotonic()
        at, choice = 1, 0
        while self.found.faults < most:
            goes_on, exhausted = self._one(at, choice)
            if not goes_on:
                break
            at, choice = (at + 1, 0) if exhausted else (at, choice + 1)
        self._end()
        self.found.sites = sorted(self._sites)
        self.found.seconds = round(time.monotonic() - begun, 1)
        return self.found

    def _one(self, at: int, choice: int) -> tuple[bool, bool]:
        """Whether there is such a call, and whether it has no such way to fail."""
        if self._world is None:
            self._world = World().__enter__()
        world, found = self._world, self.found
        second = (0, 0)
        if found.number:
            second = self._chance.randrange(1, CALLS_OF_A_TAKE_UP), self._chance.randrange(3)
        handled = world.handled
        try:
            fired = world.inject(found.stimulus, at, choice, second)
        except Death as error:
            found.deaths += 1
            fired = self._trouble(world.seam, f"death: {error}")
        except Hang as error:
            found.hangs += 1
            fired = self._trouble(world.seam, f"hang: {error}")
        except (InconsistentError, AssertionError, OSError) as error:
            found.inconsistent += 1
            fired = self._trouble(world.seam, f"inconsistent: {error!r}")
        else:
            found.handled += world.handled - handled
        found.faults += len(world.seam.fired)
        self._sites.update(f"{one.call} at {one.site}" for one in world.seam.fired)
        return fired or world.seam.exhausted, world.seam.exhausted

    def _trouble(self, seam: Seam, text: str) -> bool:
        """What went wrong; the machine is not used any more."""
        faults = ", then ".join(map(str, seam.fired))
        self.found.trouble.append(f"{self.found.stimulus}: {faults}: {text}"[:600])
        del self.found.trouble[_TROUBLES_KEPT:]
        self._end()
        return True

    def _end(self) -> None:
        if self._world is not None:
            world, self._world = self._world, None
            world.__exit__()


def child(number: int, stimulus: str) -> None:
    """A task, in a process of its own: what it found goes to standard output."""
    os.nice(max(NICE - os.nice(0), 0))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)  # what PID 1 was before an execution is garbage, in large pieces
    print(json.dumps(asdict(Sweep((number, stimulus)).run())))


class Worker:
    """A process that does one task."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - `found` closes it
        code = "from lib.soak_syscalls import child, sys; child(int(sys.argv[1]), sys.argv[2])"
        path = os.pathsep.join((str(REPOSITORY / "scripts"), str(REPOSITORY)))
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, task)],
            stdout=self._output,
            env={**os.environ, "PYTHONPATH": path},
        )

    def found(self) -> Found | None:
        """What it found, once it has ended; that it ended by itself counts as a death."""
        if self._process.poll() is None:
            return None
        with self._output:
            self._output.seek(0)
            text = self._output.read()
        if self._process.returncode:
            return Found(*self._task, deaths=1, trouble=[f"status {self._process.returncode}"])
        return Found(**json.loads(text))


def tasks(done: set[Task]) -> Iterator[Task]:
    """What is left, without end: pass by pass, each in an order of its own."""
    with World() as world:
        names = list(world.stirs.table)
    number = 0
    while True:
        order = list(names)
        random.Random(number).shuffle(order)
        yield from ((number, name) for name in order if (number, name) not in done)
        number += 1


def tree() -> str:
    """What is measured."""
    return run(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD:ainit"]).strip()


def kept() -> tuple[list[Found], Traced]:
    """What earlier runs found of this tree."""
    try:
        record = json.loads(RESULT.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [], Traced()
    if record["tree"] != tree():
        return [], Traced()
    return [Found(**one) for one in record["found"]], Traced(**record["traced"])


def keep(found: Sequence[Found], traced: Traced) -> None:
    """Write down what was found so far."""
    record = {
        "tree": tree(),
        "found": [asdict(one) for one in found],
        "traced": asdict(traced),
    }
    with published(RESULT) as file:
        file.write_text(json.dumps(record) + "\n", encoding="utf-8")


def goals(found: Sequence[Found], traced: Traced) -> list[Goal]:
    """The figures."""
    total: Counter[str] = Counter()
    for one in found:
        for name in ("faults", "handled", "deaths", "hangs", "inconsistent"):
            total[name] += getattr(one, name)
    sites = {site for one in found for site in one.sites}
    peers = {
        "handled": float(total["handled"]),
        "sites": float(len(sites)),
        "kinds": float(len({site.partition(" at ")[0] for site in sites})),
        "kinds_plausible": float(len(PLAUSIBLE)),
        "passes": float(max((one.number for one in found), default=-1) + 1),
    }
    faults = bench.goal("pid1.syscall_faults", [total["faults"]], "faults", peers=peers)
    real = bench.goal("pid1.syscall_traced", [traced.injected], "faults")
    return [
        _at_least(faults, WANTED),
        _at_least(real, TRACED),
        bench.goal("pid1.syscall_traced_trouble", [len(traced.trouble)], "", 0.0),
        *(
            bench.goal(f"pid1.syscall_{name}", [total[name]], "", 0.0)
            for name in ("deaths", "hangs", "inconsistent")
        ),
    ]


def _at_least(goal: Goal, bound: int) -> Goal:
    met = goal.value is not None and goal.value >= bound
    return Goal(**{**asdict(goal), "bound": float(bound), "met": met})


def main(minutes: float) -> list[Goal]:
    """Go on with what is missing for so many minutes, and judge all there is."""
    found, traced = kept()
    share = TRACED_SHARE if traced.injected < TRACED else 0.0
    _go_on(found, traced, time.monotonic() + minutes * 60 * (1 - share))
    if share:
        with step("faults of real system calls") as progress:
            more = sample(TRACED - traced.injected, minutes * 60 * share)
            traced.injected += more.injected
            traced.missed += more.missed
            traced.trouble += more.trouble
            keep(found, traced)
            progress.note(f"{traced.injected} faults")
    return goals(found, traced)


def _go_on(found: list[Found], traced: Traced, until: float) -> None:
    """Do tasks until there are enough faults, or a moment; each is written down."""
    left = tasks({(one.number, one.stimulus) for one in found})
    running: list[Worker] = []
    with step("faults of system calls") as progress:
        while True:
            count = sum(one.faults for one in found)
            progress.update(count, WANTED, f"{count} faults")
            while len(running) < WORKERS and count < WANTED and time.monotonic() < until:
                running.append(Worker(next(left)))
            if not running:
                break
            time.sleep(_LOOK_SECONDS)
            for worker in list(running):
                if (one := worker.found()) is not None:
                    running.remove(worker)
                    found.append(one)
                    for text in one.trouble:
                        print(text, file=sys.stderr, flush=True)
                    keep(found, traced)
        progress.note(f"{sum(one.faults for one in found)} faults")
