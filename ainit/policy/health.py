"""Whether the machine is as its plan wants it, from the states of its units."""

from __future__ import annotations

from . import state as life

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .plan import Unit
    from .state import State


def findings(units: Iterable[Unit], states: Mapping[str, State]) -> list[str]:
    """What keeps the machine from being healthy, in words: essential units that are not up although
    they are wanted, and what units that are up say themselves. One that waits for its trigger is as
    it should be.

    >>> from .plan import SERVICE, Unit
    >>> findings([Unit("a", SERVICE)], {"a": life.State("a")})
    ['a is inactive']
    """
    found = []
    for unit in units:
        state = states[unit.name]
        if state.findings and state.is_alive:
            found.append(f"{unit.name}: {state.findings}")
        if not unit.essential:
            continue
        expected = state.desired == life.UP or (unit.autostart and not unit.is_triggered)
        idle = unit.is_triggered and state.state in (life.INACTIVE, life.WAITING)
        if expected and not idle and state.state not in life.GOOD:
            detail = f": {state.reason}" if state.reason else ""
            found.append(f"{unit.name} is {state.state}{detail}")
    return found
