"""Faults of PID 1, one after the other, on one machine full of services that record what happens to
them.

A fault is an exception raised at a line of PID 1, or a fatal signal, or an allocation that fails.
Before it, an order is given (`Injector`); then a *stimulus* makes PID 1 get there: a service dies,
somebody asks, a log line is written, the configuration changes. What must hold whatever happens is
in `World.check`. Which stimulus gets to which line is recorded first (`World.record`), so that a
line nobody gets to is known, not skipped.
"""

from __future__ import annotations

import ctypes
import marshal
import mmap
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ainit.child.client import Client
from ainit.errors import AinosError
from tests.pidns.machine import CONTROL, Machine, Process
from tests.support.wait import wait_for

IDLE, RAISE, RECORD, DUMP, NO_MEMORY = range(5)
EXCEPTIONS = (
    "MemoryError", "EMFILE", "ENOMEM", "RuntimeError", "KeyboardInterrupt", "SystemExit",
    "RecursionError", "KeyError", "ValueError", "EIO", "UnicodeError", "GeneratorExit",
)  # fmt: skip
SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
FAST = {"first_s": 0.01, "factor": 1.0, "max_s": 0.01, "limit": 0}
# A service that writes down each start before anything else, and says one line.
RECORDER = 'echo "$AINOS_UNIT $$" >>%s; echo started; exec sleep 1000000'
# A service that writes a numbered line for each line that comes through a FIFO.
CHATTER = 'n=0; while :; do while read -r x; do n=$((n+1)); echo "line $n"; done <%s; done'
EXTRA = '[service]\nexec = ["/bin/sleep", "1000000"]\nautostart = false\n'
SECONDS = 60.0

Line = tuple[str, int]


@dataclass(frozen=True)
class Fault:
    """One fault: what, where, and the stimulus that gets there."""

    kind: str
    file: str
    line: int
    stimulus: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.file}:{self.line} by {self.stimulus}"


class _Order(ctypes.Structure):
    _fields_ = (
        ("mode", ctypes.c_int32),
        ("line", ctypes.c_int32),
        ("exception", ctypes.c_int32),
        ("fired", ctypes.c_int32),
        ("file", ctypes.c_char * 48),
    )


class Injector:
    """Gives orders to ``faulty.py``."""

    def __init__(self, directory: Path) -> None:
        path = directory / "inject"
        path.write_bytes(bytes(4096))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)
        self.order = _Order.from_buffer(self._map)

    def arm(self, file: str, line: int, exception: str) -> None:
        """Raise ``exception`` the next time that PID 1 is about to execute this line."""
        self.order.file = file.encode()
        self.order.line = line
        self.order.exception = EXCEPTIONS.index(exception)
        self.order.mode = RAISE

    def starve(self, file: str, line: int, allocation: int) -> None:
        """From the ``allocation``-th on after this line is reached, every allocation fails."""
        self.order.file = file.encode()
        self.order.line = allocation
        self.order.exception = line
        self.order.mode = NO_MEMORY

    def disarm(self) -> None:
        """Take back an order that was not reached."""
        self.order.mode = IDLE


@dataclass
class Tally:
    """What came of the faults; every number but the first is to be 0."""

    faults: int = 0
    handled: int = 0  # of them, errors that PID 1 expected and went on from
    not_reached: int = 0
    services_lost: int = 0
    started_twice: int = 0
    zombies: int = 0
    panics: int = 0
    log_bytes_lost: int = 0
    trouble: list[str] = field(default_factory=list)


