"""What the death of a unit's main process means, as far as the kernel tells."""

from __future__ import annotations

from ..linux import process
from ..policy import plan, resources
from ..policy import state as life
from ..policy.state import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..linux.cgroup import Tree
    from ..policy.plan import Unit
    from ..policy.state import State

_SIGKILL = 9


def event(
    unit: Unit,
    state: State,
    pid: int,
    status: int,
    cgroups: Tree,
    is_probe: Callable[[int], bool],
) -> Event:
    """The EXIT of the main process ``pid``. Of a forking unit that comes up, with the one process
    that it left and PID 1 adopted, if it is one: that is the main one from now on. A daemon forks
    twice, so the first that is adopted is often not the last.
    """
    reason = process.describe(status)
    if status == -_SIGKILL:
        reason = resources.out_of_memory(unit, cgroups.new_oom_kills(unit.name)) or reason
    found = Event(life.EXIT, pid=pid, status=status, reason=reason)
    found.left = cgroups.populated(unit.name)
    if found.left and unit.type == plan.FORKING and state.state in (life.STARTING, life.READY):
        adopted = [
            one for one in cgroups.pids(unit.name) if process.parent(one) == 1 and not is_probe(one)
        ]
        if len(adopted) == 1:
            found.main = adopted[0]
            found.started = process.start_time(adopted[0])
    return found
