"""What an agent may do, in words; and what one manifest lets it do that another does not.

Grants and when one covers another are those of ``grants``; here are those besides that follow from
other tables than ``[sandbox]``. Leaves out where manifests come from (``ainit.cli.sandbox``).

>>> from .plan import AGENT, Unit
>>> unit = Unit("notes", AGENT)
>>> unit.sandbox = {"write": ["/srv/notes"]}
>>> [change.text for change in difference(Unit("notes", AGENT), unit)]
['may write /srv/notes']
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import sandbox
from .grants import (
    CALL,
    CALLS,
    CAPABILITY,
    CERTIFICATE,
    CONNECT,
    EXECUTE,
    EXECUTE_WRITTEN,
    READ,
    WRITE,
    endpoint,
    is_covered,
    of,
)
from .plan import Unit
from .sandbox import Profile

Grant = tuple[str, str]

ANSWER, CREDENTIAL = "answer", "credential"
MODEL, EXTENSION, GPU = "model", "extension", "gpu"

_SAYS = {
    READ: "may read {}",
    WRITE: "may write {}",
    EXECUTE: "may execute {}",
    EXECUTE_WRITTEN: "may execute {}",
    CONNECT: "may connect to {}",
    CALL: "may call the agent {}",
    ANSWER: "answers calls of {}",
    CALLS: "may make the system calls of {}: {}",
    CAPABILITY: "has the capability {}",
    CREDENTIAL: "is given the credential {}",
    CERTIFICATE: "is given a certificate as {}",
    MODEL: "is given the model {}",
    EXTENSION: "may use what is in the extension {}",
    GPU: "may hold a GPU instance {}, and open its device nodes",
}
_ORDER = {matter: place for place, matter in enumerate(_SAYS)}
CLASSES = {
    sandbox.ATTRIBUTES: "change owners and extended attributes of files",
    sandbox.IDENTITY: "change its users, groups and capabilities",
    sandbox.IPC: "share memory, semaphores and message queues by name",
    sandbox.JIT: "have memory that is writable and executable",
    sandbox.PROCESSES: "start processes and wait for them",
    sandbox.SANDBOXING: "confine itself further, by seccomp and Landlock",
    sandbox.SCHEDULING: "change scheduling, priorities and the placement of memory",
    sandbox.INTERNET: "open TCP and UDP sockets, in a network of its own",
    sandbox.DEVICES: "control the devices that it may open",
}
_LIMITS = {
    "memory_max": ("memory", "bytes"),
    "pids_max": ("processes and threads", ""),
    "cpu_max": ("processor time", "% of one processor"),
}
NEVER = (
    "gain privileges, enter or make namespaces, mount, load code into the kernel",
    "look into other processes, trace them, or use io_uring, BPF, perf, keys or raw sockets",
    "open another device, whatever node or mount leads to it",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``looser``: the new one may more; None: it may that, as it might before."""

    looser: bool | None
    text: str


def grants(unit: Unit) -> tuple[Grant, ...]:
    """Everything that an agent may do besides what every agent may, each thing once."""
    profile = _profile(unit)
    program = [word for word in unit.exec[:1] if word.startswith("/")]
    found = [
        *of(profile),
        *((EXECUTE, path) for path in _foreign(program)),
        *((ANSWER, name) for name in unit.provides),
        *((CREDENTIAL, name) for name in unit.credentials),
        *((CERTIFICATE, f"agent/{unit.name}") for _ in range(profile.certificate)),
        *((MODEL, name) for name in [*unit.models, *unit.optional_models]),
        *((EXTENSION, name) for name in [*unit.extensions, *unit.optional_extensions]),
        *((GPU, name) for name in unit.gpu_profiles or filter(None, [unit.gpu_profile])),
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda grant: _ORDER[grant[0]]))


