"""What starts a unit besides the boot: a time, a first connection, a path, a device.

Leaves out how each is noticed: see ``timers``, ``sockets``, ``paths``, and ``ainit.devices`` for
devices, which a child looks for and reports.
"""

from __future__ import annotations

from .. import constants
from ..errors import RefusedError
from ..linux import files, kmsg, users
from ..linux.timerfd import ClockWatch
from ..policy import state as life
from ..policy.state import Event
from ..wire.codec import dumps
from . import loop
from .paths import Paths
from .sockets import Sockets
from .stamps import Stamps
from .timers import Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policy.plan import Plan, Unit
    from ..policy.state import State
    from .init import Init

_TIMER, _PATH = "timer ", "path "  # keys of the journal begin with these
_ON_THE_WAY = (life.WAITING, life.ALLOCATING, life.BACKOFF)


class Activation:
    """The triggers of all units."""

    def __init__(self, init: Init, plan_: Plan) -> None:
        self._init = init
        self._supervisor = init.supervisor
        kept = {**init.journal.of("socket"), **init.journal.of("listener")}
        self.sockets = Sockets(
            init.loop,
            init.journal,
            start=self._start,
            hold=self._hold,
            owner=owner_of,
            kept=kept,
            directory=constants.SOCKETS,
        )
        self.timers = Timers(
            start=self._start,
            running=self._running,
            wanted_at=self._wanted_at,
            say=init.logs.say,
            journal=init.journal.writer(_TIMER),
            stamps=Stamps(constants.TIMERS),
            seed=str(plan_.machine.get("hostname", "")),
        )
        self.paths = Paths(
            init.loop,
            start=self._start,
            hold=self._hold,
            running=self._running,
            wanted_at=self._wanted_at,
            say=init.logs.say,
            journal=init.journal.writer(_PATH),
        )
        self.timers.resume(init.journal.under(_TIMER))
        self.paths.resume(init.journal.under(_PATH))
        self._clock = ClockWatch()
        init.loop.add(self._clock.fileno(), loop.READ, lambda _: self._clock_was_set())
        init.loop.hook(self.timers.hook)
        init.loop.hook(self.paths.hook)

    def _clock_was_set(self) -> None:
        self._clock.was_set()  # the hook of the timers sees by how much

    def configure(self, units: Sequence[Unit]) -> None:
        """Trigger these units from now on, and no others."""
        self.sockets.retain({unit.name for unit in units})
        for unit in units:
            if unit.provides or unit.sockets:
                self._open(unit)
        self.timers.configure(units)
        self.paths.configure(units)
        wanted = {unit.name: list(unit.devices) for unit in units if unit.devices}
        files.replace(constants.DEVICES, dumps(wanted).encode())

    def changed(self, unit: Unit, state: State, before: str) -> None:
        """A unit is in another state than ``before``."""
        if state.state == life.STARTING:
            self.timers.started(unit.name, state.since)
        if unit.on_demand:
            if state.state in (life.INACTIVE, life.EXITED) and not self._init.shutdown.how:
                self.sockets.watch(unit)
            elif before in life.DOWN_STATES:
                self.sockets.unwatch(unit.name)
        if unit.paths and state.state in (life.INACTIVE, life.EXITED):
            if state.desired == life.UP:
                self.paths.exited(unit.name)
        elif unit.paths and state.state == life.STARTING:
            self.paths.release(unit.name)

    def inherited(self, unit: Unit) -> list[tuple[str, int]]:
        """The names and descriptors of a unit's sockets. Raises OSError or RefusedError."""
        if not (unit.provides or unit.sockets):
            return []
        descriptors, names = self.sockets.descriptors(unit)
        return list(zip(names, descriptors, strict=True))

    def _open(self, unit: Unit) -> None:
        try:
            self.sockets.open(unit)
        except (OSError, RefusedError) as error:
            self._init.logs.say(unit.name, f"its socket cannot be opened: {error}")
            kmsg.log(f"{unit.name}: its socket cannot be opened: {error}", kmsg.ERROR)
        state = self._supervisor.states[unit.name]
        if state.state == life.INACTIVE:
            self.sockets.watch(unit)

    def _running(self, name: str) -> bool:
        state = self._supervisor.states.get(name)
        return state is not None and (state.is_alive or state.state in _ON_THE_WAY)

    def _wanted_at(self, name: str) -> float:
        state = self._supervisor.states.get(name)
        return 0.0 if state is None else state.wanted_at

    def _start(self, name: str, why: str) -> None:
        state = self._supervisor.states.get(name)
        if state is not None and not self._init.shutdown.how and not state.quarantine:
            self._supervisor.want(name, life.START, why)

    def _hold(self, name: str, reason: str) -> None:
        self._supervisor.post(name, Event(life.HOLD, reason=reason))
        self._supervisor.run()


def owner_of(unit: Unit) -> tuple[int, int]:
    """The user and the group of a unit's processes. Raises OSError when there is no such user."""
    if unit.user_name:
        return users.user(unit.user_name)[:2]
    return unit.user, users.group(unit.group) if unit.group else unit.user
