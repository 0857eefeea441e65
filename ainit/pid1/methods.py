"""What ``org.ainos.Control`` answers about the machine and its units, and what it starts and stops.

Logs and accounts are answered by ``log_methods`` and ``resources``, changes of the configuration by
``changes``.
"""

from __future__ import annotations

from .. import __version__
from ..errors import RefusedError
from ..linux import process
from ..policy import state as life
from ..policy.state import Event
from ..wire.protocol import VarlinkError
from . import loop, reset, shutdown
from .control import INTERFACE, Client, Control
from .facts import REQUESTED
from .log_methods import LogMethods
from .relay import why_unanswered
from .resources import Accounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..policy.plan import Plan
    from ..wire.protocol import Call
    from .init import Init


_ACCOUNT = (
    "memory_bytes",
    "memory_peak_bytes",
    "cpu_usec",
    "pids",
    "io_read_bytes",
    "io_write_bytes",
    "oom_kills",
)


class Methods:
    """The methods, bound to the parts that know the answers."""

    def __init__(self, init: Init, plan: Plan) -> None:
        self._init = init
        self.hostname = str(plan.machine.get("hostname", ""))
        self._supervisor = init.supervisor
        self._lines = LogMethods(init.logs, init.supervisor.units, init.loop)
        self.accounts = Accounts(init.cgroups, loop.now)
        self.control: Control | None = None

    def table(self) -> dict[str, Callable[[Client, Call], Mapping[str, object] | None]]:
        """Method name → handler."""
        init, supervisor = self._init, self._supervisor
        return {
            "Status": self._status,
            "Describe": lambda client, call: {"unit": self._described(self._named(call))},
            "Accounting": lambda client, call: self.accounts.answer(supervisor.states, call),
            "Start": lambda client, call: self._want(call, life.START, "started on request"),
            "Stop": lambda client, call: self._want(call, life.STOP, ""),
            "Restart": lambda client, call: self._want(call, life.RESTART, ""),
            "ReloadUnit": self._reload_unit,
            "Revoke": self._revoke,
            "Trigger": lambda client, call: self._want(call, life.START, call.text("reason")),
            "HandModel": self._hand_model,
            "Logs": lambda client, call: self._lines.read(self.control, client, call),
            "Measurements": lambda client, call: {
                "records": init.measurements.records,
                "pcrs": init.measurements.pcrs(),
            },
            "Shutdown": lambda client, call: self._go_down(shutdown.POWER_OFF),
            "Reboot": lambda client, call: self._go_down(shutdown.REBOOT),
            "Halt": lambda client, call: self._go_down(shutdown.HALT),
            "Kexec": lambda client, call: self._go_down(shutdown.KEXEC),
            "SoftReboot": lambda client, call: self._go_down(shutdown.SOFT_REBOOT),
            "Reexec": self._reexec,
            "Reset": lambda client, call: reset.ask(init, client, call),
        }

    def health(self) -> tuple[str, list[str]]:
        """``starting``, ``healthy``, ``degraded`` or ``refused``, and what is in the way."""
        order, problems = self._supervisor.order, self._init.facts.problems
        if order.rescue:
            return "refused", list(problems)
        findings = [*problems, *order.findings(), *self._init.health.findings()]
        if not order.settled:
            return "starting", findings
        return ("degraded" if findings else "healthy"), findings

    def _status(self, client: Client, call: Call) -> None:
        """The answer is written unit by unit: with thousands it would take PID 1 many times what
        it needs besides, and an allocator does not give that back.
        """
        health, findings = self.health()
        facts = self._init.facts
        answer: dict[str, object] = {
            "machine": {
                "hostname": self.hostname,
                "version": __version__,
                "health": health,
                "findings": findings,
                "secure_boot": facts.secure_boot,
                "tpm": self._init.measurements.tpm_state,
                "enforcement": self._init.enforcement.state,
                "root": facts.root,
                "state": facts.state,
                "configuration": facts.configuration,
                "uptime": round(loop.now(), 3),
                "peak_bytes": process.peak_memory(),
                "faults": facts.faults,
                "last_fault": facts.last_fault or None,
            },
            "phases": self._phases(),
        }
        units = (self._unit(name) for name in sorted(self._supervisor.units))
        self._init.control.send_list(client, call, answer, "units", units)

    def _phases(self) -> list[dict[str, object]]:
        """How long each phase of the boot took, as far as it is known by now."""
        facts, order = self._init.facts, self._supervisor.order
        found: list[tuple[str, float]] = []
        if facts.loader is not None:
            found += zip(("firmware", "loader"), facts.loader, strict=True)
        found.append(("kernel", facts.started))
        if order.measured_at:
            found.append(("ainit", order.measured_at - facts.started))
        if order.healthy_at:
            found.append(("agents", order.healthy_at - order.measured_at))
        return [{"name": name, "seconds": round(seconds, 3)} for name, seconds in found]

    def _unit(self, name: str) -> dict[str, object]:
        unit, state = self._supervisor.units[name], self._supervisor.states[name]
        gpu = state.gpu or {}
        return {
            "name": name,
            "kind": unit.kind,
            "type": unit.type,
            "description": unit.description,
            "state": state.state,
            "desired": state.desired,
            "essential": unit.essential,
            "reason": state.reason,
            "status_text": state.text or None,
            "pid": state.pid or None,
            "restarts": state.restarts,
            "since": round(state.since, 3),
            "wanted_at": round(state.wanted_at, 3) or None,
            "spawned_at": round(state.spawned_at, 3) or None,
            "ready_at": round(state.ready_at, 3) or None,
            "blocked_by": self._supervisor.order.blocked.get(name, ""),
            "after": list(self._supervisor.order.before.get(name, ())),
            "trigger": state.trigger or None,
            "watchdog_s": state.watchdog or None,
            "quarantine": self._init.quarantines.of(name),
            "log_dropped": self._init.logs.dropped(name),
            "denied_opens": self._init.enforcement.denied(name) or None,
            "provides": list(unit.provides),
            "models": [*unit.models, *unit.optional_models],
            "gpu": {"profile": unit.gpu_profile, "uuid": gpu.get("uuid"), "gpu": gpu.get("gpu")}
            if unit.gpu_profile
            else None,
            "memory_bytes": self._init.cgroups.memory(name) if state.is_alive else None,
        }

    def _described(self, name: str) -> dict[str, object]:
        """The same with its account, which costs more than a list of thousands should."""
        state = self._supervisor.states[name]
        account = self.accounts.of(state)[1] if state.is_alive else {}
        return {**self._unit(name), **{key: account.get(key) for key in _ACCOUNT}}

    def _named(self, call: Call) -> str:
        name = call.text("name")
        if name not in self._supervisor.units:
            raise VarlinkError(f"{INTERFACE}.NoSuchUnit", {"name": name})
        return name

    def _want(self, call: Call, kind: str, reason: str) -> Mapping[str, object]:
        name = self._named(call)
        if self._init.shutdown.how:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": "the machine is going down"})
        if self._supervisor.order.rescue and not self._supervisor.units[name].rescue:
            why = "the machine is refused: " + "; ".join(self._init.facts.problems)
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": why})
        state = self._supervisor.states[name]
        if state.quarantine and kind != life.STOP:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": why_unanswered(state)})
        self._supervisor.want(name, kind, reason)
        return {}

    def _reload_unit(self, client: Client, call: Call) -> Mapping[str, object]:
        unit = self._supervisor.units[self._named(call)]
        if not unit.reload_signal:
            reason = f"{unit.name} cannot reload: it has no reload_signal"
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})
        return self._want(call, life.RELOAD, "")

    def _revoke(self, client: Client, call: Call) -> Mapping[str, object]:
        event = Event(life.REVOKED, reason=call.text("reason"), gpu={"uuid": call.text("uuid")})
        self._supervisor.post(self._named(call), event)
        self._supervisor.run()
        return {}

    def _hand_model(self, client: Client, call: Call) -> Mapping[str, object]:
        unit, model = self._supervisor.units[self._named(call)], call.text("model")
        if not self._supervisor.states[unit.name].is_alive:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": f"{unit.name} is down"})
        try:
            return {"path": self._init.artefacts.hand_over(unit, model)}
        except (RefusedError, OSError) as error:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": f"{model}: {error}"}) from error

    def _go_down(self, how: str) -> Mapping[str, object]:
        if how == shutdown.KEXEC and not _kernel_is_loaded():
            reason = "no kernel was loaded to execute: `kexec -l` or kexec_file_load(2) does that"
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})
        self._init.shutdown.begin(how)
        return {}

    def _reexec(self, client: Client, call: Call) -> Mapping[str, object]:
        self._init.reexec(f"{REQUESTED} by user {client.uid}")
        return {}


def _kernel_is_loaded() -> bool:
    """Whether kexec has a kernel to execute."""
    try:
        with open("/sys/kernel/kexec_loaded", encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False