class World:
    """A machine with ``count`` services. Use as a context manager."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.tally = Tally()
        self.machine = Machine()
        self.machine.guest = "faulty.py"
        self.directory = self.machine.directory
        self.injector = Injector(self.directory)
        self.names = [f"s{number}" for number in range(count)]
        self._starts = self.directory / "starts"
        self._expected: Counter[str] = Counter()
        self._spoken = 0
        self._turn = 0
        self.stimuli: dict[str, Callable[[], None]] = {
            "crash": self._crash,
            "leave": self._leave,
            "fork": self._fork,
            "notify": self._notify,
            "log": self._log,
            "ask": self._ask,
            "restart": self._restart,
            "stop": self._stop,
            "oneshot": self._oneshot,
            "provide": self._provide,
            "configure": self._configure,
            "reexec": self._reexec,
            "malformed": self._malformed,
        }

    def __enter__(self) -> World:
        machine = self.machine
        for name in self.names:
            script = RECORDER % self._starts
            machine.unit(name, command=["/bin/sh", "-c", script], backoff=FAST, restart="always")
        fifo = self.directory / "fifo"
        os.mkfifo(fifo)
        machine.unit("chatter", command=["/bin/sh", "-c", CHATTER % fifo], backoff=FAST)
        machine.unit("speaker", "speaker", type="notify", backoff=FAST, fd_store_max=4)
        leaver = "trap '' TERM; sleep 1000000 & exit 1"
        machine.unit(
            "leaver", command=["/bin/sh", "-c", leaver], autostart=False, restart="never"
        )
        forker = "sleep 1000000 & exit 0"
        machine.unit(
            "forker", command=["/bin/sh", "-c", forker], type="forking", autostart=False
        )
        machine.unit("once", command=["/bin/true"], type="oneshot", autostart=False)
        machine.unit("needed", command=["/bin/sleep", "1000000"], autostart=False)
        machine.unit(
            "needing", command=["/bin/sleep", "1000000"], autostart=False, requires=["needed"]
        )
        machine.unit(
            "echo", "provide", "org.ainos.Echo", "/dev/null", type="notify",
            provides=["org.ainos.Echo"],
        )  # fmt: skip
        machine.tpm()
        machine.boot()
        self._expected.update(dict.fromkeys(self.names, 1))
        wait_for(self._all_ready, "all services to be ready", SECONDS * 3)
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.destroy()

    def record(self) -> dict[str, set[Line]]:
        """The lines of PID 1 that each stimulus gets to."""
        found: dict[str, set[Line]] = {}
        for name, stimulus in self.stimuli.items():
            lines: set[Line] = set()
            for _ in range(2):
                self.injector.order.mode = RECORD
                stimulus()
                self._settle()
                self.injector.order.mode = DUMP
                path = self.directory / "lines"
                self._poke(lambda path=path: path.exists())  # type: ignore[misc]
                lines.update(marshal.loads(path.read_bytes()))
                path.unlink()
            found[name] = lines
        return found

    def inject(self, fault: Fault) -> bool:
        """One fault; False when the line was not reached this time."""
        before = self.injector.order.fired
        if fault.kind.startswith("SIG"):
            self.stimuli[fault.stimulus]()
            os.kill(self.machine.init_host_pid, signal.Signals[fault.kind])
            self.tally.faults += 1
        else:
            if fault.kind == "allocation":
                self.injector.starve(fault.file, 0, fault.line)
            else:
                self.injector.arm(fault.file, fault.line, fault.kind)
            self.stimuli[fault.stimulus]()
        try:
            self._settle()
        except AssertionError as error:
            self.tally.trouble.append(f"{fault}: {error}")
            if not self._lives():
                self.tally.panics += 1
            raise
        if fault.kind.startswith("SIG"):
            return True
        fired = self.injector.order.fired - before
        self.injector.disarm()
        self.tally.faults += fired
        self.tally.not_reached += not fired
        return bool(fired)

    def check(self) -> None:
        """Compare the machine with what must be: into ``tally``."""
        tally = self.tally
        self._settle()
        wait_for(lambda: not self._zombies(), "the dead to be reaped", SECONDS)
        tally.zombies += len(self._zombies())
        processes = self.machine.processes()
        units = {str(unit["name"]): unit for unit in self._units()}
        by_pid = {one.pid: one for one in processes}
        lost = [name for name in self.names if units[name]["pid"] not in by_pid]
        tally.services_lost += len(lost)
        sleepers = [one for one in processes if one.command == "sleep 1000000"]
        known = {unit["pid"] for unit in units.values()}
        strays = [one for one in sleepers if one.pid not in known and not self._is_child(one)]
        starts = Counter(line.split()[0] for line in self._starts.read_text().splitlines())
        wrong = {
            name: (starts[name], self._expected[name])
            for name in self.names
            if starts[name] != self._expected[name]
        }
        tally.started_twice += len(strays) + len(wrong)
        spoken = [line for line in self.machine.log("chatter") if line.startswith("line ")]
        missing = [n for n in range(1, self._spoken + 1) if f"line {n}" not in set(spoken)]
        tally.log_bytes_lost += sum(len(f"line {n}\n") for n in missing)
        if lost or strays or wrong or missing:
            tally.trouble.append(f"lost {lost}, strays {strays}, starts {wrong}, lines {missing}")

    # Stimuli.

    def _victim(self) -> str:
        self._turn += 1
        return self.names[self._turn % self.count]

    def _crash(self) -> None:
        name = self._victim()
        pid = self._pid(name)
        self._expected[name] += 1
        self.machine.kill(pid)
        self._poke(lambda: self._pid(name) not in (0, pid))

    def _restart(self) -> None:
        name = self._victim()
        pid = self._pid(name)
        self._expected[name] += 1
        self._call("Restart", name=name)
        wait_for(lambda: self._pid(name) not in (0, pid) or self._call("Restart", name=name) and 0,
                 f"{name} to be restarted", SECONDS)

    def _leave(self) -> None:
        self._insist("Start", "leaver", "failed")

    def _fork(self) -> None:
        self._insist("Start", "forker", "ready")
        self._insist("Stop", "forker", "inactive")

    def _oneshot(self) -> None:
        self._insist("Start", "once", "exited")
        self._insist("Stop", "once", "inactive")

    def _stop(self) -> None:
        self._insist("Start", "needing", "ready")
        self._insist("Stop", "needed", "inactive")

    def _notify(self) -> None:
        pid = self._pid("speaker")
        if pid:
            self.machine.kill(pid, signal.SIGUSR1)
        self._call("Describe", name="speaker")

    def _log(self) -> None:
        descriptor = os.open(self.directory / "fifo", os.O_WRONLY)
        os.write(descriptor, b"x\n")
        os.close(descriptor)
        self._spoken += 1
        wanted = f"line {self._spoken}"
        self._poke(lambda: wanted in self.machine.log("chatter"))

    def _ask(self) -> None:
        self._call("Status")
        self._call("Logs", unit="chatter", lines=10)
        self._call("Measurements")
        self._call("Accounting")

    def _provide(self) -> None:
        self._call("org.ainos.Echo.Echo", text="hello")

    def _configure(self) -> None:
        self._call("Configure", files={"units/extra.toml": EXTRA})
        self._call("Configure", files={"units/extra.toml": ""})

    def _reexec(self) -> None:
        self._call("Reexec")

    def _malformed(self) -> None:
        self._call("NoSuchMethod")
        self._call("Describe", name="nobody")

    # Looking.

    def _call(self, member: str, **parameters: object) -> dict[str, object]:
        """A call that a fault may cut off."""
        try:
            method = member if "." in member else f"{CONTROL}.{member}"
            with Client(self.machine.control, timeout=SECONDS) as client:
                return client.call(method, parameters)
        except AinosError:
            return {}
        except Exception as error:  # noqa: BLE001 - an error reply
            return {"error": str(error)}

    def _insist(self, member: str, name: str, state: str) -> None:
        """Ask until it is so: what a fault cut off is asked for again, as a person would."""

        def reached() -> bool:
            unit = self._call("Describe", name=name).get("unit")
            if isinstance(unit, dict) and unit["state"] == state:
                return True
            settled = isinstance(unit, dict) and unit["state"] in (
                "inactive", "failed", "exited", "ready",
            )  # fmt: skip
            if settled:
                self._call(member, name=name)
            return False

        wait_for(reached, f"{name} to be {state}", SECONDS)

    def _poke(self, condition: Callable[[], bool]) -> None:
        """Wait for ``condition``, with PID 1 turning."""

        def met() -> bool:
            self._call("Describe", name="chatter")
            return condition()

        wait_for(met, "what a stimulus leads to", SECONDS)

    def _pid(self, name: str) -> int:
        unit = self._call("Describe", name=name).get("unit")
        pid = unit.get("pid") if isinstance(unit, dict) else 0
        return pid if isinstance(pid, int) else 0

    def _units(self) -> list[dict[str, object]]:
        found = wait_for(lambda: self._call("Status").get("units"), "PID 1 to answer", SECONDS)
        assert isinstance(found, list)
        return found

    def _all_ready(self) -> bool:
        states = {str(unit["name"]): unit["state"] for unit in self._units()}
        wanted = (*self.names, "chatter", "speaker", "echo")
        return all(states[name] == "ready" for name in wanted)

    def _settle(self) -> None:
        wait_for(self._all_ready, "every service to be ready", SECONDS)

    def _zombies(self) -> list[Process]:
        return [one for one in self.machine.processes() if one.state == "Z"]

    def _is_child(self, one: Process) -> bool:
        """Whether a sleeper is what a service of several processes has."""
        path = Path(f"/proc/{one.host_pid}/cgroup")
        return path.exists() and path.read_text().strip().endswith(("/forker", "/leaver"))

    def _lives(self) -> bool:
        return Path(f"/proc/{self.machine.init_host_pid}").exists()


def pairs(lines: dict[str, set[Line]], kinds: tuple[str, ...]) -> Iterator[Fault]:
    """Every (line, exception) pair, each with one of the stimuli that get to the line."""
    getting: dict[Line, list[str]] = {}
    for stimulus, found in sorted(lines.items()):
        for line in found:
            getting.setdefault(line, []).append(stimulus)
    for (file, number), stimuli in sorted(getting.items()):
        rare = sorted(stimuli, key=lambda name: len(lines[name]))
        for index, kind in enumerate(kinds):
            yield Fault(kind, file, number, rare[index % len(rare)])


def elapsed(since: float) -> str:
    """Minutes and seconds since a monotonic time."""
    seconds = int(time.monotonic() - since)
    return f"{seconds // 60}:{seconds % 60:02}"
