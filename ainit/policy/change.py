"""What another plan means for the units that run: start, stop, restart, or let it run.

A reload carries it out; ``ainitctl edit --dry-run`` shows it. PID 1 imports this.

>>> from .plan import SERVICE, Plan, Unit
>>> difference(Plan([], {}), Plan([Unit("a", SERVICE)], {}), set()).start
['a']
"""

from __future__ import annotations

from . import graph
from .plan import FIELDS, Plan, Unit, same

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .plan import Record

# Keys that take effect without a new process: PID 1 reads them when it next needs them, or writes
# them to the cgroup. Every other key is given to a process when it starts.
LIVE = frozenset(
    {
        "description", "configured_by", "stage", "autostart", "essential", "rescue", "survives",
        "stops_last",
        "after", "before", "requires", "wants", "bound_to", "conflicts",
        "restart", "success_status", "start_timeout", "stop_timeout", "stop_signal",
        "reload_signal", "backoff_first", "backoff_factor", "backoff_max", "backoff_limit",
        "backoff_jitter", "exhausted", "notify_access", "fd_store_max",
        "watchdog", "probe_exec", "probe_connect", "probe_varlink", "probe_interval",
        "probe_timeout", "probe_failures", "probe_readiness",
        "timer_calendar", "timer_boot", "timer_every", "timer_jitter", "timer_persistent",
        "on_demand", "paths", "devices",
        "memory_min", "memory_low", "memory_high", "memory_max", "memory_swap_max",
        "cpu_weight", "cpu_max", "cpus", "memory_nodes", "io_weight", "io_max", "pids_max",
        "memory_pressure", "memory_pressure_action", "log_ring", "log_persistent",
        "gpu_speeds", "gpu_priority", "gpu_estimate", "gpu_deadline", "gpu_owner", "gpu_resizable",
    }
)  # fmt: skip


class Change:
    """Names of units; each list in the order in which it is to be carried out.

    A unit of the new plan is in exactly one of ``start``, ``restart``, ``along``, ``refresh`` and
    ``unchanged``, unless it is in ``stop``, because a rival starts.
    """

    __slots__ = (
        "added",
        "along",
        "machine",
        "refresh",
        "removed",
        "restart",
        "start",
        "stop",
        "unchanged",
    )

    def __init__(self) -> None:
        self.start: list[str] = []
        self.stop: list[str] = []
        self.restart: list[str] = []
        self.along: list[str] = []  # unchanged ones that restart with what they need
        self.refresh: list[str] = []  # new settings, same process (or none)
        self.unchanged: list[str] = []
        self.added: list[str] = []
        self.removed: list[str] = []
        self.machine: list[str] = []  # keys of the machine configuration that differ

    @property
    def is_empty(self) -> bool:
        """Whether the plans are the same."""
        return not any(getattr(self, name) for name in self.__slots__ if name != "unchanged")

    def to_record(self) -> Record:
        """The JSON form: every list by its name."""
        return {name: getattr(self, name) for name in self.__slots__}


def difference(old: Plan, new: Plan, running: Collection[str]) -> Change:
    """What it takes to go from one plan to another.

    ``running`` holds the units that are wanted up, whether they are or not. A unit that somebody
    stopped stays down, unless it is new, or would not have been started before and would now.
    """
    change = Change()
    up = set(running)
    before = {unit.name: unit for unit in old.units}
    after = {unit.name: unit for unit in new.units}
    change.machine = sorted(
        key for key in {*old.machine, *new.machine} if old.machine.get(key) != new.machine.get(key)
    )
    change.added = [name for name in after if name not in before]
    change.removed = [name for name in before if name not in after]
    changed = {name: _changed(before[name], after[name]) for name in after if name in before}
    started = _started(before, after, up)
    left_out = {name for name, unit in after.items() if unit.is_unconfigured}
    stopped = up & (before.keys() - after.keys() | left_out | _pushed_out(after, started))
    restarted = {name for name, keys in changed.items() if keys - LIVE and name in up}
    restarted -= stopped
    change.start = [name for name in after if name in started]
    change.restart = [name for name in after if name in restarted]
    change.stop = [name for name in reversed(before) if name in stopped]
    needed = graph.needed_by(new.units)
    along = {each for name in change.restart for each in graph.stopped_with(after, name, needed)}
    acted = started | restarted | stopped
    for name in after:
        if name in acted:
            continue
        if name in along and name in up:
            change.along.append(name)
        elif name not in before or changed[name]:
            change.refresh.append(name)
        else:
            change.unchanged.append(name)
    return change


def _changed(old: Unit, new: Unit) -> set[str]:
    """The fields that differ, ``kind`` among them."""
    given = FIELDS & (old.__dict__.keys() | new.__dict__.keys())
    keys = {key for key in given if not same(getattr(old, key), getattr(new, key))}
    return keys | ({"kind"} if old.kind != new.kind else set())


def _started(before: dict[str, Unit], after: dict[str, Unit], running: set[str]) -> set[str]:
    """The units that are down and are to be up: wanted by the plan, or newly pulled in."""
    roots = [
        name
        for name, unit in after.items()
        if name not in running
        and _at_boot(unit)
        and not (name in before and _at_boot(before[name]))
    ]
    for name in running:
        if name in after:
            known = set(_pulls(before[name])) if name in before else set()
            roots += [each for each in _pulls(after[name]) if each in after and each not in known]
    return {*roots, *graph.pulled_in(after, *dict.fromkeys(roots))} - running


def _at_boot(unit: Unit) -> bool:
    return unit.autostart and not unit.is_triggered


def _pulls(unit: Unit) -> Iterable[str]:
    return (*unit.requires, *unit.wants, *unit.bound_to)


def _pushed_out(units: dict[str, Unit], started: set[str]) -> set[str]:
    """The rivals of units that start."""
    rivals = graph.rivals(units.values())
    return {rival for name in started for rival in rivals.get(name, ()) if rival not in started}
