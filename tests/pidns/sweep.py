"""Faults of PID 1, one after the other, on one machine full of services that record what happens to
them.

A fault is an exception or a fatal signal at a line of PID 1, a fatal signal at some moment, an
allocation that fails, or no descriptor left. Before it, an order is given (see ``orders``); then a
*stimulus* makes PID 1 get there (see ``stimuli``). What must hold whatever happens is in
``World.check``. Which stimulus gets to which line is recorded first (``World.record``), so that a
line nobody gets to is known, not skipped.

>>> with World(40) as world:                                             # doctest: +SKIP
...     faults = list(pairs(world.record()))
...     world.inject(faults[0])
...     world.check()
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ainit.child.client import Client
from ainit.errors import AinosError
from ainit.pid1 import journal
from tests.pidns import closure, orders
from tests.pidns.machine import CONTROL, Machine, Process
from tests.pidns.stimuli import OTHERS, SURVIVORS, Stimuli
from tests.support.wait import wait_for

SECONDS = 60.0
_PAUSE_SECONDS = 0.001
_STARVED_SECONDS = 0.05  # for which no descriptor is left
_LOOKS_A_CALL = 3_000  # how often an answer is looked for before the call is made again
_MOMENT_SECONDS = 0.03  # within which a signal comes, after a stimulus has begun
_JOURNAL_FD = 9
_SUPERVISOR = "pid1/supervisor.py"
REEXEC = "reexec"
BOOT = "boot"  # nothing leads there again

Line = tuple[str, int]
Record = dict[str, Any]
# In the machine's pid namespace: sends the signals that it is told to.
KILLER = """
import os
while True:
    pid, number = map(int, input().split())
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    print(flush=True)
"""


@dataclass(frozen=True)
class Fault:
    """One fault: what, where, and the stimulus that gets there.

    ``kind`` is one of AT_LINE, or a signal and ``@moment`` for one that comes from outside at some
    moment. ``allocation`` is one allocation that fails after the line, ``count`` behind it, until
    the loop waits; ``allocations`` are all from that one on. ``descriptors`` leaves ``count``.
    """

    kind: str
    file: str
    line: int
    stimulus: str
    count: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line} " if self.file else ""
        return f"{self.kind} {self.count or ''} at {place}by {self.stimulus}"

    @property
    def key(self) -> str:
        """The same for the same fault, however it was got to."""
        place = f"{self.file}:{self.line}" if self.file else self.stimulus
        return f"{self.kind} {self.count} {place}"

    @property
    def at_resume(self) -> bool:
        """Whether it comes while PID 1 takes up from its journal."""
        return self.stimulus == REEXEC and self.kind in orders.AT_LINE

    @property
    def once_resumed(self) -> bool:
        """The same, but only after a fault of the stimulus's own."""
        return self.stimulus in ("unspawned", "spawned") and self.kind in orders.AT_LINE


@dataclass
class Tally:
    """What came of the faults. ``handled`` are those that PID 1 expected and went on from; what is
    below them is to be 0.
    """

    faults: int = 0
    handled: int = 0
    missed: int = 0
    services_lost: int = 0
    started_twice: int = 0
    zombies: int = 0
    panics: int = 0
    log_bytes_lost: int = 0
    descriptors_gained: int = 0
    trouble: list[str] = field(default_factory=list)
    swallowed: list[str] = field(default_factory=list)
    slow: list[tuple[float, str]] = field(default_factory=list)


