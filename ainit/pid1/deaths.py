"""Main processes: what the death of one means, and which is one, as far as the kernel tells."""

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
        found.main = main(unit, cgroups, is_probe)
        if found.main:
            found.started = process.start_time(found.main)
    return found


def main(unit: Unit, cgroups: Tree, is_probe: Callable[[int], bool]) -> int:
    """The one process of a unit that PID 1 adopted; 0 when there are more, or none. Not one look:
    a parent that ends meanwhile may count beside its child, or its child not yet.
    """
    pids = cgroups.pids(unit.name)
    adopted = [pid for pid in pids if process.parent(pid) == 1 and not is_probe(pid)]
    return adopted[0] if len(adopted) == 1 else 0


def adopted(pid: int) -> Event:
    """This child of PID 1 is the main process from now on."""
    return Event(life.MAIN_PID, pid=pid, started=process.start_time(pid))
