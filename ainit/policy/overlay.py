"""A tightening overlay: a ``[sandbox]`` of this machine's own for one agent, never looser.

It lies on the state partition, which is not signed. So it may only take away: whoever reads it asks
`profile`, which refuses one that gives anything the manifest does not. PID 1 imports this.

>>> from .plan import AGENT, Unit
>>> unit = Unit("notes", AGENT)
>>> unit.sandbox = {"read": ["/srv"], "system_calls": ["processes"]}
>>> profile(unit, dump("notes", {"read": ["/srv/notes"]})).read
('/srv/notes',)
"""

from __future__ import annotations

from ..wire.codec import canonical, loads
from . import grants, sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import Unit
    from .sandbox import Profile

BYTES_MAX = 256 << 10
_SCHEMA = 1
_LISTS = ("read", "write", "execute", "system_calls")
_FLAGS = ("execute_written", "certificate")
_KEYS = {*_LISTS, *_FLAGS, "network"}


def dump(name: str, table: Mapping[str, object]) -> bytes:
    """The bytes of an agent's overlay."""
    return canonical({"schema": _SCHEMA, "agent": name, "sandbox": dict(table)})


def profile(unit: Unit, data: bytes) -> Profile:
    """The profile of an agent with this overlay. Raises ValueError that says what is wrong: it is
    malformed, is another agent's, or allows what the manifest does not. So is one that lists some
    of the agents that the manifest does: who has a way to one has the control socket, where the
    manifest decides (``calls``).
    """
    table = _table(unit.name, data)
    bound = sandbox.of(unit)
    if bound is None:
        raise ValueError(f"{unit.name} is no agent")
    found = sandbox.Profile(table, capabilities=bound.capabilities, has_gpu=bound.has_gpu)
    if looser := grants.beyond(found, bound):
        more = ", ".join(f"{matter} {what}" for matter, what in looser)
        raise ValueError(f"allows what the manifest does not: {more}")
    if found.agents and (missing := set(bound.agents) - set(found.agents)):
        more = ", ".join(sorted(missing))
        raise ValueError(
            f"calls of {more} go by the manifest: all of its agents are listed, or none"
        )
    return found


def _table(name: str, data: bytes) -> dict[str, object]:
    record = loads(data)
    if not isinstance(record, dict) or set(record) != {"schema", "agent", "sandbox"}:
        raise ValueError("is no overlay of a sandbox")
    if record["schema"] != _SCHEMA or record["agent"] != name:
        raise ValueError(f"is not of schema {_SCHEMA} and the agent {name}")
    table = record["sandbox"]
    if not isinstance(table, dict) or not set(table) <= _KEYS:
        raise ValueError(f"has another table than one of {', '.join(sorted(_KEYS))}")
    network = table.get("network", sandbox.NONE)
    if network not in (sandbox.NONE, sandbox.LOOPBACK) and not _is_list(network):
        raise ValueError("has a network that is none")
    for key in _LISTS:
        if not _is_list(table.get(key, [])):
            raise ValueError(f"{key} is no list of words")
    for key in _FLAGS:
        if not isinstance(table.get(key, False), bool):
            raise ValueError(f"{key} is neither true nor false")
    for path in (path for key in _LISTS[:3] for path in table.get(key, [])):
        if not _is_plain(path):
            raise ValueError(f"has {path}, which is no plain absolute path")
    return table


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_plain(path: str) -> bool:
    """Whether it is what `grants.is_covered` takes a path for: none that leads up and elsewhere."""
    parts = path.split("/")
    return path[:1] == "/" and len(parts) > 1 and not {"", ".", ".."} & set(parts[1:])
