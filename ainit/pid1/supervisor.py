"""Runs the plan: feeds events to ``policy.machine``, carries out its actions, decides who may go.

Everything it knows is in ``states`` and a few fields with a JSON form (``to_record``): the seam
through which PID 1 will hand itself over to itself. Transitions are queued and executed one by one,
never recursively.
"""

from __future__ import annotations

from _collections import deque

from ..errors import RefusedError
from ..linux import process
from ..policy import graph, machine, plan
from ..policy.machine import Event, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..linux.cgroup import Tree
    from ..policy.plan import Plan, Record, Unit

MEASURE_DEADLINE_SECONDS = 900.0  # early units settle by their own deadlines well before


class Effects:
    """What the supervisor has done for it; PID 1 and the tests give their own.

    ``spawn`` raises RefusedError or OSError. ``allocate`` calls back with a GPU or a reason.
    """

    def __init__(
        self,
        *,
        spawn: Callable[[Unit, Record | None], tuple[int, int]],
        signal: Callable[[int, int], None],
        allocate: Callable[[Unit, Callable[[Record | None, str], None]], None],
        release: Callable[[Unit], None],
        measure: Callable[[], None],
        say: Callable[[str, str], None],
        now: Callable[[], float],
    ) -> None:
        self.spawn = spawn
        self.signal = signal
        self.allocate = allocate
        self.release = release
        self.measure = measure
        self.say = say
        self.now = now


_SIGTERM = 15
_SIGKILL = 9


