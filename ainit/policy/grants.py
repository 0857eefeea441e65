"""What a profile grants, and whether others grant that, too: how tighter and looser are told apart.

A *grant* is one thing that an agent may: a matter (``read``, ``connect``, ``system calls`` …) and
what of it. What every agent may is no grant. Paths cover what lies below them, and what may be
written or executed may be read; so one profile is no looser than another when each of its grants is
covered by one of the other. PID 1 imports this.

>>> from .sandbox import Profile
>>> beyond(Profile({"write": ["/srv/notes"]}), Profile({"read": ["/srv"]}))
[('write', '/srv/notes')]
"""

from __future__ import annotations

from .sandbox import lies_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sandbox import Profile

    Grant = tuple[str, str]

READ, WRITE, EXECUTE = "read", "write", "execute"
CONNECT, CALL = "connect", "call"
CALLS, CAPABILITY = "system calls", "capability"
EXECUTE_WRITTEN = "execute written"
CERTIFICATE = "certificate"

# Matters whose grants are paths, and by grants of which matters they are covered.
_COVERED_BY = {READ: (READ, WRITE, EXECUTE), WRITE: (WRITE,), EXECUTE: (EXECUTE,)}


def of(profile: Profile) -> list[Grant]:
    """Everything that a profile gives."""
    return [
        *((READ, path) for path in profile.read),
        *((WRITE, path) for path in profile.write),
        *((EXECUTE, path) for path in profile.execute),
        *((CONNECT, endpoint(*one)) for one in profile.endpoints),
        *((CALL, name) for name in profile.agents),
        *((CALLS, name) for name in profile.calls),
        *((CAPABILITY, name) for name in profile.capabilities),
    ]


def is_covered(grant: Grant, others: Sequence[Grant]) -> bool:
    """Whether one of ``others`` allows what ``grant`` does."""
    matter, what = grant
    wider = _COVERED_BY.get(matter)
    if wider is None:
        return grant in others
    return any(other in wider and lies_in(what, place) for other, place in others)


def beyond(profile: Profile, bound: Profile) -> list[Grant]:
    """What a profile gives and ``bound`` does not; empty when it is no looser."""
    limits = of(bound)
    found = [grant for grant in of(profile) if not is_covered(grant, limits)]
    if profile.execute_written and not bound.execute_written:
        found.append((EXECUTE_WRITTEN, "what it writes"))
    if profile.certificate and not bound.certificate:
        found.append((CERTIFICATE, "of its own"))
    return found


def endpoint(host: str, port: int) -> str:
    """An endpoint as a manifest writes it.

    >>> endpoint("2001:db8::1", 443)
    '[2001:db8::1]:443'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
