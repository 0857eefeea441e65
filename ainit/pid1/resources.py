"""What PID 1 does about resources while units run: memory pressure, and accounts on demand.

Leaves out limits, which are set when a unit is started: see ``linux.cgroup``. Descriptors are not
kept over a re-exec: whoever resumes calls ``Pressure.watch`` for what runs.

    pressure = Pressure(events, tree, act)
    pressure.watch(unit)                      # when it was spawned
    pressure.unwatch(unit.name)               # when it stopped
"""

from __future__ import annotations

import os

from ..linux import accounts
from ..linux import pressure as stalls
from ..policy import plan, resources
from ..wire import protocol
from ..wire.protocol import VarlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..linux.accounts import Account
    from ..linux.cgroup import Tree
    from ..policy.plan import Unit
    from ..policy.state import State
    from ..wire.protocol import Call
    from .loop import Loop

    # Unit (empty: the machine), one of ``plan.PRESSURE_ACTIONS``, and why in words.
    Act = Callable[[str, str, str], None]

MACHINE = ""
MACHINE_PERCENT = 40.0
PAGE = 100
CACHE_SECONDS = 1.0


class Pressure:
    """Watches the memory pressure of those units that ask for it, and of the machine.

    ``act`` is called at most once in ten seconds for each. What cannot be watched is a finding, and
    the unit runs all the same.
    """

    def __init__(
        self, events: Loop, tree: Tree, act: Act, *, machine_path: str = stalls.MACHINE
    ) -> None:
        self._events = events
        self._tree = tree
        self._act = act
        self._machine_path = machine_path
        self._triggers: dict[str, int] = {}
        self._problems: dict[str, str] = {}

    def watch(self, unit: Unit) -> None:
        """Begin with a unit that was spawned; again is the same. Nothing if it does not ask."""
        self.unwatch(unit.name)
        if unit.memory_pressure:
            path = self._tree.pressure_path(unit.name)
            self._open(unit.name, path, unit.memory_pressure, unit.memory_pressure_action)

    def watch_machine(self, percent: float = MACHINE_PERCENT) -> None:
        """Have the pressure on the whole machine told, as the unit with the empty name."""
        self.unwatch(MACHINE)
        self._open(MACHINE, self._machine_path, percent, plan.LOG)

    def unwatch(self, name: str) -> None:
        """End with a unit that is down; one that is not watched is no error."""
        self._problems.pop(name, None)
        descriptor = self._triggers.pop(name, -1)
        if descriptor >= 0:
            self._events.remove(descriptor)
            os.close(descriptor)

    def findings(self) -> list[str]:
        """What is not watched although it was asked for, and why."""
        return [
            f"{name or 'the machine'}: memory pressure is not watched: {problem}"
            for name, problem in self._problems.items()
        ]

    def _open(self, name: str, path: str, percent: float, action: str) -> None:
        try:
            descriptor = stalls.open_trigger(path, resources.pressure_trigger(percent))
        except OSError as error:
            self._problems[name] = str(error)
            return

        def on_event(events: int) -> None:
            if events & stalls.GONE:
                self.unwatch(name)  # the group was removed
                return
            words = resources.under_pressure(percent, stalls.average(path))
            self._act(name, action, words)

        self._triggers[name] = descriptor
        self._events.add(descriptor, stalls.PRESSED, on_event)


class Accounts:
    """Accounts of units, read when asked for, and at most once a second each while nothing becomes
    of them: what is said of a unit and its account belong together.
    """

    def __init__(self, tree: Tree, now: Callable[[], float]) -> None:
        self._tree = tree
        self._now = now
        # When it was read, of which life, and its values.
        self._cache: dict[str, tuple[float, tuple[str, int], tuple[int | float | None, ...]]] = {}

    def of(self, state: State) -> tuple[float, Account]:
        """When the account of a unit was read, in seconds since boot, and the account."""
        life = (state.state, state.pid)
        found = self._cache.get(state.name)
        if found is None or found[1] != life or self._now() >= found[0] + CACHE_SECONDS:
            account = self._tree.accounting(state.name)
            found = self._cache[state.name] = (self._now(), life, tuple(account.values()))
        return found[0], dict(zip(accounts.NOTHING, found[2], strict=True))

    def forget(self) -> None:
        """Let go of what is too old to be answered."""
        oldest = self._now() - CACHE_SECONDS
        self._cache = {name: kept for name, kept in self._cache.items() if kept[0] > oldest}

    def answer(self, states: Mapping[str, State], call: Call) -> dict[str, object]:
        """The parameters of the reply to ``org.ainos.Control.Accounting``.

        A page of at most 100 units: those of ``names``, or in the order of names those that follow
        ``after``. Raises VarlinkError.
        """
        names = _names(call)
        following = None
        if names is None:
            start = call.optional_text("after") or ""
            left = sorted(name for name in states if name > start)
            names = left[:PAGE]
            following = names[-1] if len(left) > PAGE else None
        self.forget()
        return {
            "units": [self._record(states[name]) for name in names if name in states],
            "time": self._now(),
            "next": following,
        }

    def _record(self, state: State) -> dict[str, object]:
        time, account = self.of(state)
        return {
            "name": state.name,
            "state": state.state,
            "restarts": state.restarts,
            "time": time,
            **account,
        }


def _names(call: Call) -> list[str] | None:
    """The parameter ``names``; None when it is absent or null."""
    names = call.parameters.get("names")
    if names is None:
        return None
    if (
        not isinstance(names, list)
        or len(names) > PAGE
        or not all(isinstance(name, str) for name in names)
    ):
        raise VarlinkError(protocol.INVALID_PARAMETER, {"parameter": "names"})
    return names
