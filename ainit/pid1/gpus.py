"""GPU instances for units: asked for from, and given back to, the unit that provides org.ainos.Gpu.

Asking twice for one agent gives it the same instance: a PID 1 that takes over asks again.
"""

from __future__ import annotations

from ..wire import protocol
from .relay import Relay, problem_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..policy.plan import Record, Unit

_GPU = "org.ainos.Gpu"


class Gpus:
    """``providers`` maps an interface to the unit that provides it."""

    def __init__(
        self, relay: Relay, providers: Mapping[str, str], say: Callable[[str, str], None]
    ) -> None:
        self._relay = relay
        self._providers = providers
        self._say = say

    def allocate(self, unit: Unit, done: Callable[[Record | None, str], None]) -> None:
        """Ask for what ``unit`` wants; ``done`` gets the instance, or None and why not."""

        def on_reply(message: protocol.Message | None, problem: str) -> None:
            why = problem if message is None else problem_of(message)
            parameters = None if message is None else message.get("parameters")
            if why or not isinstance(parameters, dict):
                done(None, f"no GPU instance: {why or 'malformed answer'}")
            else:
                done(parameters, "")

        provider = self._providers.get(_GPU)
        if provider is None:
            done(None, "no GPU instance: no unit provides org.ainos.Gpu")
            return
        parameters = {"agent": unit.name, "profile": unit.gpu_profile}
        self._relay.call(provider, protocol.call(f"{_GPU}.Allocate", parameters), on_reply)

    def release(self, unit: Unit) -> None:
        """Give back what ``unit`` held."""

        def on_reply(message: protocol.Message | None, problem: str) -> None:
            why = problem if message is None else problem_of(message)
            if why:
                self._say(unit.name, f"its GPU instance was not released: {why}")

        if provider := self._providers.get(_GPU):
            request = protocol.call(f"{_GPU}.Release", {"agent": unit.name})
            self._relay.call(provider, request, on_reply)
