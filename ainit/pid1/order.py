"""Who may go, and who must wait: dependencies, conflicts, the stages of the boot, and stopping.

Looks only at units that a change concerns. Leaves out what a unit does: see ``supervisor``.
"""

from __future__ import annotations

from ..policy import graph, health, plan
from ..policy import state as life
from ..policy.state import Event, State
from .relations import Relations, waits_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..policy.plan import Record, Unit
    from .effects import Effects
    from .journal import Journal

_ENOUGH = (*life.GOOD, life.QUARANTINED)  # the last is somebody's will, and no failure of the boot
MEASURE_DEADLINE_SECONDS = 900.0  # early units settle by their own deadlines well before


class Order:
    """``measured_at`` and ``healthy_at`` are when the boot set was closed and when every essential
    unit was up for the first time, 0 while that is to come. ``winding`` holds the units that are
    being stopped after those that depend on them, and whether they come back.
    """

    def __init__(
        self,
        units: Mapping[str, Unit],
        states: Mapping[str, State],
        effects: Effects,
        journal: Journal,
    ) -> None:
        self._units = units
        self._states = states
        self._effects = effects
        self._journal = journal
        self.blocked: dict[str, str] = {}  # what a unit waited for last
        self.rescue = False
        self.measured = False
        self.measured_at = 0.0
        self.healthy_at = 0.0
        self.stopping = False
        self.winding: dict[str, bool] = {}
        self._begun = effects.now()
        self.relate()

    def relate(self) -> None:
        """Look at every unit anew, for they are others than before."""
        self._relations = Relations(self._units)
        self.before, self.behind = self._relations.before, self._relations.behind
        self._look_anew()

    def _look_anew(self) -> None:
        self.blocked.clear()
        self._check = dict.fromkeys(self._units)
        self._wanting = {
            unit.name
            for unit in self._units.values()
            if unit.essential
            and unit.stage != plan.HEALTHY
            and unit.autostart
            and not unit.is_triggered
            and self._states[unit.name].state not in _ENOUGH
        }

    def to_record(self) -> Record:
        """What ``resume`` goes on from."""
        return {
            "rescue": self.rescue,
            "measured": self.measured,
            "measured_at": self.measured_at,
            "healthy_at": self.healthy_at,
            "stopping": self.stopping,
            "winding": self.winding,
            "begun": self._begun,
        }

    def resume(self) -> None:
        """Go on from the journal, and from what the states are now."""
        known = self._journal.values.get("order")
        if isinstance(known, dict):
            self.rescue = known["rescue"] is True
            self.measured = known["measured"] is True
            self.measured_at = float(known["measured_at"])
            self.healthy_at = float(known["healthy_at"])
            self.stopping = known["stopping"] is True
            self.winding = {str(name): again is True for name, again in known["winding"].items()}
            self._begun = float(known["begun"])
        self._look_anew()

    def begin(self, *, rescue: bool) -> None:
        """The boot begins; in rescue only the units that are meant for it may go."""
        self.rescue = rescue
        self._remember()

    def boot_set(self) -> list[str]:
        """The units that are to be started now; in rescue only those that are meant for it."""
        return self._relations.boot_set(rescue=self.rescue)

    def stop_all(self, *, survivors: bool) -> None:
        """Wind every unit down for good, or all but those that survive a soft reboot."""
        self.stopping = True
        for name, unit in self._units.items():
            if not (survivors and unit.survives):
                self.winding[name] = False
        self._check.update(dict.fromkeys(self.winding))
        self._remember()

    def entailed(self, name: str, kind: str, reason: str) -> list[tuple[str, Event]]:
        """The events that a wish for ``name`` comes to; none when the machine is going down."""
        if self.stopping:
            return []
        if kind == life.START:
            wanted = [name, *graph.pulled_in(self._units, name)]
            found = [
                (other, Event(life.START, reason=reason if other == name else f"for {name}"))
                for other in wanted
                if other == name or self._states[other].state not in life.GOOD
            ]
            self._unwind(*(other for other in wanted if other in self.winding))
            for other in wanted:
                for rival in self._relations.rivals.get(other, ()):
                    if rival not in wanted and self._is_wanted(rival):
                        found += self.entailed(rival, life.STOP, f"conflicts with {other}")
            return found
        if kind in (life.STOP, life.RESTART):
            others = [
                other
                for other in graph.stopped_with(self._units, name, self._relations.needed)
                if self._is_wanted(other) and not self._states[other].quarantine
            ]
            if others:
                again = kind == life.RESTART
                for other in (name, *others):
                    self.winding[other] = again
                self._check.update(dict.fromkeys(self.winding))
                self._remember()
                return []
            if name in self.winding:
                self._unwind(name)
        return [(name, Event(kind, reason=reason))]

    def entered(self, unit: Unit, state: State, before: str) -> None:
        """A unit is in another state than ``before``: look at those that it concerns."""
        name, rivals = unit.name, self._relations.rivals
        self.look_again((name, *self.behind.get(name, ()), *rivals.get(name, ())))
        if self.winding:
            self._check.update(dict.fromkeys(self.before.get(name, ())))
            self._check.update(dict.fromkeys(self._relations.last))
            if before == life.INACTIVE and self.winding.get(name):
                self._unwind(name)  # not before its start is in the journal
        if state.state in _ENOUGH:
            self._wanting.discard(name)

    def look_again(self, names: Iterable[str]) -> None:
        """Look at these units, too, when it is next decided who may go."""
        self._check.update(dict.fromkeys(names))

    def advance(self) -> list[tuple[str, Event]]:
        """The events that the present states allow."""
        if not self.measured and not self.rescue and not self.stopping and self._early_settled():
            self._effects.measure()
            self.measured = True
            self.measured_at = self._effects.now()
            self._check = dict.fromkeys(self._units)
            self._remember()
        posted: list[tuple[str, Event]] = []
        while self._check:
            check, self._check = self._check, {}
            for name in check:
                if name in self._states:
                    self._look_at(name, self._states[name], posted)
        if not posted and self.measured and not self.healthy_at and not self._wanting:
            self.healthy_at = self._effects.now()
            self._check = dict.fromkeys(self._units)
            self._remember()
            return self.advance()
        return posted

    def _look_at(self, name: str, state: State, posted: list[tuple[str, Event]]) -> None:
        if name in self.winding:
            self._wind(name, state, posted)
        elif state.state == life.WAITING:
            blocker = self._blocker(self._units[name])
            if blocker:
                state.reason = blocker
            else:
                posted.append((name, Event(life.GO)))
        elif state.is_alive and self._units[name].bound_to:
            self._bind(self._units[name], state, posted)

    @property
    def measure_deadline(self) -> float:
        """When the boot set is closed, come what may; 0 when it is closed."""
        closed = self.measured or self.rescue or self.stopping
        return 0.0 if closed else self._begun + MEASURE_DEADLINE_SECONDS

    @property
    def stopped(self) -> bool:
        """Whether the last unit that is to go down is down."""
        return all(self._states[name].is_stopped for name in self.winding if name in self._states)

    @property
    def settled(self) -> bool:
        """Whether every essential unit has come to rest, well or not."""
        return self.measured and all(self._at_rest(self._units[name]) for name in self._wanting)

    def findings(self) -> list[str]:
        """What keeps the machine from being healthy, in words."""
        return health.findings(self._units.values(), self._states)

    def _remember(self) -> None:
        self._journal.put("order", self.to_record())

    def _wind(self, name: str, state: State, posted: list[tuple[str, Event]]) -> None:
        if state.is_stopped:
            if self.stopping:
                return
            if state.quarantine or not self.winding[name]:
                self._unwind(name)
            elif not any(other in self.winding for other in self.before.get(name, ())):
                posted.append((name, Event(life.START, reason="restarted on request")))
            return
        held = any(
            not self._states[other].is_stopped
            for other in self.behind.get(name, ())
            if other in self.winding
        )
        last = self._relations.last
        if name in last and not held:
            others = [each for each in self.winding if each not in last and each in self._states]
            held = any(not self._states[each].is_stopped for each in others)
        settled = not state.is_alive or state.state == life.QUARANTINED
        if not held and (settled or (state.desired != life.DOWN and state.state != life.STOPPING)):
            posted.append((name, Event(life.STOP)))

    def _unwind(self, *names: str) -> None:
        """Some are down, or wanted again: those that start after them may come back."""
        for name in names:
            del self.winding[name]
            self._check.update(dict.fromkeys(self.behind.get(name, ())))
        if names:
            self._remember()

    def _is_wanted(self, name: str) -> bool:
        """Whether a unit is to be up now, or to come back."""
        return self._states[name].desired == life.UP or self.winding.get(name, False)

    def _bind(self, unit: Unit, state: State, posted: list[tuple[str, Event]]) -> None:
        for name in unit.bound_to:
            other = self._states.get(name)
            if other is not None and other.state not in life.GOOD and state.state != life.STOPPING:
                posted.append((unit.name, Event(life.RESTART, reason=f"{name} is {other.state}")))
                return

    def _at_rest(self, unit: Unit) -> bool:
        """Whether a unit stays as it is: a waiting one does when what it requires is held."""
        state = self._states[unit.name]
        if state.state == life.WAITING:
            return any(
                self._at_rest(self._units[name]) and self._states[name].state not in life.GOOD
                for name in (*unit.requires, *unit.bound_to)
                if name in self._units
            )
        return state.queued or state.state in life.SETTLED

    def _early_settled(self) -> bool:
        if self._effects.now() >= self._begun + MEASURE_DEADLINE_SECONDS:
            return True
        return all(self._at_rest(unit) for unit in self._relations.early)

    def _blocker(self, unit: Unit) -> str:
        """Why a waiting unit may not go yet; empty when it may."""
        if self.stopping:
            return "the machine is going down"
        if not self.rescue:
            if unit.stage != plan.EARLY and not self.measured:
                return "waits for the boot set to be measured"
            if unit.stage == plan.HEALTHY and not self.healthy_at:
                return "waits for the machine to be healthy"
        for name in self._relations.rivals.get(unit.name, ()):
            if not self._states[name].is_down:
                return f"waits for {name} to stop"
        names, last = self.before.get(unit.name, ()), self.blocked.get(unit.name, "")
        if last and (words := waits_for(unit, last, self._states[last])):
            return words  # most often it is still the same, or the next
        at = names.index(last) if last else 0
        for name in (*names[at:], *names[:at]):
            if words := waits_for(unit, name, self._states[name]):
                self.blocked[unit.name] = name
                return words
        return ""
