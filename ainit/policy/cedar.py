"""The rules of ``calls`` in the policy language Cedar (cedarpolicy.com), for whoever reads that.

Principals are agents; resources are the units, and PID 1; an action is a method, and interfaces are
groups of actions. So ``cedar authorize``, or an analysis of what a change of a manifest permits,
needs nothing of ours. Leaves out the decision itself: PID 1 asks ``calls``, and a test holds the
two together.

>>> from .plan import AGENT, Unit
>>> print(policies([Unit("notes", AGENT)]).splitlines()[0])
@id("PID 1")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..wire.protocol import SERVICE
from . import sandbox
from .calls import CONTROL, PID_1
from .plan import AGENT, Unit

AGENT_TYPE = "AINOS::Agent"
SERVICE_TYPE = "AINOS::Service"
ACTION_TYPE = "AINOS::Action"

Entity = dict[str, object]

_OWN = f"""\
@id("{PID_1}")
permit (
  principal is {AGENT_TYPE},
  action in {ACTION_TYPE}::"{SERVICE}",
  resource == {SERVICE_TYPE}::"{PID_1}"
);
"""
_LISTED = f"""\
@id("{{caller}}: {sandbox.AGENT_PREFIX}{{provider}}")
permit (
  principal == {AGENT_TYPE}::"{{caller}}",
  action in [{{actions}}],
  resource == {AGENT_TYPE}::"{{provider}}"
);
"""


def policies(units: Sequence[Unit]) -> str:
    """The policies that the manifests of some units come to; Cedar forbids everything else."""
    agents = {unit.name: unit for unit in units if unit.kind == AGENT}
    found = [_OWN]
    for caller in agents.values():
        profile = sandbox.of(caller)
        for provider in profile.agents if profile else ():
            if provider in agents:
                interfaces = [*agents[provider].provides, SERVICE]
                actions = ", ".join(f'{ACTION_TYPE}::"{each}"' for each in interfaces)
                found.append(_LISTED.format(caller=caller.name, provider=provider, actions=actions))
    return "\n".join(found)


def entities(units: Sequence[Unit], methods: Iterable[str]) -> list[Entity]:
    """The units, PID 1, the interfaces that they provide, and some methods, which are qualified."""
    groups = [SERVICE, CONTROL, *(name for unit in units for name in unit.provides)]
    members = [method for method in dict.fromkeys(methods) if method not in groups]
    return [
        *(_entity(type_of(unit), unit.name) for unit in units),
        _entity(SERVICE_TYPE, PID_1),
        *(_entity(ACTION_TYPE, name) for name in dict.fromkeys(groups)),
        *(_entity(ACTION_TYPE, method, method.rpartition(".")[0]) for method in members),
    ]


def type_of(unit: Unit) -> str:
    """The type of a unit's entity."""
    return AGENT_TYPE if unit.kind == AGENT else SERVICE_TYPE


def _entity(kind: str, name: str, group: str = "") -> Entity:
    parents = [{"type": kind, "id": group}] if group else []
    return {"uid": {"type": kind, "id": name}, "attrs": {}, "parents": parents}
