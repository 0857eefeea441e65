"""A world for the supervisor: processes that live whether PID 1 does or not, and a clock.

``World.point`` is passed before and after everything that outlives PID 1: each journal record, each
process started, each signal, each death taken off the list. A test can have PID 1 fail there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from ainit.errors import RefusedError
from ainit.linux import process
from ainit.linux.cgroup import Tree
from ainit.pid1.effects import Effects
from ainit.pid1.supervisor import Supervisor
from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.plan import Plan, Record, Unit
from ainit.policy.state import Event, State
from tests.support.notebook import Notebook
from tests.support.units import make_unit

SIGTERM, SIGKILL = 15, 9
VERBS = {1: "hup", SIGTERM: "term", SIGKILL: "kill"}


class Fault(BaseException):
    """PID 1 fails: nothing in it may catch this."""


class Process:
    """One process. It is a zombie from its death until PID 1 buries it."""

    def __init__(self, pid: int, group: str, *, main: bool) -> None:
        self.pid = pid
        self.group = group
        self.main = main
        self.status: int | None = None


class Groups(Tree):
    """The cgroups, as the world knows them."""

    def __init__(self, world: World) -> None:
        super().__init__("/nonexistent")
        self._world = world

    def populated(self, name: str) -> bool:
        return bool(self._world.members(name))

    def pids(self, name: str) -> list[int]:
        return [one.pid for one in self._world.members(name)]

    def kill(self, name: str) -> bool:
        self._world.point()
        self._world.events.append(f"kill {name}")
        for one in self._world.members(name):
            one.status = -SIGKILL
        self._world.point()
        return True


class World:
    """Everything the supervisor acts on: it records, and it answers when told to."""

    def __init__(self, units: Iterable[Unit]) -> None:
        self.units = list(units)
        self.now = 100.0
        self.events: list[str] = []
        self.said: list[str] = []
        self.refuse: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.torn: set[str] = set()  # whose start fails after the fork
        self.obedient = True
        self.processes: dict[int, Process] = {}
        self.answers: dict[str, Callable[[Event], None]] = {}
        self.no_gpu = ""  # why the answer comes at once
        self.gpus: set[str] = set()
        self.watched: set[str] = set()
        self.faults = 0
        self._points = 0
        self._fail_at = 0
        self._next = 1000
        self.journal = Notebook(self.point)
        self.supervisor = self._supervisor()

    def fail_at(self, point: int) -> None:
        """Let PID 1 fail at a point from now on, the first is 1; 0 for never."""
        self._points, self._fail_at = 0, point

    def point(self) -> None:
        """PID 1 may fail here."""
        self._points += 1
        if self._points == self._fail_at:
            raise Fault

    @property
    def points(self) -> int:
        """How many there were since ``fail_at``."""
        return self._points

    # What PID 1 does to the world.

    def _supervisor(self) -> Supervisor:
        effects = Effects(
            spawn=self._spawn,
            signal=self._signal,
            allocate=self._allocate,
            release=self._release,
            measure=self._measure,
            say=lambda unit, text: self.said.append(f"{unit}: {text}"),
            now=lambda: self.now,
            changed=self._changed,
            watch=self._watch,
            exhausted=lambda unit, reason: self.events.append(f"{unit.exhausted} for {unit.name}"),
            isolate=self._isolate,
        )
        return Supervisor(Plan(self.units, {}), effects, Groups(self), self.journal)

    def _spawn(self, unit: Unit, gpu: Record | None) -> tuple[int, int]:
        self.point()
        if unit.name in self.refuse:
            raise RefusedError(self.refuse[unit.name])
        if unit.name in self.broken:
            raise OSError(12, self.broken[unit.name])
        assert not self.members(unit.name), f"{unit.name} started while it runs"
        assert bool(gpu) == (unit.name in self.gpus)
        self.events.append(f"spawn {unit.name}")
        pid = self.fork(unit.name, main=True)
        self.journal.cell.value = pid
        self.point()
        if unit.name in self.torn:
            raise OSError(24, "Too many open files")
        return pid, self.start_time(pid)

    def _signal(self, pid: int, number: int) -> None:
        self.point()
        one = self.processes.get(pid)
        if one is not None and one.status is None:
            self.events.append(f"{VERBS.get(number, number)} {one.group}")
            if number == SIGKILL or (self.obedient and number == SIGTERM):
                one.status = -number
        self.point()

    def _allocate(self, unit: Unit, done: Callable[[Event], None]) -> None:
        self.point()
        self.events.append(f"allocate {unit.name}")
        if self.no_gpu:
            done(Event(life.NOT_ALLOCATED, reason=self.no_gpu))
        else:
            self.answers[unit.name] = done

    def _release(self, unit: Unit) -> None:
        self.point()
        self.events.append(f"release {unit.name}")
        self.gpus.discard(unit.name)
        self.point()

    def _isolate(self, name: str, action: str) -> None:
        self.point()
        self.events.append(f"{action} {name}")
        self.point()

    def _measure(self) -> None:
        self.point()
        self.events.append("measure")
        self.point()

    def _changed(self, unit: Unit, state: State, before: str) -> None:
        self.point()

    def _watch(self, name: str, wanted: bool) -> bool:
        if wanted and self.members(name):
            self.watched.add(name)
            return True
        self.watched.discard(name)
        return not wanted

    # What the kernel knows.

    def members(self, group: str) -> list[Process]:
        """Who lives in a cgroup."""
        found = self.processes.values()
        return [one for one in found if one.group == group and one.status is None]

    def start_time(self, pid: int) -> int:
        return pid * 10 if pid in self.processes else 0

    def parent(self, pid: int) -> int:
        return 1 if pid in self.processes else 0

    def cgroup_of(self, pid: int) -> str:
        return f"/ainos/{self.processes[pid].group}" if pid in self.processes else ""

    def pid(self, name: str) -> int:
        """The main process of a unit, which lives."""
        pid = self.supervisor.states[name].pid
        assert self.processes[pid].status is None
        return pid

    # What happens in the world.

    def fork(self, name: str, *, main: bool = False) -> int:
        """One more process in the cgroup of a unit."""
        self._next += 1
        self.processes[self._next] = Process(self._next, name, main=main)
        return self._next

    def die(self, pid: int, status: int) -> None:
        """A process ends; PID 1 does not know yet."""
        self.processes[pid].status = status

    def exit(self, name: str, status: int) -> None:
        """The main process of a unit ends, and PID 1 sees to everybody that has ended."""
        self.die(self.pid(name), status)
        self.settle()

    def settle(self) -> None:
        """Let PID 1 see every death, as its loop would, and bury the dead."""
        while True:
            dead = next((one for one in self.processes.values() if one.status is not None), None)
            if dead is not None:
                assert dead.status is not None
                self.supervisor.exited(dead.pid, dead.status)
                self.point()
                self.processes.pop(dead.pid)
                self.point()
                continue
            self.turn()
            empty = sorted(name for name in self.watched if not self.members(name))
            if not empty:
                return
            self.watched.discard(empty[0])
            self.supervisor.emptied(empty[0])

    def start(self, *, rescue: bool = False) -> None:
        self.supervisor.start_all(rescue=rescue)
        self.journal.put("begun", True)
        self.settle()

    def again(self) -> None:
        """PID 1 failed and is executed anew: all that it knew is in the journal."""
        self.faults += 1
        self.watched.clear()
        self.answers.clear()
        self.journal = self.journal.reopened()
        self.supervisor = self._supervisor()
        self.supervisor.resume(self.journal.units, self.journal.intent)
        if not self.journal.values.get("begun"):
            self.start()
        self.turn()

    def ready(self, name: str) -> None:
        self.tell(name, life.NOTIFIED_READY)

    def tell(self, name: str, kind: str, **fields: object) -> None:
        """Something happens to a unit."""
        event = Event(kind)
        for field, value in fields.items():
            setattr(event, field, value)
        self.supervisor.post(name, event)
        self.turn()

    def answer(self, name: str) -> None:
        """The GPU that a unit asked for."""
        self.gpus.add(name)
        self.answers.pop(name)(Event(life.ALLOCATED, gpu={"uuid": "MIG-0"}))
        self.turn()

    def pass_time(self, seconds: float) -> float:
        self.now += seconds
        return self.turn()

    def turn(self) -> float:
        """The loop turns until none waits to be started. Returns the next deadline."""
        while (due := self.supervisor.tick(self.now)) == self.now:
            pass
        return due

    def ask(self, name: str, kind: str) -> None:
        """Somebody wants something of a unit."""
        self.supervisor.want(name, kind)
        self.turn()

    def state(self, name: str) -> str:
        return self.supervisor.states[name].state

    def reason(self, name: str) -> str:
        return self.supervisor.states[name].reason

    def take(self) -> list[str]:
        """What was done since the last time."""
        taken, self.events = self.events, []
        return taken


def install(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Let PID 1 see this world's processes."""
    monkeypatch.setattr(process, "start_time", world.start_time)
    monkeypatch.setattr(process, "parent", world.parent)
    monkeypatch.setattr(process, "cgroup_of", world.cgroup_of)
    return world


def notify(name: str, **fields: object) -> Unit:
    return make_unit(name, type=plan.NOTIFY, **fields)
