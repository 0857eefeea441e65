"""A shadow run: what was recorded, held against a profile. What would it deny?

It asks the rules that the filter of system calls is compiled from, and which paths and endpoints a
profile lists; nothing of how a proposal is made. Leaves out what every agent may, which is in no
record.

>>> from .sandbox import Profile
>>> usage = Usage("x86_64")
>>> usage.path("read", "/srv/a", "/srv", by="openat", now=1.0)
>>> [use.what for use in denials(Profile({}), usage)]
['/srv/a']
"""

from __future__ import annotations

from functools import lru_cache

from . import call_rules, grants, sandbox
from .grants import CALLS, READ
from .sandbox import Profile
from .system_calls import numbers
from .usage import Usage, Use

EVERYBODY_READS = (*sandbox.ROOT_READ, *sandbox.KERNEL_READ, *sandbox.ROOT_EXECUTE)


def denials(profile: Profile, usage: Usage) -> list[Use]:
    """The recorded uses that an agent with this profile could not repeat."""
    given = grants.of(profile)
    return [
        use
        for use in usage.uses.values()
        if not (
            allows_call(profile.calls, usage.machine, use)
            if use.matter == CALLS
            else grants.is_covered((use.matter, use.what), given)
            or (use.matter == READ and is_everybodys(use.what))
        )
    ]


def is_everybodys(path: str) -> bool:
    """Whether every agent may read it."""
    return any(sandbox.lies_in(path, place) for place in EVERYBODY_READS)


def allows_call(calls: tuple[str, ...], machine: str, use: Use) -> bool:
    """Whether a system call is allowed with these classes."""
    number = numbers(machine).get(use.what)
    if number is None:
        return False
    action = call_rules.action(_rules(calls, machine), machine, number, use.arguments)
    return action == call_rules.ALLOW


@lru_cache(maxsize=64)
def _rules(calls: tuple[str, ...], machine: str) -> dict[int, int | call_rules.Rule]:
    return call_rules.rules(calls, machine)
