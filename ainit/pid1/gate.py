"""Who may call what on the control socket: agents by their manifests, all others by ``access``.

An agent has a user of its own, which the kernel tells with each connection. In its user namespace
it has no other, and none of its processes can get one. So whatever an agent starts is that agent.
Every decision on an agent is a structured line of PID 1's in its log: the ring there is bounded, so
that a flood of calls costs the agent its own oldest lines, which are counted.
"""

from __future__ import annotations

from ..constants import CLIENTS_AGENT
from ..policy import access
from ..policy.calls import SEVERAL, Rules
from ..wire.codec import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ..policy.plan import Unit
    from ..wire.protocol import Call

_METHOD_MAX = 256  # of a method's name in the log, which a caller makes up


class Gate:
    """``say(agent, text)`` writes into an agent's log; ``units`` are those of the plan."""

    def __init__(self, say: Callable[[str, str], None], units: Iterable[Unit]) -> None:
        self._say = say
        self._rules = Rules(units)

    def configure(self, units: Iterable[Unit]) -> None:
        """Go by the manifests of these units from now on; those that leave are among them."""
        self._rules = Rules(units)

    def admits(self, user: int, others: Collection[int]) -> bool:
        """Whether one more connection is taken; ``others`` are the users of those there are."""
        if len(others) >= access.connections(user):
            return False
        if not self._rules.caller(user):
            return True
        return sum(other == user for other in others) < CLIENTS_AGENT

    def permits(self, user: int, call: Call) -> bool:
        """Whether a caller may make a call."""
        agent = self._rules.caller(user)
        if not agent:
            return access.is_allowed(user, call.interface, call.member)
        if agent == SEVERAL:
            return False  # in whose log it would be said is not known either
        about = call.parameters.get("interface")
        provider = self._rules.provider(call.interface, call.member, about)
        decision = self._rules.decide(agent, call.method, provider)
        line = {
            "decision": "permit" if decision.is_permitted else "forbid",
            "call": call.method[:_METHOD_MAX],
            "provider": provider or None,
            "rule": decision.rule,
        }
        self._say(agent, dumps(line))
        return decision.is_permitted
