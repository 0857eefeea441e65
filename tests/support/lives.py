"""PID 1 lives in this process, on a kernel of the tests' own, with one system call failing.

The real ``main``, ``Init`` and all that hangs on them run on `seam` and `kernel`; what executes
PID 1 anew begins a new incarnation here, on the same journal and descriptors. A *stimulus* (see
``stirs``) happens to the machine; it ends when the machine has come to rest as the model says.

>>> with World() as world:                                           # doctest: +SKIP
...     world.inject("crash", 12, 0)
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from ainit import constants
from ainit.errors import TpmError
from ainit.linux import alarm, bpf, kmsg, libc, native, process
from ainit.pid1 import (
    control,
    facts,
    init,
    journal,
    loop,
    main,
    resources,
    shutdown,
    signals,
    timers,
)
from ainit.pid1.enforcement import Enforcement
from ainit.pid1.journal import Journal
from ainit.pid1.measure import Measurements
from ainit.pid1.platform import Platform
from ainit.wire.codec import loads
from tests.support import stirs
from tests.support.enforcement import MapKeeper
from tests.support.kernel import JOURNAL, Hang, Kernel, lift
from tests.support.model import Model, Seen
from tests.support.seam import Seam

TURNS = 600  # of the loop: no stimulus takes a third of that
HANG_SECONDS = 1.0
IN_A_ROW = 20  # executions of PID 1 without one turn of the loop between them
PEACE_SECONDS = 61.0


class Executed(BaseException):
    """PID 1 executes itself."""


class Death(BaseException):
    """PID 1 cannot go on."""


class InconsistentError(Exception):
    """The machine is not as the model says."""


class Ground(Platform):
    """A machine without hardware."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def prepare(self) -> None:
        pass

    def measurements(self, journal: Journal) -> Measurements:
        def none() -> Any:
            raise TpmError("this machine has none")

        return Measurements(journal, none, constants.MEASUREMENTS, root=self._directory)

    def enforcement(self, journal: Journal) -> Enforcement:
        return Enforcement(journal, MapKeeper())

    def find_disk(self, facts: facts.Facts) -> None:
        facts.root = facts.state = "memory"

    def name(self, hostname: str) -> None:
        pass


