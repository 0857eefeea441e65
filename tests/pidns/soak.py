"""One worker of a long sweep: a world, a share of all faults, and a file of what came of them.

Run as ``python -m tests.pidns.soak FOLDER WORKER WORKERS SERVICES FAULTS SECONDS``, from the tree
that is to be tested. Each line of ``FOLDER/worker-N`` is a JSON object: the faults since the line
before it that came to pass, those that did not, and what the check after them found. What is there
already is not done again. Leaves out what the figures come to: see ``scripts/lib/soak_faults.py``.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.pidns import closure, orders
from tests.pidns.sweep import Fault, Line, Tally, World, pairs

SEED = 20240229
CHECK_EVERY = 25  # injections, each with several faults
CHAIN = 4
TRIES = 3  # before a pair counts as not got to
MISSES = 5  # allocations in a row that were not needed any more
FIGURES = (
    "faults", "handled", "missed", "services_lost", "started_twice", "zombies", "panics",
    "log_bytes_lost", "descriptors_gained",
)  # fmt: skip
# From where on allocations fail, and what leads there.
STARVED = (
    ("pid1/init.py", "Init._on_signals", "crash"),
    ("pid1/supervisor.py", "Supervisor._spawn", "crash"),
    ("pid1/supervisor.py", "Supervisor.tick", "crash"),
    ("pid1/control.py", "Control._turn", "restart"),
    ("pid1/notify.py", "Notifications._readable", "notify"),
    ("pid1/logs.py", "Logs._drain", "log"),
)
LEFT = 16  # descriptors, at most
RECORDED = 20  # services of the world in which lines are recorded: they are no others with more


class Starving:
    """Every n-th allocation after each of STARVED, until one is not needed."""

    def __init__(self, done: set[str], worker: int, workers: int) -> None:
        self._done = done
        self._workers = workers
        places = [
            (kind, file, closure.first_line(file, name), stimulus)
            for file, name, stimulus in STARVED
            for kind in ("allocations", "allocation")
        ]
        self._next = dict.fromkeys(places, worker)
        self._misses: Counter[object] = Counter()
        self._over: set[object] = set()

    def __iter__(self) -> Iterator[Fault]:
        while len(self._over) < len(self._next):
            for place in self._next:
                if place in self._over:
                    continue
                kind, file, line, stimulus = place
                fault = Fault(kind, file, line, stimulus, self._next[place])
                self._next[place] += self._workers
                if fault.key not in self._done:
                    yield fault

    def came(self, fault: Fault, fired: bool) -> None:
        """What came of it: after some that were not needed there is nothing more to fail."""
        place = (fault.kind, fault.file, fault.line, fault.stimulus)
        self._misses[place] = 0 if fired else self._misses[place] + 1
        if self._misses[place] >= MISSES:
            self._over.add(place)
            self._over.add(("allocation", *place[1:]))  # which cannot tell by itself


def moments(stimuli: list[str], rng: random.Random) -> Iterator[Fault]:
    """Fatal signals from outside, at any moment."""
    number = 0
    while True:
        number += 1
        yield Fault(f"{rng.choice(orders.SIGNALS)}@moment", "", 0, rng.choice(stimuli), number)


def starved_of_descriptors(stimuli: list[str], rng: random.Random) -> Iterator[Fault]:
    """So many descriptors and no more."""
    while True:
        yield Fault("descriptors", "", 0, rng.choice(stimuli), rng.randrange(LEFT))


class Worker:
    """Goes through its share."""

    def __init__(self, folder: Path, worker: int, workers: int, services: int) -> None:
        self._path = folder / f"worker-{worker}"
        self._share = (worker, workers)
        self._services = services
        self._lines: dict[str, set[Line]] = {}
        self._rng = random.Random(SEED + worker + (int(time.time()) if self._path.exists() else 0))
        self.done: set[str] = set()
        self.tried: Counter[str] = Counter()
        self.faults = 0
        if self._path.exists():
            whole = self._path.read_text().rpartition("\n")[0]  # the last line may be cut short
            self._path.write_text(whole + "\n" if whole else "")
            for text in whole.splitlines():
                self._count(json.loads(text))

    def _count(self, record: dict[str, object]) -> None:
        fired, missed = record["fired"], record["missed_keys"]
        assert isinstance(fired, list)
        assert isinstance(missed, list)
        self.done.update(fired)
        self.tried.update(missed)
        self.faults += len(fired)

    def run(self, faults: int, seconds: float) -> None:
        """Until so many faults have come to pass, or time is up."""
        until = time.monotonic() + seconds
        with World(RECORDED, seed=SEED, recording=True) as world:
            self._lines = world.record()
        known = {name: sorted(lines) for name, lines in self._lines.items()}
        self._path.with_suffix(".lines").write_text(json.dumps(known))
        while self.faults < faults and time.monotonic() < until:
            with World(self._services, seed=self._rng.randrange(1 << 30)) as world:
                try:
                    self._in_world(world, faults, until)
                    return
                except AssertionError as error:  # a world that is broken: a new one
                    world.tally.trouble.append(f"the world ended: {error}")
                    suspects = [*world.suspects, world.batch]
                    self._write([], [], world.tally, suspects=suspects)

    def _in_world(self, world: World, faults: int, until: float) -> None:
        world.warm_up()
        pending = [fault for fault in pairs(self._lines) if self._is_mine(fault)]
        self._rng.shuffle(pending)
        at_resume = [fault for fault in pending if fault.at_resume]
        others = [fault for fault in pending if not fault.at_resume]
        starving = Starving(self.done, *self._share)
        cheap = ["crash", "restart", "log", "notify", "ask", "oneshot", "fork", "stop", "provide"]
        rare = [
            iter(starving),
            moments(cheap, self._rng),
            starved_of_descriptors(cheap, self._rng),
        ]
        turn = 0
        fired: list[str] = []
        missed: list[str] = []
        while self.faults + len(fired) < faults and time.monotonic() < until:
            turn += 1
            chain = [at_resume.pop() for _ in range(CHAIN) if at_resume]
            fault = next(rare[turn // 2 % 3], None) if turn % 2 else None
            fault = fault or (others.pop() if others else None)
            if fault is None:
                if not chain:
                    break
                fault = chain.pop()
            given = [fault, *chain]
            came = world.inject(*given)
            fired += [one.key for one in came]
            missed += [one.key for one in given if one not in came]
            if fault.kind.startswith("allocation"):
                starving.came(fault, fault in came)
            if turn % CHECK_EVERY == 0:
                self._check(world, fired, missed)
                fired, missed = [], []
        self._check(world, fired, missed)

    def _is_mine(self, fault: Fault) -> bool:
        worker, workers = self._share
        key = fault.key
        mine = zlib.crc32(key.encode()) % workers == worker
        return mine and key not in self.done and self.tried[key] < TRIES

    def _check(self, world: World, fired: list[str], missed: list[str]) -> None:
        world.check()
        suspects = [] if not world.tally.trouble else world.suspects
        sizes = {"journal": world.journal_bytes(), "resident": world.resident_bytes()}
        self._write(fired, missed, world.tally, suspects=suspects, sizes=sizes)
        world.tally = Tally()
        world.suspects = []

    def _write(self, fired: list[str], missed: list[str], tally: Tally, **more: object) -> None:
        record = {**asdict(tally), "fired": fired, "missed_keys": missed, **more}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._count(record)


def main(arguments: list[str]) -> None:
    """Parse, and run."""
    folder, worker, workers, services, faults, seconds = arguments
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    one = Worker(Path(folder), int(worker), int(workers), int(services))
    one.run(int(faults), float(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
