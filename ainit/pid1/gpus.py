"""GPU instances for units: asked for from, and given back to, whoever provides org.ainos.Gpu.

Asking twice for one unit gives it the same instance: a PID 1 that takes over asks again. Where
there is none to be had now, the answer is that the unit stands in a queue; it asks again after a
while, or when an answer to somebody else says that it is its turn. A service that is on its way up
again costs no job its place: the queue is those who ask.
"""

from __future__ import annotations

from ..policy import plan
from ..policy import state as life
from ..policy.state import Event
from ..wire import protocol
from .relay import Relay, problem_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..policy.plan import Record, Unit
    from .supervisor import Supervisor

_GPU = "org.ainos.Gpu"
_QUEUED = f"{_GPU}.Queued"
_RETRY_SECONDS = 5.0
_RETRY_MOST = 60.0


class Gpus:
    """``providers`` maps an interface to the unit that provides it. ``supervisor`` comes later: it
    is told whose turn it is, and knows since when a unit is wanted up.
    """

    def __init__(
        self, relay: Relay, providers: Mapping[str, str], say: Callable[[str, str], None]
    ) -> None:
        self._relay = relay
        self._providers = providers
        self._say = say
        self.supervisor: Supervisor | None = None

    def allocate(self, unit: Unit, done: Callable[[Event], None]) -> None:
        """Ask for what ``unit`` wants; ``done`` is told what became of it."""

        def on_reply(message: protocol.Message | None, problem: str) -> None:
            done(_outcome(unit, message, problem))
            self._pass_on(message)

        provider = self._providers.get(_GPU)
        if provider is None:
            why = "no GPU instance: no unit provides org.ainos.Gpu"
            done(Event(life.NOT_ALLOCATED, reason=why))
            return
        parameters: Record = {
            "agent": unit.name,
            "profile": unit.gpu_profile,
            "request": _request(unit, self._since(unit.name)),
        }
        self._relay.call(provider, protocol.call(f"{_GPU}.Allocate", parameters), on_reply)

    def release(self, unit: Unit) -> None:
        """Give back what ``unit`` held, or have it leave the queue."""

        def on_reply(message: protocol.Message | None, problem: str) -> None:
            why = problem if message is None else problem_of(message)
            if why:
                self._say(unit.name, f"its GPU instance was not released: {why}")
            self._pass_on(message)

        if provider := self._providers.get(_GPU):
            request = protocol.call(f"{_GPU}.Release", {"agent": unit.name})
            self._relay.call(provider, request, on_reply)

    def _pass_on(self, message: protocol.Message | None) -> None:
        """Tell the others whom an answer concerns: whose turn it is, and who is to move."""
        parameters = {} if message is None else message.get("parameters")
        if not isinstance(parameters, dict) or self.supervisor is None:
            return
        for key, kind in (("ready", life.TURN), ("move", life.MOVE)):
            names = parameters.get(key)
            for name in names if isinstance(names, list) else ():
                if isinstance(name, str):
                    self.supervisor.tell(name, Event(kind, reason="its GPU instance is moved"))

    def _since(self, name: str) -> float:
        state = self.supervisor.states.get(name) if self.supervisor else None
        return state.wanted_at if state else 0.0


def _request(unit: Unit, since: float) -> Record:
    return {
        "kind": "job" if unit.kind == plan.JOB else "agent",
        "profiles": list(unit.gpu_profiles or (unit.gpu_profile,)),
        "speeds": dict(unit.gpu_speeds),
        "owner": unit.gpu_owner or unit.kind,
        "priority": unit.gpu_priority,
        "since": since,
        "estimate_s": unit.gpu_estimate,
        "deadline": unit.gpu_deadline,
        "resizable": unit.gpu_resizable,
        "waits": unit.gpu_required,
    }


def _outcome(unit: Unit, message: protocol.Message | None, problem: str) -> Event:
    """What an answer, or its absence, is to the unit that asked."""
    why = problem if message is None else problem_of(message)
    parameters = {} if message is None else message.get("parameters")
    if message is not None and message.get("error") == _QUEUED and isinstance(parameters, dict):
        reason, seconds = parameters.get("reason"), parameters.get("retry_s")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            seconds = _RETRY_SECONDS
        seconds = min(max(seconds, 0.1), _RETRY_MOST)
        return Event(life.QUEUED, reason=f"in the queue: {reason}", seconds=seconds)
    if message is None and unit.kind == plan.JOB:
        return Event(life.QUEUED, reason=f"in the queue: {problem}", seconds=_RETRY_SECONDS)
    if why or not isinstance(parameters, dict):
        reason = f"no GPU instance: {why or 'malformed answer'}"
        return Event(life.NOT_ALLOCATED, reason=reason)
    held = {key: value for key, value in parameters.items() if key not in ("ready", "move")}
    return Event(life.ALLOCATED, gpu=held)