class World:
    """A machine at rest. Use as a context manager."""

    def __init__(self, mutant: Callable[[], Any] | None = None) -> None:
        self.kernel = Kernel()
        self.seam = Seam(self.kernel)
        self.init: init.Init | None = None
        self.left = ""
        self.executions = self.soft_reboots = 0
        self.calls = 0  # of the system, until it last came to rest
        self.handled = 0
        self.said: Counter[str] = Counter()  # log lines that were written, and seen, by unit
        self.second = (0, 0)  # the call that fails after the next execution, and how
        self._mutant = mutant
        self._reason = ""
        self._journal: Journal | None = None
        self._in_a_row = 0
        self._inode = 0
        self._stack = ExitStack()
        self._unkept = -1
        self._read = _Reader()
        self.stirs = stirs.Stirs(self)
        self.model = Model(self.stirs.rests, self.stirs.processless)

    def __enter__(self) -> Self:
        kmsg._descriptor = -1  # what another test opened is none of this PID 1's
        try:
            self._stack.enter_context(self.seam.installed())
            if self._mutant is not None:
                self._stack.enter_context(self._mutant())
            self._patch()
            before = signal.signal(signal.SIGVTALRM, _hang)
            self._stack.callback(signal.signal, signal.SIGVTALRM, before)
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.seam.executed()  # before anybody closes what PID 1 keeps
        self.init = None
        self.kernel.close_descriptors(lambda _: True)
        kmsg._descriptor = -1
        self._stack.close()
        self.kernel.close()

    def _patch(self) -> None:
        put, kernel, directory = self.seam.put, self.kernel, self.kernel.directory
        places = (constants.RUNTIME, constants.STATE)
        for name, value in vars(constants).copy().items():
            if isinstance(value, str) and value.startswith(places):
                put(constants, name, f"{directory}{value}")
        put(constants, "CGROUP_ROOT", kernel.root)
        put(constants, "PLAN", f"{directory}/plan.json")
        put(constants, "DEFAULT_MACHINE", f"{directory}/machine.toml")
        put(loop, "time", kernel.clock())
        put(init, "_signal", kernel.signals())
        put(signals, "_signal", kernel.signals())
        put(alarm, "_signal", kernel.signals())
        put(libc, "raise_descriptors", lambda *_: None)
        put(process, "prefer", lambda *_: None)
        put(init, "gc", SimpleNamespace(collect=lambda: 0, freeze=lambda: None))
        put(journal, "_COMPACT_BYTES", 1 << 14)
        put(native, "reexec", self._executes)
        put(bpf, "filter_devices", lambda group, code: self.seam.passes("bpf"))
        real_spawn, children = process.spawn, []

        def spawn(child: Any) -> int:
            children.append(child)
            return real_spawn(child)

        def clone(_: Any, *, cgroup: int = -1, cell: int = 0, **_how: Any) -> int:
            child = children.pop()
            goes_on = self.seam.passes("clone3")
            return (
                self.kernel.clone(child, cell, cgroup)
                if goes_on
                else self._stillborn(child, cell, cgroup)
            )

        put(process, "spawn", spawn)
        put(native.Job, "spawn", clone)
        for function in (Journal.create.__func__, Journal.resume.__func__):  # type: ignore[attr-defined]
            before = function.__defaults__
            function.__defaults__ = (JOURNAL,)
            self._stack.callback(setattr, function, "__defaults__", before)
        self._default(timers.Timers.__init__, "wall", kernel.wall)
        self._default(timers.Timers.__init__, "now", loop.now)
        self._default(resources.Pressure.__init__, "machine_path", f"{kernel.root}/memory.pressure")
        from ainit.pid1 import artefacts, launch

        self._positional(artefacts.Artefacts.__init__, constants.ADMITTED)
        self._default(launch.Launcher.__init__, "notify", constants.NOTIFY)
        for path in (constants.SOCKETS, constants.BUNDLES, constants.CONFIG):
            os.makedirs(path)
        Path(constants.PLAN).write_text(json.dumps(self.stirs.plan().to_record()))
        Path(constants.DEFAULT_MACHINE).write_text("")

    def _default(self, function: Any, name: str, value: object) -> None:
        before = dict(function.__kwdefaults__)
        function.__kwdefaults__ = {**before, name: value}
        self._stack.callback(setattr, function, "__kwdefaults__", before)

    def _positional(self, function: Any, value: object) -> None:
        before = function.__defaults__
        function.__defaults__ = (*before[:-1], value)
        self._stack.callback(setattr, function, "__defaults__", before)

    def _stillborn(self, child: Any, cell: int, group: int) -> int:
        """A child that cannot execute its program."""
        unit = child.environment.get("AINOS_UNIT", "")
        behaviour = self.kernel.behaviours
        self.kernel.behaviours = {}
        try:
            pid = self.kernel.clone(child, cell, group)
        finally:
            self.kernel.behaviours = behaviour
        if unit and cell:
            self.model.starts(unit, 0, 1)
        self.kernel.die(pid, 203)
        return pid

    # PID 1.

    def boot(self) -> None:
        """A new machine, all of whose units come up."""
        for name in self.stirs.at_boot:
            self.model.starts(name)
        self.rest()

    def turn(self) -> None:
        """One turn of PID 1's loop, or its way up to there."""
        self.kernel.idling = False
        try:
            if self.init is None:
                self._begin()
            assert self.init is not None
            self.init.loop.turn()
            self._in_a_row = 0
            if self.init._reexec:
                raise Executed(self.init._reexec)
            if self.init.shutdown.is_due:
                self._leave(self.init.shutdown.how)
        except (Hang, Death, InconsistentError, KeyboardInterrupt):
            raise
        except Executed as request:
            self._execute(str(request))
        except BaseException as error:  # noqa: BLE001 - as ``main`` has it
            self._execute(loop.describe(error))

    def _begin(self) -> None:
        argv = ["init", *([native.FAULT + self._reason] if self.executions else [])]
        main_sys = SimpleNamespace(argv=argv, orig_argv=argv)
        before, main.sys = main.sys, main_sys  # type: ignore[attr-defined, assignment]
        try:
            found, known = main._take_up()
            if known.faults_in_a_row > constants.FAULTS_IN_A_ROW:
                raise Death(f"{known.faults_in_a_row} faults in a row: {known.last_fault}")
            self.init = main._start(Ground(self.kernel.directory), found, known)
            main._watch(self.init, found)
            self.init.begin()
        finally:
            main.sys = before  # type: ignore[attr-defined]

    def _leave(self, how: str) -> None:
        assert self.init is not None
        if how == shutdown.SOFT_REBOOT:
            facts.forget(self.init.journal)
            self.soft_reboots += 1
            raise Executed(how)
        self.left = how

    def _executes(self, reason: str) -> None:
        raise Executed(reason)

    def _execute(self, reason: str) -> None:
        """PID 1 begins anew."""
        self._reason = reason
        self.executions += 1
        self._in_a_row += 1
        if self._in_a_row > IN_A_ROW:
            raise Death(reason)
        self.forget()
        self.kernel.executed()
        if self.seam.fired:
            self.seam.arm(*self.second)
            self.second = (0, 0)

    def forget(self) -> None:
        """What PID 1 had in its own memory is gone."""
        self.seam.executed()  # before anybody closes what PID 1 keeps
        self.init = None
        kmsg._descriptor = -1
        getattr(process, "_places", []).clear()

    def power_cycle(self) -> None:
        """The machine went down, and is switched on again."""
        self.forget()
        self.kernel.close_descriptors(lambda _: True)
        self.kernel.executed()
        for one in list(self.kernel.processes.values()):
            self.kernel.die(one.pid, -9)
        self.kernel.processes.clear()
        self.left, self.executions = "", 0
        shutil.rmtree(constants.RUNTIME)
        shutil.rmtree(self.kernel.root)
        os.mkdir(self.kernel.root)
        for path in (constants.SOCKETS, constants.BUNDLES):
            os.makedirs(path)
        self.kernel.mounted.clear()

    # What happens to it.

    def until(self, met: Callable[[], bool], what: str, turns: int = TURNS) -> None:
        """Turn until something is so when PID 1 has nothing left to do."""
        for _ in range(turns):
            if self.left or self.soft_reboots:
                if met():
                    return
                raise InconsistentError(f"{what}: the machine went down")
            self.turn()
            if not self.kernel.idling or self.kernel.answer(self.stirs.reply):
                continue
            if met():
                return
            if not self.kernel.deadline:
                raise InconsistentError(f"{what}: PID 1 waits for ever")
            self.kernel.now = max(self.kernel.now, self.kernel.deadline)
        raise InconsistentError(f"{what}: not in {turns} turns; {self.described()}")

    def described(self) -> str:
        """The units that are not where they are to rest."""
        if self.init is None:
            return "PID 1 does not come up"
        states = self.init.supervisor.states.values()
        wrong = [
            f"{state.name} {state.state} ({state.reason})"
            for state in states
            if state.state not in self.model.rests.get(state.name, ())
        ]
        return ", ".join(wrong)

    def ask(self, member: str, **parameters: object) -> tuple[dict[str, Any], int]:
        """The answer of PID 1, and how often it had to be asked again, as people would."""
        interface, _, name = member.rpartition(".")
        method = f"{interface or control.INTERFACE}.{name}"
        data = json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"
        for attempt in range(5):
            if attempt and (self.left or self.soft_reboots):
                raise InconsistentError(f"{member} is not answered: the machine went down")
            answer = self._exchange(constants.CONTROL, data)
            if answer:
                return json.loads(answer[:-1]), attempt
        raise InconsistentError(f"{member} is not answered")

    def ask_to_leave(self, member: str) -> None:
        """Ask PID 1 to go down; that it does so may be the only answer."""
        try:
            self.ask(member)
        except InconsistentError:
            if not (self.left or self.soft_reboots):
                raise

    def _exchange(self, path: str, data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as low:
            try:
                low.connect(path)
            except OSError as error:
                raise InconsistentError(f"{path}: {error}") from error
            channel = socket.socket(fileno=lift(low.detach()))
        answer, ended = b"", [False]
        with channel:
            channel.setblocking(False)
            channel.send(data)

            def answered() -> bool:
                nonlocal answer
                try:
                    while part := channel.recv(65536):
                        answer += part
                    ended[0] = True
                except BlockingIOError:
                    pass
                except ConnectionResetError:
                    ended[0] = True
                return ended[0] or answer.endswith(b"\0")

            self.until(answered, f"an answer to {data[:60]!r}")
        return answer if answer.endswith(b"\0") else b""

    def inject(self, name: str, at: int, choice: int, second: tuple[int, int] = (0, 0)) -> bool:
        """Let a stimulus happen while its ``at``-th system call fails in its ``choice``-th way.
        False when there was no such call, or way. Raises InconsistentErrorError, Hang or Death.
        """
        seam = self.seam
        seam.fired.clear()
        self.second = second
        executions = self.executions
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
        seam.arm(at, choice)
        try:
            self.stirs.table[name]()
            self.rest()
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            seam.at = 0
            self.second = (0, 0)
        self.kernel.now += PEACE_SECONDS
        if seam.fired and self.executions == executions:
            self.handled += 1
        return bool(seam.fired)

    # What must hold.

    def rest(self) -> None:
        """Wait for the machine to rest, and look at it. Raises InconsistentError."""
        self.until(self._is_at_rest, "the machine to rest")
        seam = self.seam
        armed, self.calls, seam.at = (seam.at, seam.count), seam.count, 0
        problems = self._problems()
        seam.at, seam.count = armed
        if problems:
            raise InconsistentError("; ".join(problems))
        self.kernel.born.clear()
        self.model.forget()

    def _is_at_rest(self) -> bool:
        if self.init is None:
            return False
        born = self.kernel.born
        states = self.init.supervisor.states
        if self.init.logs._stalled or self.init.health.probes.to_record():
            return False  # it looks again in a second; the next probe is to succeed
        return all(
            name in states and self.model.is_met(name, states[name].state, born[name])
            for name in self.model.rests
        ) and not any(one.kind in ("probe", "job") for one in self.kernel.processes.values())

    def _count_unkept(self) -> int:
        """Descriptors of PID 1 that its journal does not keep, but for those of pressure."""
        assert self.init is not None
        held = len(self.kernel.descriptors()) - len(self.init.journal.kept)
        return held - len(self.init.health._pressure._triggers)

    def _problems(self) -> list[str]:
        assert self.init is not None
        kernel, states = self.kernel, self.init.supervisor.states
        found = self.model.problems(
            Seen(
                name,
                one.state,
                one.pid,
                [each.pid for each in kernel.members(name)],
                kernel.born[name],
            )
            for name, one in states.items()
        )
        if kernel.together:
            found.append(f"two processes at once: {kernel.together}")
        zombies = [one.unit for one in kernel.processes.values() if one.status is not None]
        if zombies:
            found.append(f"zombies: {zombies}")
        found += self._read.problems(self.init)
        found += self._log_problems(self.init)
        unkept = self._count_unkept()
        if unkept != self._unkept:
            gc.collect()  # what a former PID 1 had closes its descriptors only now
            unkept = self._count_unkept()
        if self._unkept < 0:
            self._unkept = unkept
        if unkept != self._unkept:
            found.append(f"{unkept - self._unkept} descriptors more than at first")
        pipes = [role for role in self.init.journal.kept.values() if role[0] == "pipe"]
        if Counter(role[1] for role in pipes) - Counter(
            one.unit for one in kernel.processes.values() if one.output >= 0
        ):
            found.append(f"pipes of nobody: {pipes}")
        return found

    def _log_problems(self, init: init.Init) -> list[str]:
        """Lines that services wrote and that are not in their logs once."""
        found = []
        for name, count in self.stirs.lines.items():
            first = self.said[name] + 1
            wanted = [f"line {number}" for number in range(first, first + count)]
            got: list[str] = []
            while init.logs.head(name) != (at := self.stirs.cursors[name]):
                lines, cursor, lost = init.logs.read(name, at, 1000)
                texts = [str(line["text"]) for line in lines if line["source"] == "unit"]
                got += [text for text in texts if text.startswith("line ")]
                if cursor == at:
                    break
                self.stirs.cursors[name] = cursor
                if lost:
                    found.append(f"the log of {name} lost {lost} bytes")
            self.said[name] += count
            self.stirs.lines[name] = 0
            if got != wanted:
                found.append(f"the log of {name} says {got}, not {wanted}")
        return found


class _Reader:
    """Reads the journal by itself, from where it was at the last time."""

    def __init__(self) -> None:
        self._fresh(0)

    def _fresh(self, inode: int) -> None:
        self._inode = inode
        self._place = journal._HEADER_BYTES
        self.units: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.kept: dict[int, Any] = {}

    def problems(self, init: init.Init) -> list[str]:
        """What the journal says and PID 1 does not, or the other way round."""
        if not self._go_on():
            return ["the journal ends within a record"]
        problems = []
        for name, state in init.supervisor.states.items():
            record, written = state.to_record(), self.units.get(name, {"name": name})
            if _comparable(record) != _comparable(written):
                problems.append(f"{name} is written down as {written}, and is {record}")
        if self.kept != init.journal.kept:
            problems.append("the kept descriptors are written down wrong")
        for number, role in self.kept.items():
            try:
                os.fstat(number)
            except OSError:
                problems.append(f"{role} is kept and closed")
        for key, value in self.values.items():
            if value != (known := init.journal.values.get(key)):
                problems.append(f"{key} is written down as {value}, and is {known}")
        return problems

    def _go_on(self) -> bool:
        """Read what came since. False when there is half a record."""
        found = os.fstat(JOURNAL)
        if found.st_ino != self._inode or found.st_size < self._place:
            self._fresh(found.st_ino)
        data = os.pread(JOURNAL, found.st_size, self._place)
        while data:
            size = int.from_bytes(data[:4], "little")
            text, data = data[4 : 4 + size], data[4 + size :]
            if not size or len(text) < size:
                return False
            self._place += 4 + size
            self._take(loads(text))
        return True

    def _take(self, record: Any) -> None:
        if record[0] in "ui":
            self.units[record[1]["name"]] = record[1]
        elif record[0] == "v":
            self.values[record[1]] = record[2]
        elif record[0] == "x":
            for key in record[1:]:
                self.values.pop(key, None)
        elif record[0] == "k":
            self.kept[record[1]] = tuple(record[2])
        else:
            self.kept.pop(record[1], None)


def _comparable(record: dict[str, Any]) -> dict[str, Any]:
    unwritten = ("text", "watchdog_at", "watchdog", "todo")
    return {key: value for key, value in record.items() if key not in unwritten}


def _hang(number: int, frame: object) -> None:
    raise Hang(f"PID 1 took more than {HANG_SECONDS:g} s")
