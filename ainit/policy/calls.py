"""Whom an agent may call through PID 1: the rules are the manifests, which were measured.

A decision is about a caller, a method and who provides it. Permitted are the interfaces that an
agent provides whom the caller's manifest lists (``network = ["agent:NAME"]``), and the question
what PID 1 is. Everything else is forbidden. PID 1 imports this; ``cedar`` says the same in another
language. Leaves out callers that are no agents: see ``access``.

>>> from .plan import AGENT, Unit
>>> notes, speech = Unit("notes", AGENT), Unit("speech", AGENT)
>>> notes.user, notes.sandbox = 61184, {"network": ["agent:speech"]}
>>> speech.user, speech.provides = 61185, ["org.ainos.agent.Speech"]
>>> rules = Rules([notes, speech])
>>> rules.caller(61184), rules.provider("org.ainos.agent.Speech", "Detect")
('notes', 'speech')
>>> rules.decide("notes", "org.ainos.agent.Speech.Detect", "speech").rule
'agent:speech'
"""

from __future__ import annotations

from ..wire.protocol import SERVICE
from . import sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .plan import Unit

CONTROL = "org.ainos.Control"
PID_1 = "PID 1"  # the provider of what no unit provides; no unit's name
SEVERAL = "several units"  # a caller that cannot be told from others
DEFAULT = "default"  # the rule that forbids


class Decision:
    """``rule`` is what permitted it, as the caller's manifest has it, or ``DEFAULT``."""

    __slots__ = ("is_permitted", "rule")

    def __init__(self, is_permitted: bool, rule: str) -> None:
        self.is_permitted = is_permitted
        self.rule = rule


_FORBIDDEN = Decision(False, DEFAULT)


class Rules:
    """What the manifests of some units say."""

    def __init__(self, units: Iterable[Unit] = ()) -> None:
        self._callers: dict[int, str] = {}
        self._listed: dict[str, tuple[str, ...]] = {}
        self._provided: dict[str, tuple[str, ...]] = {}
        self._providers = {CONTROL: PID_1, SERVICE: PID_1}
        users: dict[int, int] = {}
        for unit in units:
            users[unit.user] = users.get(unit.user, 0) + 1
            self._providers |= dict.fromkeys(unit.provides, unit.name)
            profile = sandbox.of(unit)
            if profile is not None:
                self._provided[unit.name] = tuple(unit.provides)
                self._listed[unit.name] = profile.agents
                self._callers[unit.user] = unit.name
        self._callers.pop(0, None)  # no agent, whatever a plan says
        shared = [user for user in self._callers if users[user] > 1]
        self._callers |= dict.fromkeys(shared, SEVERAL)

    def caller(self, user: int) -> str:
        """The agent that has this user; SEVERAL when others have it, too, "" when it is none's."""
        return self._callers.get(user, "")

    def provider(self, interface: str, member: str, about: object = None) -> str:
        """Whose answer a call asks for; "" for nobody's. The description of an interface, which the
        call names in ``about``, is its provider's.
        """
        if (interface, member) == (SERVICE, "GetInterfaceDescription") and isinstance(about, str):
            interface = about
        return self._providers.get(interface, "")

    def decide(self, caller: str, method: str, provider: str) -> Decision:
        """Whether an agent may call a method, which is qualified, of a provider."""
        interface = method.rpartition(".")[0]
        if interface == SERVICE and provider == PID_1 and caller in self._listed:
            return Decision(True, PID_1)
        provided = self._provided.get(provider)
        if provided is None or provider not in self._listed.get(caller, ()):
            return _FORBIDDEN
        if interface != SERVICE and interface not in provided:
            return _FORBIDDEN
        return Decision(True, sandbox.AGENT_PREFIX + provider)