class Supervisor:
    """The run-time state of every unit."""

    def __init__(self, plan_: Plan, effects: Effects, cgroups: Tree) -> None:
        self.units = {unit.name: unit for unit in plan_.units}
        self.states = {unit.name: State(unit.name) for unit in plan_.units}
        self._before = graph.predecessors(plan_.units)
        self._effects = effects
        self._cgroups = cgroups
        self._queue: deque[tuple[str, Event]] = deque()
        self._running = False
        self.rescue = False
        self.measured = False
        self.measured_at = 0.0
        self.healthy_at = 0.0
        self.stopping = False
        self._started = effects.now()

    def to_record(self) -> Record:
        """The whole run-time state."""
        return {
            "states": [state.to_record() for state in self.states.values()],
            "rescue": self.rescue,
            "measured": self.measured,
            "measured_at": self.measured_at,
            "healthy_at": self.healthy_at,
            "stopping": self.stopping,
        }

    def start_all(self, *, rescue: bool) -> None:
        """Want every unit up; in rescue only those that are meant for it."""
        self.rescue = rescue
        for unit in self.units.values():
            if unit.rescue or not rescue:
                self.post(unit.name, Event(machine.START))
        self.run()

    def stop_all(self) -> None:
        """Want every unit down, each after those that depend on it."""
        self.stopping = True
        self.run()

    def post(self, name: str, event: Event) -> None:
        """Queue an event; ``run`` executes it."""
        self._queue.append((name, event))

    def run(self) -> None:
        """Execute queued events, and those that follow from them, until nothing changes."""
        if self._running:
            return
        self._running = True
        try:
            while True:
                while self._queue:
                    name, event = self._queue.popleft()
                    self._step(self.units[name], self.states[name], event)
                if not self._advance():
                    return
        finally:
            self._running = False

    def tick(self, now: float) -> float:
        """Post what is due; returns the next deadline (0: none)."""
        for state in self.states.values():
            if state.deadline and now >= state.deadline:
                self.post(state.name, Event(machine.DEADLINE))
        self.run()
        deadlines = [state.deadline for state in self.states.values() if state.deadline]
        if not self.measured and not self.rescue:
            deadlines.append(self._started + MEASURE_DEADLINE_SECONDS)
        return min(deadlines, default=0.0)

    def exited(self, pid: int, status: int) -> None:
        """A child died. Orphans of services are reaped and mean nothing."""
        for state in self.states.values():
            if state.pid == pid:
                reason = process.describe(status)
                self.post(state.name, Event(machine.EXIT, pid=pid, status=status, reason=reason))
                self.run()
                return

    def unit_of(self, pid: int) -> str | None:
        """The unit that a process belongs to, by its cgroup. Outside our namespace its pid is 0."""
        for state in self.states.values() if pid else ():
            if state.pid == pid:
                return state.name
        name = process.cgroup_of(pid).rpartition("/")[2]
        return name if name in self.units else None

    def findings(self) -> list[str]:
        """What keeps the machine from being healthy, in words."""
        found = []
        for unit in self.units.values():
            state = self.states[unit.name]
            if unit.essential and not self._good(state):
                detail = f": {state.reason}" if state.reason else ""
                found.append(f"{unit.name} is {state.state}{detail}")
        return found

    @property
    def settled(self) -> bool:
        """Whether every essential unit has come to rest, well or not."""
        return self.measured and all(
            self._at_rest(unit)
            for unit in self.units.values()
            if unit.essential and unit.stage != plan.HEALTHY
        )

    def _at_rest(self, unit: Unit) -> bool:
        """Whether a unit stays as it is: a waiting one does when what it requires is held."""
        state = self.states[unit.name].state
        if state == machine.WAITING:
            return any(
                self._at_rest(self.units[name]) and not self._good(self.states[name])
                for name in unit.requires
            )
        return state in machine.SETTLED

    def _good(self, state: State) -> bool:
        return state.state in (machine.READY, machine.EXITED)

    def _step(self, unit: Unit, state: State, event: Event) -> None:
        before = state.state
        actions = machine.step(unit, state, event, self._effects.now())
        if state.state != before and state.state not in (machine.WAITING, machine.ALLOCATING):
            reason = f": {state.reason}" if state.reason else ""
            self._effects.say(unit.name, f"{state.state}{reason}")
        for action in actions:
            self._perform(unit, state, action)

    def _perform(self, unit: Unit, state: State, action: str) -> None:
        if action == machine.SPAWN:
            self._spawn(unit, state)
        elif action == machine.TERMINATE:
            self._effects.signal(state.pid, _SIGTERM)
        elif action == machine.KILL:
            self._cgroups.kill(unit.name)
            if state.pid:  # even when it moved itself out of its group
                self._effects.signal(state.pid, _SIGKILL)
        elif action == machine.ALLOCATE:
            self._effects.allocate(unit, lambda gpu, why: self._allocated(unit.name, gpu, why))
        elif action == machine.RELEASE:
            self._effects.release(unit)

    def _spawn(self, unit: Unit, state: State) -> None:
        try:
            pid, started = self._effects.spawn(unit, state.gpu)
        except RefusedError as error:
            event = Event(machine.DENIED, reason=str(error))
        except OSError as error:
            event = Event(machine.NOT_SPAWNED, reason=f"cannot start: {error}")
        else:
            event = Event(machine.SPAWNED, pid=pid, started=started)
        self._queue.appendleft((unit.name, event))  # before anything that could lose the process

    def _allocated(self, name: str, gpu: Record | None, why: str) -> None:
        kind = machine.NOT_ALLOCATED if gpu is None else machine.ALLOCATED
        self.post(name, Event(kind, gpu=gpu, reason=why))
        self.run()

    def _advance(self) -> bool:
        """Post what the current states allow; True when something was posted or measured."""
        if self.stopping:
            return self._wind_down()
        if not self.measured and not self.rescue and self._early_settled():
            self._effects.measure()
            self.measured = True
            self.measured_at = self._effects.now()
            return True
        for name, state in self.states.items():
            if state.state == machine.WAITING:
                blocker = self._blocker(self.units[name])
                if not blocker:
                    self.post(name, Event(machine.GO))
                else:
                    state.reason = blocker
        if not self._queue and not self.healthy_at and self.settled and not self._main_findings():
            self.healthy_at = self._effects.now()
            return True
        return bool(self._queue)

    def _main_findings(self) -> bool:
        return any(
            unit.essential and unit.stage != plan.HEALTHY and not self._good(self.states[unit.name])
            for unit in self.units.values()
        )

    def _early_settled(self) -> bool:
        if self._effects.now() >= self._started + MEASURE_DEADLINE_SECONDS:
            return True
        return all(self._at_rest(unit) for unit in self.units.values() if unit.stage == plan.EARLY)

    def _blocker(self, unit: Unit) -> str:
        """Why a waiting unit may not go yet; empty when it may."""
        if not self.rescue:
            if unit.stage != plan.EARLY and not self.measured:
                return "waits for the boot set to be measured"
            if unit.stage == plan.HEALTHY and not self.healthy_at:
                return "waits for the machine to be healthy"
        for name in self._before[unit.name]:
            state = self.states[name]
            if name in unit.requires and not self._good(state):
                return f"waits for {name}, which is {state.state}"
            if state.state not in machine.SETTLED:
                return f"waits for {name}"
        return ""

    def _wind_down(self) -> bool:
        for name, state in self.states.items():
            alive = state.state not in (machine.INACTIVE, machine.STOPPING)
            held_by = [
                other
                for other, before in self._before.items()
                if name in before and self.states[other].state != machine.INACTIVE
            ]
            if alive and not held_by:
                self.post(name, Event(machine.STOP))
        return bool(self._queue)

    @property
    def stopped(self) -> bool:
        """Whether the last unit is down."""
        return all(state.state == machine.INACTIVE for state in self.states.values())
