"""Runs the plan: feeds events to ``policy.machine`` and carries out its actions.

Each step is journaled before its actions are performed, and every action but a spawn may be done
twice; a spawn is exact by the journal's cell. So ``resume`` goes on from wherever a former PID 1
stopped. Transitions are queued and executed one by one, never recursively, and cost what the
units that they concern cost, not what all units do. Who may go when is decided by ``order``.
"""

from __future__ import annotations

from _collections import deque

from ..errors import RefusedError
from ..linux import process
from ..policy import machine, plan
from ..policy import state as life
from ..policy.state import Event, State
from . import deaths
from .deadlines import Deadlines
from .order import Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..linux.cgroup import Tree
    from ..policy.plan import Plan, Record, Unit
    from .effects import Effects
    from .journal import Journal

_SIGKILL = 9


class Supervisor:
    """The run-time state of every unit."""

    def __init__(self, plan_: Plan, effects: Effects, cgroups: Tree, journal: Journal) -> None:
        self.units = {unit.name: unit for unit in plan_.units}
        self.states = {unit.name: State(unit.name) for unit in plan_.units}
        self._effects = effects
        self._cgroups = cgroups
        self._journal = journal
        self._queue: deque[tuple[str, Event]] = deque()
        self._running = False
        self._spawned = False  # in this turn of the loop
        self._later: dict[str, None] = {}  # may go, once the loop has turned
        self._pids: dict[int, str] = {}
        self._mainless: set[str] = set()  # went to the background, and no main process is known
        self._deadlines = Deadlines()
        self.order = Order(self.units, self.states, effects, journal)

    def resume(self, records: Mapping[str, Record], intent: str) -> list[str]:
        """Go on from a journal. Returns the names of units that the plan no longer has."""
        vanished = []
        self._running = True  # the cell holds the pid of ``intent``: nobody else is born before
        for name, record in records.items():
            if name in self.units:
                self.states[name] = State.from_record(record)
            else:
                vanished.append(name)
        self.order.resume()
        for name, state in self.states.items():
            if state.pid:
                self._pids[state.pid] = name
            self._deadlines.arm(name, state.next_deadline)
            if state.watchdog_at:
                state.watchdog_at = self._effects.now() + state.watchdog
            if state.state != life.INACTIVE:
                self._effects.changed(self.units[name], state, life.INACTIVE)
            self._watch_emptiness(self.units[name], state)
        for name, state in self.states.items():
            self._redo(self.units[name], state, name == intent)
            if state.pid and process.start_time(state.pid) != state.started:
                event = Event(life.EXIT, pid=state.pid, status=-1)
                event.reason = "ended while PID 1 was started anew"
                event.left = self._cgroups.populated(name)
                self.post(name, event)
        self._find_main()
        self._running = False
        return vanished

    def _redo(self, unit: Unit, state: State, intended: bool) -> None:
        for action in list(state.todo):
            if action != life.SPAWN:
                self._perform(unit, state, action)
            elif intended and (pid := self._journal.cell.value):
                self._step(unit, state, _spawned(pid))
            elif state.state == life.STARTING and not state.pid:
                self._spawn(unit, state)

    def start_all(self, *, rescue: bool) -> None:
        """Want every unit up that starts with the machine; in rescue only those meant for it."""
        self.order.begin(rescue=rescue)
        for name in self.order.boot_set():
            self.post(name, Event(life.START))
        self.run()

    def stop_all(self, *, survivors: bool = False) -> None:
        """Want every unit down, each after those that depend on it; or all but the survivors."""
        self.order.stop_all(survivors=survivors)
        self.run()

    def want(self, name: str, kind: str, reason: str = "") -> None:
        """START, STOP, RESTART or RELOAD ``name``, with what that entails for other units."""
        for other, event in self.order.entailed(name, kind, reason):
            self.post(other, event)
        self.run()

    def post(self, name: str, event: Event) -> None:
        """Queue an event; ``run`` executes it."""
        self._queue.append((name, event))

    def tell(self, name: str, event: Event) -> None:
        """Queue an event and execute it."""
        self.post(name, event)
        self.run()

    def run(self) -> None:
        """Execute queued events, and those that follow from them, until nothing changes. Only one
        process is started a turn of the loop, for whoever asks PID 1 something: see ``tick``.
        """
        if self._running:
            return
        self._running = True
        try:
            self._execute()
        finally:
            self._running = False

    def _execute(self) -> None:
        posted = True
        while posted:
            while self._queue:
                name, event = self._queue.popleft()
                if event.kind == life.GO and self._spawned:
                    self._later[name] = None
                elif unit := self.units.get(name):
                    self._step(unit, self.states[name], event)
            posted = bool(following := self.order.advance())
            self._queue.extend(following)

    def tick(self, now: float) -> float:
        """Post what is due; returns the next deadline (0: none)."""
        self._spawned = False
        if self._later:
            name = next(iter(self._later))
            del self._later[name]
            self.order.look_again([name])
        for name in self._deadlines.passed(now):
            if state := self.states.get(name):
                if state.next_deadline and now >= state.next_deadline:
                    self.post(name, Event(life.DEADLINE))
                else:
                    self._deadlines.arm(name, state.next_deadline)
        self.run()
        if self._later:
            return now
        return min(filter(None, (self._deadlines.next, self.order.measure_deadline)), default=0.0)

    @property
    def busy(self) -> bool:
        """Whether units wait for the next turn to start."""
        return bool(self._later)

    def exited(self, pid: int, status: int) -> None:
        """A child died: a main process, or an orphan."""
        if name := self._pids.get(pid):
            unit, state, is_probe = self.units[name], self.states[name], self._effects.is_probe
            self.post(name, deaths.event(unit, state, pid, status, self._cgroups, is_probe))
        else:
            self._find_main()
        self.run()

    def emptied(self, name: str) -> None:
        """The cgroup of a unit may have become empty."""
        if name in self.states and not self._cgroups.populated(name):
            self.post(name, Event(life.EMPTIED))
            self.run()

    def unit_of(self, pid: int) -> str | None:
        """The unit that a process belongs to, by its cgroup. Outside our namespace its pid is 0."""
        if not pid:
            return None
        if pid in self._pids:
            return self._pids[pid]
        path = process.cgroup_of(pid)
        for name in path.split("/"):
            if name in self.units:
                return name
        return None

    def wanted(self) -> set[str]:
        """The units that are wanted up."""
        return {name for name, state in self.states.items() if state.desired == life.UP}

    def replace(self, units: list[Unit]) -> None:
        """Run by these records from now on. A unit that is not among them is kept until it is down
        and ``retire`` is called.
        """
        leaving = [unit for name, unit in self.units.items() if self.states[name].is_alive]
        self.units.clear()
        self.units.update((unit.name, unit) for unit in units)
        for unit in leaving:
            self.units.setdefault(unit.name, unit)
        for name in [name for name in self.states if name not in self.units]:
            del self.states[name]
        for name in self.units:
            self.states.setdefault(name, State(name))
        self.order.relate()

    def retire(self, name: str) -> None:
        """Forget a unit that is down and no longer in the plan."""
        del self.units[name]
        del self.states[name]
        self.order.relate()

    def records(self) -> Iterator[Record]:
        """The states of all units that ever ran, made one by one: there may be thousands."""
        return (state.to_record() for state in self.states.values() if state.since)

    def _step(self, unit: Unit, state: State, event: Event) -> None:
        before, pid, due = state.state, state.pid, state.next_deadline
        actions = machine.step(unit, state, event, self._effects.now())
        if event.kind == life.PING:  # not worth a record: whoever takes over gives it a full period
            self._deadlines.arm(unit.name, state.next_deadline)
            return
        state.todo = actions or life.NOTHING
        write = self._journal.intend if life.SPAWN in actions else self._journal.unit
        write(state.to_record())
        if state.pid != pid:
            self._pids.pop(pid, None)
            if state.pid:
                self._pids[state.pid] = unit.name
        if state.next_deadline != due:
            self._deadlines.arm(unit.name, state.next_deadline)
        if state.state != before:
            self._entered(unit, state, before)
        for action in actions:
            self._perform(unit, state, action)
        if life.TERMINATE in actions or life.SIGNAL_RELOAD in actions:
            state.todo = life.NOTHING  # a second signal may mean something else
            self._journal.unit(state.to_record())

    def _entered(self, unit: Unit, state: State, before: str) -> None:
        if state.state not in (life.WAITING, life.ALLOCATING):
            self._effects.say(unit.name, ": ".join(filter(None, (state.state, state.reason))))
        self.order.entered(unit, state, before)
        self._watch_emptiness(unit, state)
        self._effects.changed(unit, state, before)

    def _watch_emptiness(self, unit: Unit, state: State) -> None:
        mainless = unit.type == plan.FORKING and state.is_alive and not state.pid
        mainless = mainless and state.state != life.STARTING
        (self._mainless.add if mainless else self._mainless.discard)(unit.name)
        if not self._effects.watch(unit.name, mainless or state.state == life.DRAINING):
            self.post(unit.name, Event(life.EMPTIED))

    def _find_main(self) -> None:
        """An orphan ended, perhaps a daemon's parent while PID 1 looked for the daemon."""
        for name in [name for name in self._mainless if not self.states[name].pid]:
            if main := deaths.main(self.units[name], self._cgroups, self._effects.is_probe):
                self.post(name, deaths.adopted(main))

    def _perform(self, unit: Unit, state: State, action: str) -> None:
        if action == life.SPAWN:
            self._spawn(unit, state)
        elif action == life.TERMINATE:
            for pid in [state.pid] if state.pid else self._cgroups.pids(unit.name):
                self._effects.signal(pid, unit.stop_signal)
        elif action == life.SIGNAL_RELOAD:
            self._effects.signal(state.pid, unit.reload_signal)
        elif action == life.KILL:
            self._cgroups.kill(unit.name)
            if state.pid:  # even when it moved itself out of its group
                self._effects.signal(state.pid, _SIGKILL)
        elif action == life.ALLOCATE:
            self._effects.allocate(unit, lambda event: self.tell(unit.name, event))
        elif action == life.RELEASE:
            self._effects.release(unit)
        elif action == life.EXHAUST:
            self._effects.exhausted(unit, state.reason)
        else:
            self._effects.isolate(unit.name, action)

    def _spawn(self, unit: Unit, state: State) -> None:
        self._spawned = True
        try:
            pid, started = self._effects.spawn(unit, state.gpu)
            event = Event(life.SPAWNED, pid=pid, started=started)
        except RefusedError as error:
            event = Event(life.DENIED, reason=str(error))
        except OSError as error:
            event = Event(life.NOT_SPAWNED, reason=f"cannot start: {error}")
        if event.kind != life.SPAWNED and (pid := self._journal.cell.value):
            event = _spawned(pid)  # what failed came after the fork
        self._step(unit, state, event)


def _spawned(pid: int) -> Event:
    return Event(life.SPAWNED, pid=pid, started=process.start_time(pid))