def difference(old: Unit, new: Unit) -> list[Change]:
    """What ``new`` may and ``old`` may not, the other way round, and limits that moved."""
    before, after = grants(old), grants(new)
    found = []
    for grant in after:
        if grant not in before:
            covered = is_covered(grant, before)
            found.append(Change(None if covered else True, say(grant)))
    found += [
        Change(False, f"no more: {say(grant)}")
        for grant in before
        if grant not in after and not is_covered(grant, after)
    ]
    if _profile(old).execute_written != _profile(new).execute_written:
        looser = _profile(new).execute_written
        text = "may execute what it may write"
        found.append(Change(looser, text if looser else f"no more: {text}"))
    for field, (name, unit) in _LIMITS.items():
        was, now = int(getattr(old, field)), int(getattr(new, field))
        if was != now:
            text = f"limit of {name}: {_limit(was, unit)}, now {_limit(now, unit)}"
            found.append(Change(not now or 0 < was < now, text))
    return found


def is_looser(changes: Sequence[Change]) -> bool:
    """Whether the new one may anything that the old one might not."""
    return any(change.looser for change in changes)


def say(grant: Grant) -> str:
    """A grant in words.

    >>> say(("system calls", "processes"))
    'may make the system calls of processes: start processes and wait for them'
    """
    matter, what = grant
    return _SAYS[matter].format(what, CLASSES.get(what, ""))


def explain(unit: Unit) -> dict[str, list[str]]:
    """Everything that the agent may do, what every agent may included: matter → lines."""
    profile = _profile(unit)
    has = {matter: [what for one, what in grants(unit) if one == matter] for matter in _SAYS}
    return {
        "reads": [
            "its own bundle",
            *(f"the model {name}" for name in unit.models),
            *(f"the model {name}, when it is admitted" for name in unit.optional_models),
            *(f"the extension {name}, and executes it" for name in unit.extensions),
            *(f"the extension {name}, when it is admitted" for name in unit.optional_extensions),
            "of the verified root: " + ", ".join(sandbox.ROOT_READ),
            "which processors and memory there are: " + ", ".join(sandbox.KERNEL_READ),
            *has[READ],
            *(["whatever it writes or executes"] if profile.write or profile.execute else []),
        ],
        "writes": ["/tmp, its own, empty at each start", *has[WRITE]],
        "executes": [
            "of the verified root: " + ", ".join(sandbox.ROOT_EXECUTE),
            *has[EXECUTE],
            *(["what it has written there itself"] if profile.execute_written else []),
        ],
        "network": list(_network(unit, profile)),
        "system calls": [
            "the base class: compute, keep files, run threads, use the sockets that it is given",
            *(f"{name}: {CLASSES[name]}" for name in has[CALLS]),
        ],
        "devices": [
            "/dev/null, zero, full, random, urandom",
            *(f"those of a GPU instance {name}" for name in has[GPU]),
        ],
        "capabilities": has[CAPABILITY] or ["none"],
        "secrets": [
            *(f"the credential {name}" for name in has[CREDENTIAL]),
            *(f"a short-lived certificate as {name}, and its key" for name in has[CERTIFICATE]),
        ]
        or ["none"],
        "limits": [
            f"{name}: {_limit(int(getattr(unit, field)), kind)}"
            for field, (name, kind) in _LIMITS.items()
        ],
        "may never": list(NEVER),
    }


def _network(unit: Unit, profile: Profile) -> Iterator[str]:
    if profile.network == sandbox.NONE:
        yield "none: local sockets only"
    else:
        yield "a loopback of its own, in which there is nobody else"
    for host, port in profile.endpoints:
        yield f"connects to {endpoint(host, port)}"
    for name in profile.agents:
        yield f"calls the agent {name}"
    for name in unit.provides:
        yield f"answers calls of {name}"
    for socket in unit.sockets:
        yield f"takes connections at {socket['listen']}, which PID 1 opens"


def _profile(unit: Unit) -> Profile:
    """Its profile. Raises ValueError for a service, which is not sandboxed."""
    profile = sandbox.of(unit)
    if profile is None:
        raise ValueError(f"{unit.name} is no agent")
    return profile


def _foreign(programs: Sequence[str]) -> list[str]:
    """Those of some programs that not every agent may execute."""
    return [program for program in programs if program not in sandbox.ROOT_EXECUTE]


def _limit(value: int, unit: str) -> str:
    if not value:
        return "no limit"
    for factor, letter in ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if unit == "bytes" and value % factor == 0:
            return f"{value // factor}{letter}"
    return f"{value} {unit}".strip() if not unit.startswith("%") else f"{value}{unit}"
