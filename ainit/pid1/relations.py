"""How the units of a plan hang together, worked out once for as long as the plan is in force.

Leaves out what follows from it: see ``order``.
"""

from __future__ import annotations

from ..policy import graph, plan
from ..policy import state as life

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..policy.plan import Unit
    from ..policy.state import State


class Relations:
    """``before`` holds what a unit starts after and ``behind`` the other way round, ``needed`` who
    requires it, ``rivals`` what it conflicts with; units that have none are left out. ``early`` are
    the units before the boot set is closed, ``last`` the names of those that stop last.
    """

    __slots__ = ("_units", "before", "behind", "early", "last", "needed", "rivals")

    def __init__(self, units: Mapping[str, Unit]) -> None:
        self._units = units
        before = graph.predecessors(units.values())
        behind = graph.dependents(before)
        self.before = {name: tuple(names) for name, names in before.items() if names}
        self.behind = {name: tuple(names) for name, names in behind.items() if names}
        self.needed = graph.needed_by(units.values())
        self.rivals = graph.rivals(units.values())
        self.early = [unit for unit in units.values() if unit.stage == plan.EARLY]
        self.last = {name for name, unit in units.items() if unit.stops_last}
        pending = [*self.last]
        while pending:  # what these start after stops after them, and so is last as well
            for name in self.before.get(pending.pop(), ()):
                if name not in self.last:
                    self.last.add(name)
                    pending.append(name)

    def boot_set(self, *, rescue: bool) -> list[str]:
        """The units that start with the machine, and those that they pull in; in rescue only those
        that are meant for it.
        """
        units = self._units
        if rescue:
            return [name for name, unit in units.items() if unit.rescue]
        wanted = {
            name: None for name, unit in units.items() if unit.autostart and not unit.is_triggered
        }
        for name in list(wanted):
            unit = units[name]
            if unit.requires or unit.wants or unit.bound_to:
                wanted.update(dict.fromkeys(graph.pulled_in(units, name)))
        return [name for name in units if name in wanted]


def waits_for(unit: Unit, name: str, state: State) -> str:
    """Why a unit may not start while ``name``, which it starts after, is in ``state``; empty when
    it may.
    """
    demanded = name in unit.requires or name in unit.bound_to
    if demanded:
        return "" if state.state in life.GOOD else f"waits for {name}, which is {state.state}"
    return "" if state.state in life.SETTLED else f"waits for {name}"
