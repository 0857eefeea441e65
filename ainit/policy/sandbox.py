"""What an agent may do: the profile that its manifest gives it, as a plain record. Default deny.

``sandbox_config`` makes it from the table ``[sandbox]`` and finds what is wrong; ``seccomp``
compiles its classes of system calls; docs/sandbox.md is the reference. PID 1 imports this. Leaves
out how the kernel is made to hold an agent to it.

>>> profile = Profile({"write": ["/var/lib/ainos/notes"], "network": ["192.0.2.7:443"]})
>>> profile.write, profile.network, profile.endpoints, profile.calls
(('/var/lib/ainos/notes',), 'listed', (('192.0.2.7', 443),), ('internet',))
"""

from __future__ import annotations

from . import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .plan import Unit

# What ``Profile.network`` may be.
NONE = "none"  # no socket but local ones
LOOPBACK = "loopback"  # a network of its own, in which there is nobody else
LISTED = "listed"  # that, and what ``endpoints`` lists; agents are called without a network
AGENT_PREFIX = "agent:"
CERTIFICATE = "/run/identity"  # where an agent finds its certificate, in its own view

# Classes of system calls that a manifest may name, and those that follow from its other keys.
ATTRIBUTES = "attributes"
IDENTITY = "identity"
IPC = "ipc"
JIT = "jit"
PROCESSES = "processes"
SANDBOXING = "sandboxing"
SCHEDULING = "scheduling"
CLASSES = (ATTRIBUTES, IDENTITY, IPC, JIT, PROCESSES, SANDBOXING, SCHEDULING)
INTERNET = "internet"  # of every network but ``none``
DEVICES = "devices"  # of every agent with a GPU
IMPLIED = (INTERNET, DEVICES)

# What every agent may read: of the verified root, which holds no secrets, and which processors and
# memory nodes there are, by which libraries choose their threads. What every agent may execute: the
# interpreter and the loader of either architecture, and besides them the program that it names.
ROOT_READ = ("/usr/lib", "/usr/lib64", "/usr/share", "/etc")
KERNEL_READ = ("/sys/devices/system/cpu", "/sys/devices/system/node")
ROOT_EXECUTE = (
    "/usr/bin/python3",
    "/usr/lib64/ld-linux-x86-64.so.2",
    "/usr/lib/ld-linux-aarch64.so.1",
)


_PATHS = ("read", "write", "execute")


class Profile:
    """What one agent may do besides what all may. Paths are absolute and without corners.

    ``read``, ``write`` and ``execute`` are files, or directories with all that is in them; what may
    be written or executed may be read. ``execute_written`` lets ``write`` and ``execute`` overlap.
    ``certificate`` says that it is given one. ``endpoints`` are hosts (numeric addresses or names)
    and TCP ports, ``agents`` the names of agents that it may call. ``capabilities`` are those of
    ``[agent]``, none by default.
    ``has_gpu``: its devices are those of the GPU instance that it is given, else none.

    A record's default is absent from it, and no record at all is the tightest profile.
    """

    __slots__ = (
        "agents",
        "capabilities",
        "certificate",
        "endpoints",
        "execute",
        "execute_written",
        "has_gpu",
        "network",
        "read",
        "system_calls",
        "write",
    )

    certificate: bool
    read: tuple[str, ...]
    write: tuple[str, ...]
    execute: tuple[str, ...]
    execute_written: bool
    network: str
    endpoints: tuple[tuple[str, int], ...]
    agents: tuple[str, ...]
    system_calls: tuple[str, ...]
    capabilities: tuple[str, ...]
    has_gpu: bool

    def __init__(
        self,
        record: Mapping[str, object],
        *,
        capabilities: Sequence[str] = (),
        has_gpu: bool = False,
    ) -> None:
        """The profile of a checked record, which is the manifest's table as JSON holds it."""
        network = record.get("network", NONE)
        listed = _words(network)
        endpoints = tuple(endpoint(one) for one in listed if not _is_agent(one))
        fields = {
            "certificate": record.get("certificate") is True,
            "read": _words(record.get("read")),
            "write": _words(record.get("write")),
            "execute": _words(record.get("execute")),
            "execute_written": record.get("execute_written") is True,
            "network": network if isinstance(network, str) else LISTED if endpoints else NONE,
            "endpoints": endpoints,
            "agents": tuple(one[len(AGENT_PREFIX) :] for one in listed if _is_agent(one)),
            "system_calls": _words(record.get("system_calls")),
            "capabilities": tuple(capabilities),
            "has_gpu": has_gpu,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a profile does not change: {name}")

    @property
    def calls(self) -> tuple[str, ...]:
        """The classes of system calls that it has besides what all have, implied ones too."""
        implied = ((INTERNET, self.network != NONE), (DEVICES, self.has_gpu))
        return (*self.system_calls, *(name for name, has in implied if has))


def of(unit: Unit) -> Profile | None:
    """The profile of an agent, and of a job that is to have one; None for other units."""
    if unit.kind != plan.AGENT and not unit.sandboxed:
        return None
    capabilities = unit.capabilities or ()
    return Profile(unit.sandbox, capabilities=capabilities, has_gpu=bool(unit.gpu_profile))


def wrong(record: object) -> str:
    """Why this is no record of a job's ``Profile``; empty when it is one. Whoever writes the table
    has it checked by ``sandbox_config``, which finds what makes no sense besides.

    >>> wrong({"read": ["/srv/images"], "network": "all"})
    'a job\'s network is "none" or "loopback"'
    """
    if not isinstance(record, dict):
        return "is a table"
    if unknown := record.keys() - {"execute_written", "network", "system_calls", *_PATHS}:
        return f"{', '.join(sorted(map(str, unknown)))} means nothing for a job"
    for key in _PATHS:
        if not all(_is_path(path) for path in _listed(record.get(key, []))):
            return f"{key} is a list of absolute paths without corners"
    if not isinstance(record.get("execute_written", False), bool):
        return "execute_written is a boolean"
    if not all(name in CLASSES for name in _listed(record.get("system_calls", []))):
        return f"system_calls is a list of {', '.join(CLASSES)}"
    if record.get("network", NONE) not in (NONE, LOOPBACK):
        return f'a job\'s network is "{NONE}" or "{LOOPBACK}"'
    return ""


def _listed(value: object) -> list[object]:
    """What is listed; something that no check lets through for what is no list."""
    return value if isinstance(value, list) else [None]


def _is_path(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        return False
    return not {"", ".", ".."} & set(value.split("/")[1:])


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[ADDRESS]:PORT``. Raises ValueError for another form.

    >>> endpoint("[2001:db8::1]:443")
    ('2001:db8::1', 443)
    """
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("has an IPv6 address without brackets")
    if not (host and port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError(f"has {text!r}, which is no HOST:PORT")
    return host, int(port)


def lies_in(path: str, directory: str) -> bool:
    """Whether a path is a directory or in it.

    >>> lies_in("/a/b", "/a"), lies_in("/ab", "/a")
    (True, False)
    """
    return path == directory or path.startswith(directory + "/")


def _is_agent(text: str) -> bool:
    return text.startswith(AGENT_PREFIX)


def _words(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
