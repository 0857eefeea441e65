"""The table ``[sandbox]`` of an agent's manifest: what its values may be, and what is nonsense.

    [sandbox]
    read = ["/usr/bin/git"]
    write = ["/var/lib/notes"]
    network = ["192.0.2.7:443", "agent:speech"]
    system_calls = ["processes"]

docs/sandbox.md is the reference. Without the table an agent has the tightest profile. Leaves out
what the other tables say (capabilities, credentials, limits, GPU), and the record (``sandbox``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv6Address, ip_address

from .. import constants
from ..errors import Finding
from . import addresses, destinations, listen, sandbox, values
from .plan import Unit
from .sandbox import lies_in
from .toml import Table

_REFUSED = {
    destinations.LOOPBACK: ': its loopback is its own, and nobody else is there ("agent:")',
    destinations.LINK_LOCAL: ": link-local addresses give out a cloud machine's secrets",
    destinations.METADATA: ": that address gives out a cloud machine's secrets",
    destinations.MANY: ", which is not one machine",
    destinations.DISGUISED: ": write an IPv4 address as such",
}
PEERS_MAX = 64
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z", re.IGNORECASE)


def _paths(value: object) -> object:
    """Paths of which none is or comes twice."""
    found = _distinct_paths(value)
    if isinstance(found, list) and "/" in found:
        raise ValueError("has /, which is everything: name what it needs")
    return found


_distinct_paths = values.names_list(values.path)


def network(value: object) -> object:
    """``none``, ``loopback``, or a list of ``HOST:PORT`` and ``agent:NAME``."""
    if value in (sandbox.NONE, sandbox.LOOPBACK):
        return value
    if not isinstance(value, list):
        raise ValueError('is "none", "loopback" or a list such as ["192.0.2.7:443", "agent:NAME"]')
    if not value:
        raise ValueError('is an empty list: that is "none"')
    if len(value) > PEERS_MAX:
        raise ValueError(f"has {len(value)} entries, and {PEERS_MAX} is the most")
    return values.names_list(_peer)(value)


def _peer(value: object) -> str:
    text = values.text(value)
    if text.startswith(sandbox.AGENT_PREFIX):
        name = text[len(sandbox.AGENT_PREFIX) :]
        if not values.NAME.match(name):
            raise ValueError(f"has {text!r}: an agent's name is lower-case letters, digits, -")
        return text
    host, port = sandbox.endpoint(text)
    if not 0 < port <= listen.PORT_MAX:
        raise ValueError(f"has {text}: ports are 1 to {listen.PORT_MAX}")
    host = _address(host, text) if ":" in host or _ends_in_number(host) else _domain(host, text)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(host: str, text: str) -> str:
    """The numeric address of one other machine, in its usual form."""
    try:
        found = ip_address(host)
    except ValueError:
        raise ValueError(f"has {text}, whose host is no address") from None
    if isinstance(found, IPv6Address) and (found.ipv4_mapped or found.scope_id):
        raise ValueError(f"has {text}: write an IPv4 address as such, and no interface")
    if kind := destinations.kind(str(found)):
        raise ValueError(f"has {text}{_REFUSED[kind]}")
    return str(found)


def _domain(host: str, text: str) -> str:
    try:
        found = addresses.domain(host).lower().removesuffix(".")
    except ValueError:
        raise ValueError(f"has {text}, whose host is neither an address nor a name") from None
    if found == "localhost" or found.endswith(".localhost"):
        raise ValueError(f"has {text}{_REFUSED[destinations.LOOPBACK]}")
    return found


def _ends_in_number(host: str) -> bool:
    """Whether a resolver could take it for an address, in whatever spelling (0x7f.1 is one)."""
    return _NUMBER.match(host.removesuffix(".").rpartition(".")[2]) is not None


KEYS: Mapping[str, values.Check] = {
    "read": _paths,
    "write": _paths,
    "execute": _paths,
    "execute_written": values.flag,
    "network": network,
    "system_calls": values.names_list(values.one_of(sandbox.CLASSES)),
    "certificate": values.flag,
}

# What no list names, each with all in it, and why. The first that applies says it.
_NOT_AT_ALL = {
    "/dev": "devices follow from [gpu]",
    "/proc": "it has a /proc of its own",
    "/tmp": "it has a /tmp of its own, to read and to write",
    constants.RUNTIME: "that is PID 1's",
    "/run/credentials": "those are [agent] credentials",
    sandbox.CERTIFICATE: "that is [sandbox] certificate",
    **dict.fromkeys(
        (
            constants.CONFIG, constants.MODELS, constants.TIMERS, constants.KEYLIME,
            constants.QUARANTINE, constants.REMOTE, constants.STATE + "/seal",
            constants.STATE + "/identity", constants.OVERLAYS, constants.RECORDS,
        ),
        "that is the machine's",
    ),
}  # fmt: skip
_NOT_TO_WRITE = {
    **dict.fromkeys(
        ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64"),
        "that is the verified root, which nobody writes",
    ),
    "/sys": "that is the kernel's",
    "/boot": "that is the machine's",
}
# Capabilities that undo what confines an agent, whatever else it may not do.
UNDOING = (
    "CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_PTRACE", "CAP_SYS_BOOT",
    "CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE",
    "CAP_MKNOD", "CAP_SYS_CHROOT", "CAP_CHECKPOINT_RESTORE", "CAP_SETFCAP",
)  # fmt: skip

CHANGING_USER = "CAP_SETUID"  # goes with no agent that calls others


def contradictions(main: Table, table: Table, unit: Unit) -> Iterator[Finding]:
    """What is wrong between right values of ``table``, and with what ``main`` gives besides."""
    profile = sandbox.of(unit)
    assert profile is not None
    for key, paths in _lists(profile):
        for path in paths:
            for problem in _problems(key, path, paths, profile):
                yield table.finding(key, f"{key} has {path}: {problem}")
    overlap = [
        (written, run)
        for written in profile.write
        for run in profile.execute
        if lies_in(written, run) or lies_in(run, written)
    ]
    if overlap and not profile.execute_written:
        written, run = overlap[0]
        message = f"it may write {written}: execute_written = true says that this is meant"
        yield table.finding("execute", f"execute has {run}, and {message}")
    if profile.execute_written and not overlap:
        message = "execute_written has no effect: nothing of execute may be written"
        yield table.finding("execute_written", message)
    if unit.name in profile.agents:
        yield table.finding("network", f"network has {unit.name} itself")
    if profile.agents and CHANGING_USER in profile.capabilities:
        message = f"{CHANGING_USER} makes it another user, by which others know who calls them"
        yield main.finding("capabilities", message)
    for name in profile.capabilities:
        if name in UNDOING:
            message = f"{name} would undo the agent's sandbox"
            yield main.finding("capabilities", message)


def _lists(profile: sandbox.Profile) -> Iterator[tuple[str, Sequence[str]]]:
    yield "read", profile.read
    yield "write", profile.write
    yield "execute", profile.execute


def _problems(key: str, path: str, paths: Sequence[str], profile: sandbox.Profile) -> Iterator[str]:
    """Everything that speaks against a path in a list."""
    refused = {**_NOT_AT_ALL, **(_NOT_TO_WRITE if key == "write" else {})}
    reasons = [why for place, why in refused.items() if lies_in(path, place)]
    covered = [f"holds {place}: {why}" for place, why in refused.items() if lies_in(place, path)]
    if reasons or covered:
        yield (reasons or covered)[0]
        return
    outer = [other for other in paths if other != path and lies_in(path, other)]
    if outer:
        yield f"its entry {outer[0]} covers it"
    if path in sandbox.ROOT_EXECUTE:
        yield "every agent may execute it"
    elif key == "read":
        if any(lies_in(path, place) for place in (*sandbox.ROOT_READ, *sandbox.KERNEL_READ)):
            yield "every agent may read it"
        for other, wider in (("write", profile.write), ("execute", profile.execute)):
            if any(lies_in(path, place) for place in wider):
                yield f"{other} has it already"
