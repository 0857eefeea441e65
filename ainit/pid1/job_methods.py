"""Jobs: ``Run``, ``Jobs`` and ``CancelJob`` of ``org.ainos.Control``, and when they are forgotten.

A job is a unit like others once it is there: it waits for its GPU instance in ``allocating``, its
process is started by the one path that measures first, and what ends it is decided by the machine
of states. What the GPU service says about the queue is in the unit's reason.
"""

from __future__ import annotations

from ..linux import kmsg
from ..policy import jobs
from ..policy import state as life
from ..wire.protocol import INVALID_PARAMETER, VarlinkError
from . import loop
from .control import INTERFACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..policy.plan import Record, Unit
    from ..policy.state import State
    from ..wire.protocol import Call
    from .control import Client
    from .init import Init

LIVE_MAX = 256  # jobs that wait or run
KEPT = 32  # jobs that have ended, and whose end can still be asked for
MEASURED_MAX = 4096  # different jobs a boot: each is a record of the log
_OWNER_MAX = 64


class JobMethods:
    """The methods, and what hangs on the states of jobs."""

    def __init__(self, init: Init) -> None:
        self._init = init
        self._ended: list[str] = []
        init.loop.hook(self._forget_oldest)

    def resume(self) -> None:
        """Start what a former PID 1 was about to start."""
        supervisor = self._init.supervisor
        for name in self._init.job_units.units:
            state = supervisor.states[name]
            if not state.since:
                supervisor.want(name, life.START, "a job")
            elif _is_over(state):
                self._ended.append(name)

    def table(self) -> dict[str, Callable[[Client, Call], Mapping[str, object] | None]]:
        """Method name → handler."""
        return {"Run": self._run, "Jobs": self._jobs, "CancelJob": self._cancel}

    def changed(self, state: State) -> None:
        """A unit, perhaps a job, is in another state."""
        if not state.name.endswith(jobs.SUFFIX):
            return
        if not _is_over(state):
            if state.name in self._ended:
                self._ended.remove(state.name)  # somebody had it started once more
        elif state.name not in self._ended:
            self._ended.append(state.name)

    def _run(self, client: Client, call: Call) -> Mapping[str, object]:
        init, units = self._init, self._init.job_units
        if init.shutdown.how or init.supervisor.order.rescue:
            raise _refused("not in this state")
        if len(units.units) - len(self._ended) >= LIVE_MAX:
            raise _refused(f"there are {LIVE_MAX} jobs already")
        given = call.parameters
        name = call.optional_text("name") or str(units.count + 1)
        unit, findings = jobs.job(given, name, self._free_user())
        if unit.name in init.supervisor.units:
            if unit.name not in self._ended:
                findings.append(f"there is a {unit.name} already")
            elif not findings:
                self._forget(unit.name)
        owner = call.optional_text("owner") or f"user-{client.uid}"
        if len(owner) > _OWNER_MAX or not owner.isprintable():
            findings.append("owner is a name")
        within = given.get("deadline_s") or 0
        if isinstance(within, bool) or not isinstance(within, int | float) or within < 0:
            findings.append("deadline_s is a number of seconds from now")
            within = 0
        if findings:
            raise _refused("; ".join(findings))
        unit.gpu_owner = owner
        unit.gpu_deadline = loop.now() + within if within else 0.0
        if provider := init.providers.get("org.ainos.Gpu"):
            unit.after = [provider]
        self._measure(unit)
        units.add(unit)
        init.supervisor.replace([*init.supervisor.units.values(), unit])
        init.say(unit.name, f"asked for by {owner}: {' '.join(unit.exec)}")
        init.supervisor.want(unit.name, life.START, f"asked for by {owner}")
        return {"name": unit.name}

    def _measure(self, unit: Unit) -> None:
        measurements = self._init.measurements
        if len(measurements.records) >= MEASURED_MAX:
            raise _refused("the log of measurements has no room for another job in this boot")
        measurements.add(jobs.event(unit))

    def _free_user(self) -> int:
        """A user that no unit has, and that was not a job's for as long as possible."""
        taken = {unit.user for unit in self._init.supervisor.units.values()}
        first = self._init.job_units.count
        users = (jobs.UID_FIRST + (first + step) % jobs.UIDS for step in range(jobs.UIDS))
        return next(user for user in users if user not in taken)

    def _jobs(self, client: Client, call: Call) -> Mapping[str, object]:
        wanted = call.optional_text("name")
        if wanted is not None and wanted not in self._init.job_units.units:
            raise VarlinkError(f"{INTERFACE}.NoSuchUnit", {"name": wanted})
        units = self._init.job_units.units
        return {"jobs": [self._job(units[name]) for name in units if wanted in (None, name)]}

    def _job(self, unit: Unit) -> Record:
        state = self._init.supervisor.states[unit.name]
        over = _is_over(state)
        ran = over and state.spawned_at > 0
        gpu = state.gpu or {}
        return {
            "name": unit.name,
            "command": list(unit.exec),
            "owner": unit.gpu_owner,
            "profiles": list(unit.gpu_profiles),
            "priority": unit.gpu_priority,
            "estimate_s": unit.gpu_estimate or None,
            "deadline": unit.gpu_deadline or None,
            "state": state.state,
            "reason": state.reason,
            "over": over,
            "submitted": round(state.wanted_at, 3),
            "started": round(state.spawned_at, 3) or None,
            "ended": round(state.since, 3) if over else None,
            "exit_status": state.status if ran else None,
            "gpu": gpu.get("gpu"),
            "profile": gpu.get("profile"),
        }

    def _cancel(self, client: Client, call: Call) -> Mapping[str, object]:
        name = call.text("name")
        if not name:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "name"})
        if name not in self._init.job_units.units:
            raise VarlinkError(f"{INTERFACE}.NoSuchUnit", {"name": name})
        if name not in self._ended:
            self._init.supervisor.want(name, life.STOP, f"cancelled by user {client.uid}")
        return {}

    def _forget_oldest(self, now: float) -> float:
        while len(self._ended) > KEPT:
            self._forget(self._ended[0])
        return 0.0

    def _forget(self, name: str) -> None:
        init = self._init
        self._ended.remove(name)
        init.job_units.remove(name)
        init.supervisor.retire(name)
        init.logs.forget(name)
        if not init.cgroups.remove(name):
            kmsg.log(f"{name}: its group cannot be removed", kmsg.WARNING)


def _is_over(state: State) -> bool:
    return state.state in life.DOWN_STATES and state.since > 0


def _refused(reason: str) -> VarlinkError:
    return VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})