class World:
    """A machine with ``count`` services. Use as a context manager."""

    def __init__(
        self, count: int, *, mutant: str = "", seed: int = 1, recording: bool = False
    ) -> None:
        self.tally = Tally()
        self.machine = Machine()
        self.machine.guest = "faulty.py"
        self.directory = self.machine.directory
        self.names = [f"s{number}" for number in range(count)]
        self.starts = self.directory / "starts"
        self.expected: Counter[str] = Counter(dict.fromkeys(self.names, 1))
        self.stimuli = Stimuli(self)
        self.random = random.Random(seed)
        self.batch: list[str] = []  # faults since the last check
        self.suspects: list[list[str]] = []  # the same, for each trouble
        self._client: Client | None = None
        self._killer: subprocess.Popen[str] | None = None
        self._counted = (0, 0)  # the cursor in counter's log, and its last number
        self._descriptors: Counter[str] = Counter()
        (self.directory / "lines").touch()
        inject = self.directory / "inject"
        inject.write_bytes(bytes(orders.PAGE))
        with inject.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), orders.PAGE)
        self.board = orders.Board.from_buffer(self._page)
        self.board.mode = orders.RECORD if recording else orders.IDLE
        # Stimuli with a fault of their own, after which PID 1 takes up in the middle of something.
        spawn = sorted(
            line
            for line, function in closure.lines(_SUPERVISOR).items()
            if function == "Supervisor._spawn"
        )
        self.prefix = {
            "unspawned": Fault("RuntimeError", _SUPERVISOR, spawn[0], "crash"),
            "spawned": Fault("RuntimeError", _SUPERVISOR, spawn[-1], "crash"),
        }
        for name in self.prefix:
            self.stimuli.table[name] = self.stimuli.crash
        if mutant:
            (self.directory / "mutant").write_text(mutant)

    def __enter__(self) -> Self:
        self.stimuli.units()
        try:
            self.machine.boot()
            pid = str(self.machine.init_host_pid)
            self._killer = subprocess.Popen(
                ["nsenter", "--pid", "--target", pid, sys.executable, "-I", "-S", "-c", KILLER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.until(self._all_ready, "all services to be ready", SECONDS * 5)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        self.machine.destroy()
        self.stimuli.close()
        if self._killer is not None:
            assert self._killer.stdin
            assert self._killer.stdout
            self._killer.wait(60)
            self._killer.stdin.close()
            self._killer.stdout.close()

    # Faults.

    def record(self) -> dict[str, set[Line]]:
        """The lines of PID 1 that each stimulus gets to, and the first boot."""
        found = {BOOT: self._recorded()} if self.board.mode == orders.RECORD else {}
        for name, stimulus in self.stimuli.table.items():
            self._recorded()
            self.board.mode = orders.RECORD
            for _ in range(1 if name in DEAR else 2):
                self._arm([self.prefix[name]] if name in self.prefix else [])
                self._settle()
                stimulus()
                self._settle()
            found[name] = self._recorded()
        self.settle_descriptors()
        return found

    def _recorded(self) -> set[Line]:
        """What was recorded up to now, which ends it."""
        self.board.mode = orders.IDLE
        self._settle()
        path = self.directory / "lines"
        text = path.read_text()
        os.truncate(path, 0)
        places = (line.rpartition(":") for line in text.splitlines())
        return {(file, int(number)) for file, _, number in places}

    def warm_up(self) -> None:
        """Each stimulus once, for worlds that record nothing."""
        for stimulus in self.stimuli.table.values():
            stimulus()
        self.settle_descriptors()

    def settle_descriptors(self) -> None:
        """From now on, PID 1 is to have no more descriptors than it has now."""
        self._descriptors = self._open_descriptors()

    def inject(self, fault: Fault, *resume: Fault) -> list[Fault]:
        """One fault, and those of ``resume`` while PID 1 takes up after it. Returns those that came
        to pass.
        """
        begun = time.monotonic()
        self.batch += [str(one) for one in (fault, *resume)]
        cleared = None
        given: list[Fault] = []
        if "@" in fault.kind:
            number = orders.signal_of(fault.kind.partition("@")[0])
            moment = self.random.random() * _MOMENT_SECONDS
            host_pid = self.machine.init_host_pid
            cleared = threading.Timer(moment, os.kill, (host_pid, number))
        elif fault.kind == "descriptors":
            before = self._limit_descriptors(fault.count)
            cleared = threading.Timer(_STARVED_SECONDS, self._restore_descriptors, (before,))
        else:
            given += [self.prefix[fault.stimulus]] if fault.once_resumed else []
            given.append(fault)
        given += resume
        before_taken = self.board.incarnation
        self._arm(given)
        if cleared is not None:
            cleared.start()
        try:
            self.stimuli.table[fault.stimulus]()
            if cleared is not None:
                cleared.join()
            self._settle()
        except AssertionError as error:
            self._complain(f"{fault}: {error}")
            raise
        fired = self._collect(given)
        if cleared is not None:
            fired.append(fault)
            self.tally.handled += self.board.incarnation == before_taken
        self.tally.faults += len(fired)
        self.tally.missed += max(1 + len(resume) - len(fired), 0)
        self.tally.slow.append((time.monotonic() - begun, str(fault)))
        self.tally.slow.sort(reverse=True)
        del self.tally.slow[10:]
        return fired

    def _arm(self, faults: Sequence[Fault]) -> None:
        board = self.board
        board.count = board.head = 0
        for index, fault in enumerate(faults):
            order = board.orders[index]
            order.status = orders.PENDING
            order.file = fault.file.encode()
            order.flags = orders.AT_RESUME if fault.at_resume or fault.once_resumed else 0
            order.line, order.turns = fault.line, 1
            if fault.kind in orders.AT_LINE:
                order.kind, order.what = orders.RAISE, orders.AT_LINE.index(fault.kind)
            else:
                order.kind, order.what = orders.NO_MEMORY, fault.count
                order.flags = orders.ONCE if fault.kind == "allocation" else 0
        board.count = len(faults)

    def _collect(self, faults: Sequence[Fault]) -> list[Fault]:
        """Take back the orders that are left; the faults that came to pass."""
        board = self.board
        board.count = 0
        self._settle()
        fired = []
        for index, fault in enumerate(faults):
            order = board.orders[index]
            if order.status != orders.FIRED:
                continue
            fired.append(fault)
            later = [
                one.incarnation
                for one in board.orders[index + 1 : len(faults)]
                if one.status == orders.FIRED
            ]
            if order.incarnation == (later[0] if later else board.incarnation):
                self.tally.handled += 1
                if fault.kind not in ("EMFILE", "ENOMEM", "EIO", "allocation"):
                    self.tally.swallowed.append(str(fault))
        return fired

    def _limit_descriptors(self, left: int) -> tuple[int, int]:
        pid = self.machine.init_host_pid
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        limit = 0
        while left >= 0:
            left -= limit not in used
            limit += 1
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit - 1, before[1]))
        return before

    def _restore_descriptors(self, before: tuple[int, int]) -> None:
        resource.prlimit(self.machine.init_host_pid, resource.RLIMIT_NOFILE, before)

    # What must hold.

    def check(self) -> None:
        """Compare the machine with what must be: into ``tally``."""
        tally = self.tally
        trouble: list[str] = []
        try:
            self.until(self._all_ready, "every service to be ready", pause=0.05)
            wait_for(lambda: not self._zombies(), "the dead to be reaped", 10.0)
        except AssertionError as error:
            trouble.append(str(error))
            tally.zombies += len(self._zombies())
        processes = self.machine.processes()
        units = {str(unit["name"]): unit for unit in self._units()}
        alive = {one.pid for one in processes if one.state != "Z"}
        lost = [name for name in self.names if units[name]["pid"] not in alive]
        tally.services_lost += len(lost)
        strays = self._strays(processes, units)
        wrong = self._wrong_starts()
        tally.started_twice += len(strays) + len(wrong)
        missing = self._missing_lines()
        tally.log_bytes_lost += sum(len(line) + 1 for line in missing)
        gained = self._gained()
        for _ in range(5):  # what is going on just now has descriptors, too
            gained = gained and self._gained()
        tally.descriptors_gained += gained.total()
        self._descriptors += gained  # told once
        if not self._lives():
            tally.panics += 1
            trouble.append("PID 1 is gone")
        for what, found in (
            ("lost", lost), ("strays", strays), ("starts", wrong), ("lines", missing),
            ("descriptors", dict(gained)),
        ):  # fmt: skip
            if found:
                trouble.append(f"{what}: {found!r:.300}")
        if trouble:
            self._complain("; ".join(trouble))
        self.batch.clear()

    def _complain(self, text: str) -> None:
        self.tally.trouble.append(text)
        self.suspects.append(list(self.batch))

    def _strays(self, processes: list[Process], units: dict[str, Record]) -> list[str]:
        """Processes of the recorders that PID 1 does not know of."""
        found = []
        for one in processes:
            if one.command not in ("sleep 1000000", "/bin/sleep 1000000") or one.state == "Z":
                continue
            try:
                group = Path(f"/proc/{one.host_pid}/cgroup").read_text().strip()
            except OSError:
                continue
            name = group.rpartition("/")[2]
            if name in self.names and units[name]["pid"] != one.pid:
                found.append(f"{one.pid} of {name}")
            elif name not in units:
                found.append(f"{one.pid} of {group}")
        return found

    def _wrong_starts(self) -> dict[str, tuple[int, int]]:
        """Services whose starts were not as many as they should: found, expected."""
        wrong: dict[str, tuple[int, int]] = {}
        deadline = time.monotonic() + 5.0  # a service is ready before it has written
        while True:
            starts = Counter(line.split()[0] for line in self.starts.read_text().splitlines())
            wrong = {
                name: (starts[name], self.expected[name])
                for name in self.names
                if starts[name] != self.expected[name]
            }
            late = any(found < expected for found, expected in wrong.values())
            if not late or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        for name, (found, _) in wrong.items():
            self.expected[name] = found  # told once
        return wrong

    def _missing_lines(self) -> list[str]:
        """What services wrote and no log has."""
        said = set(self.lines("chatter", 10_000))
        wanted = [f"line {number}" for number in range(1, self.stimuli.spoken + 1)]
        missing = [line for line in wanted if line not in said]
        cursor, last = self._counted
        while True:
            answer = self._insist("Logs", unit="counter", lines=1000, cursors={"counter": cursor})
            lines = [line for line in answer["lines"] if line["source"] == "unit"]
            dropped = bool(answer["missed"])
            for line in lines:
                number = int(line["text"].split()[0])
                if not dropped:
                    missing += [f"number {lost}" for lost in range(last + 1, number)]
                if number <= last:
                    missing.append(f"number {number} twice")
                last, dropped = number, False
            if not answer["lines"]:
                break
            cursor = answer["cursors"]["counter"]
        self._counted = cursor, last
        return missing

    def _open_descriptors(self) -> Counter[str]:
        """The descriptors that PID 1 has when it has just taken up, by what they are for."""
        self._insist_reexec()
        pid = self.machine.init_host_pid
        roles = journaled_descriptors(Path(f"/proc/{pid}/fd/{_JOURNAL_FD}").read_bytes())
        found: Counter[str] = Counter()
        for name in os.listdir(f"/proc/{pid}/fd"):
            role = roles.get(int(name), ("not kept",))
            if role[0] != "store":  # a service may have that in one of its lives and not in another
                found[" ".join(role[:2] if role[0] == "pipe" else role)] += 1
        return found

    def _gained(self) -> Counter[str]:
        if not self._descriptors or not self._lives():
            return Counter()
        return self._open_descriptors() - self._descriptors

    def journal_bytes(self) -> int:
        """How long the journal is."""
        return os.stat(f"/proc/{self.machine.init_host_pid}/fd/{_JOURNAL_FD}").st_size

    def resident_bytes(self) -> int:
        """The memory of PID 1."""
        for line in Path(f"/proc/{self.machine.init_host_pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def _insist_reexec(self) -> None:
        before, looks = self.board.taken, itertools.count()

        def done() -> bool:
            # A call may be lost with the PID 1 that a fault ended; one too many would have PID 1
            # execute itself again while it is looked at.
            if next(looks) % _LOOKS_A_CALL == 0 and self.board.taken == before:
                self.call("Reexec")
            return self.board.taken > before and bool(self.peek("chatter"))

        self.until(done, "PID 1 to execute itself")

    def _zombies(self) -> list[Process]:
        return [one for one in self.machine.processes() if one.state == "Z"]

    def _lives(self) -> bool:
        return Path(f"/proc/{self.machine.init_host_pid}").exists()

    # Talking to PID 1; any call may be cut off by a fault.

    def call(self, member: str, **parameters: object) -> Record:
        """The answer; empty when there is none, ``error`` when that is what it is."""
        method = member if "." in member else f"{CONTROL}.{member}"
        try:
            if self._client is None:
                self._client = Client(self.machine.control, timeout=SECONDS)
            return self._client.call(method, parameters)
        except AinosError as error:
            name = getattr(error, "name", None)
            if isinstance(name, str):  # an error reply
                return {"error": name}
            if self._client is not None:
                self._client.close()
                self._client = None
            return {}

    def peek(self, name: str) -> Record:
        """The state of a unit; empty when there is no answer or no such unit."""
        unit = self.call("Describe", name=name).get("unit")
        return unit if isinstance(unit, dict) else {}

    def describe(self, name: str) -> Record:
        """The state of a unit, however often it takes to be told."""
        found: Record = self.until(lambda: self.peek(name), f"the state of {name}")
        return found

    def pid(self, name: str) -> int:
        """The pid of a unit that is ready."""
        return int(
            self.until(
                lambda: unit["pid"] if (unit := self.peek(name)).get("state") == "ready" else 0,
                f"{name} to be ready",
            )
        )

    def is_anew(self, name: str, pid: int) -> bool:
        """Whether another process than this is the unit's, and it is ready."""
        unit = self.peek(name)
        return bool(unit) and unit["state"] == "ready" and unit["pid"] not in (None, pid)

    def lines(self, name: str, count: int) -> list[str]:
        """The last lines of a unit's own."""
        answer = self._insist("Logs", unit=name, lines=count)
        return [line["text"] for line in answer["lines"] if line["source"] == "unit"]

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process of the machine."""
        assert self._killer
        assert self._killer.stdin
        assert self._killer.stdout
        self._killer.stdin.write(f"{pid} {number}\n")
        self._killer.stdin.flush()
        self._killer.stdout.readline()

    def until(
        self,
        condition: Callable[[], Any],
        what: str,
        seconds: float = SECONDS,
        pause: float = _PAUSE_SECONDS,
    ) -> Any:
        """Wait for ``condition``; not on when PID 1 is gone."""

        def met() -> Any:
            if not self._lives():
                self.tally.panics += 1
                raise AssertionError("PID 1 is gone")
            return condition()

        return wait_for(met, what, seconds, pause)

    def _insist(self, member: str, **parameters: object) -> Record:
        answer: Record = self.until(lambda: self.call(member, **parameters), f"{member} answered")
        return answer

    def _settle(self) -> None:
        """PID 1 turns, and answers."""
        self.describe("chatter")

    def _units(self) -> list[Record]:
        found: list[Record] = self._insist("Status")["units"]
        return found

    def _all_ready(self) -> bool:
        states = {str(unit["name"]): unit["state"] for unit in self._units()}
        return all(states[name] == "ready" for name in (*self.names, *SURVIVORS, *OTHERS))


def pairs(lines: dict[str, set[Line]]) -> Iterator[Fault]:
    """Every (line, exception) pair, and for every line one signal, unless PID 1 does not look out
    for signals yet; each with one of the stimuli that get to the line, the cheapest of which come
    first in ``lines``.
    """
    getting: dict[Line, list[str]] = {}
    for stimulus, found in lines.items():
        for line in found if stimulus != BOOT else ():
            getting.setdefault(line, []).append(stimulus)
    for (file, number), stimuli in sorted(getting.items()):
        cheap = [name for name in stimuli if name not in DEAR] or stimuli
        kinds = [*orders.EXCEPTIONS]
        if closure.lines(file).get(number) != "<module>":
            kinds.append(orders.SIGNALS[number % len(orders.SIGNALS)])
        for index, kind in enumerate(kinds):
            yield Fault(kind, file, number, cheap[index % min(len(cheap), 3)])


def journaled_descriptors(data: bytes) -> dict[int, tuple[str, ...]]:
    """What a journal says of the descriptors that are kept: number → role."""
    kept: dict[int, tuple[str, ...]] = {}
    place = journal._HEADER_BYTES
    while length := int.from_bytes(data[place : place + 4], "little"):
        record = json.loads(data[place + 4 : place + 4 + length])
        if record[0] == "k":
            kept[record[1]] = tuple(record[2])
        elif record[0] == "d":
            kept.pop(record[1], None)
        place += 4 + length
    return kept


DEAR = ("soft-reboot", "timer", "revert", "configure", "path", "demand")


def elapsed(since: float) -> str:
    """Minutes and seconds since a monotonic time."""
    seconds = int(time.monotonic() - since)
    return f"{seconds // 60}:{seconds % 60:02}"
