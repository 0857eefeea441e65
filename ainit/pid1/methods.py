"""What ``org.ainos.Control`` answers: the machine, its units, its logs, its measurements."""

from __future__ import annotations

from .. import __version__
from ..linux import process
from ..policy import machine
from ..policy.machine import Event
from ..wire import protocol
from ..wire.protocol import VarlinkError
from . import loop
from .control import INTERFACE, Client, Control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..linux.cgroup import Tree
    from ..policy.plan import Plan
    from ..wire.protocol import Call
    from .logs import Line, Logs
    from .measure import Measurements
    from .supervisor import Supervisor

_LINES_MAX = 10_000
POWER_OFF = "power-off"
REBOOT = "reboot"


class Facts:
    """What ``main`` found out about the machine on the way up. Times in seconds since boot."""

    __slots__ = ("configuration", "loader", "problems", "root", "secure_boot", "started", "state")

    def __init__(self) -> None:
        self.started = 0.0
        self.root = ""
        self.state = ""
        self.configuration = ""
        self.secure_boot = "unknown"
        self.loader: tuple[float, float] | None = None  # seconds in the firmware, in the loader
        self.problems: list[str] = []


class Methods:
    """The methods, bound to the parts that know the answers. ``end`` begins a shutdown."""

    def __init__(
        self,
        plan: Plan,
        facts: Facts,
        supervisor: Supervisor,
        measurements: Measurements,
        logs: Logs,
        cgroups: Tree,
        events: loop.Loop,
        end: Callable[[str], None],
    ) -> None:
        self._events = events
        self._plan = plan
        self._facts = facts
        self._supervisor = supervisor
        self._measurements = measurements
        self._logs = logs
        self._cgroups = cgroups
        self._end = end
        self.control: Control | None = None

    def table(self) -> dict[str, Callable[[Client, Call], Mapping[str, object] | None]]:
        """Method name → handler."""
        return {
            "Status": self._status,
            "Describe": lambda client, call: {"unit": self._unit(self._named(call))},
            "Start": lambda client, call: self._post(call, machine.START),
            "Stop": lambda client, call: self._post(call, machine.STOP),
            "Restart": lambda client, call: self._post(call, machine.RESTART),
            "Logs": self._read_logs,
            "Measurements": lambda client, call: {
                "records": self._measurements.records,
                "pcrs": self._measurements.pcrs(),
            },
            "Shutdown": lambda client, call: self._finish(POWER_OFF),
            "Reboot": lambda client, call: self._finish(REBOOT),
        }

    def health(self) -> tuple[str, list[str]]:
        """``starting``, ``healthy``, ``degraded`` or ``refused``, and what is in the way."""
        if self._supervisor.rescue:
            return "refused", list(self._facts.problems)
        findings = [*self._facts.problems, *self._supervisor.findings()]
        if not self._supervisor.settled:
            return "starting", findings
        return ("degraded" if findings else "healthy"), findings

    def _status(self, client: Client, call: Call) -> Mapping[str, object]:
        health, findings = self.health()
        return {
            "machine": {
                "hostname": str(self._plan.machine.get("hostname", "")),
                "version": __version__,
                "health": health,
                "findings": findings,
                "secure_boot": self._facts.secure_boot,
                "tpm": self._measurements.tpm_state,
                "root": self._facts.root,
                "state": self._facts.state,
                "configuration": self._facts.configuration,
                "uptime": round(loop.now(), 3),
                "peak_bytes": process.peak_memory(),
                "faults": self._events.faults,
            },
            "phases": self._phases(),
            "units": [self._unit(name) for name in sorted(self._supervisor.units)],
        }

    def _phases(self) -> list[dict[str, object]]:
        """How long each phase of the boot took, as far as it is known by now."""
        measured, healthy = self._supervisor.measured_at, self._supervisor.healthy_at
        found: list[tuple[str, float]] = []
        if self._facts.loader is not None:
            found += zip(("firmware", "loader"), self._facts.loader, strict=True)
        found.append(("kernel", self._facts.started))
        if measured:
            found.append(("ainit", measured - self._facts.started))
        if healthy:
            found.append(("agents", healthy - measured))
        return [{"name": name, "seconds": round(seconds, 3)} for name, seconds in found]

    def _unit(self, name: str) -> dict[str, object]:
        unit, state = self._supervisor.units[name], self._supervisor.states[name]
        gpu = state.gpu or {}
        return {
            "name": name,
            "kind": unit.kind,
            "description": unit.description,
            "state": state.state,
            "desired": state.desired,
            "essential": unit.essential,
            "reason": state.reason,
            "pid": state.pid or None,
            "restarts": state.restarts,
            "since": round(state.since, 3),
            "ready_at": round(state.ready_at, 3) if state.state == machine.READY else None,
            "memory_bytes": self._cgroups.memory(name) if state.pid else None,
            "provides": unit.provides,
            "models": [*unit.models, *unit.optional_models],
            "gpu": {"profile": unit.gpu_profile, "uuid": gpu.get("uuid"), "gpu": gpu.get("gpu")}
            if unit.gpu_profile
            else None,
        }

    def _named(self, call: Call) -> str:
        name = call.text("name")
        if name not in self._supervisor.units:
            raise VarlinkError(f"{INTERFACE}.NoSuchUnit", {"name": name})
        return name

    def _post(self, call: Call, kind: str) -> Mapping[str, object]:
        name = self._named(call)
        if self._supervisor.stopping:
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": "the machine is going down"})
        if self._supervisor.rescue and not self._supervisor.units[name].rescue:
            reason = "the machine is refused: " + "; ".join(self._facts.problems)
            raise VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})
        self._supervisor.post(name, Event(kind))
        self._supervisor.run()
        return {}

    def _finish(self, how: str) -> Mapping[str, object]:
        self._end(how)
        return {}

    def _read_logs(self, client: Client, call: Call) -> Mapping[str, object] | None:
        unit = call.optional_text("unit")
        if unit is not None and unit not in self._supervisor.units:
            raise VarlinkError(f"{INTERFACE}.NoSuchUnit", {"name": unit})
        count = min(max(call.number("lines", 100), 0), _LINES_MAX)
        follow = call.flag("follow")
        if follow and not call.more:
            raise VarlinkError(f"{protocol.SERVICE}.ExpectedMore")
        lines, dropped = self._logs.select(unit, count)
        answer = {"lines": [line.to_record() for line in lines], "dropped": dropped}
        if not follow or self.control is None:
            return answer
        self._follow(self.control, client, unit)
        self.control.send(client, protocol.reply(answer, continues=True))
        return None

    def _follow(self, control: Control, client: Client, unit: str | None) -> None:
        def forward(lines: list[Line]) -> None:
            chosen = [line for line in lines if unit is None or line.unit == unit]
            if not chosen:
                return
            if client.congested:
                client.dropped += sum(len(line.text) for line in chosen)
                return
            records = [line.to_record() for line in chosen]
            reply = {"lines": records, "dropped": client.dropped}
            control.send(client, protocol.reply(reply, continues=True))

        client.pending = True
        client.abandon = lambda: self._logs.followers.remove(forward)
        self._logs.followers.append(forward)
