"""Who a child is and what it may do: groups, user and capabilities, as system calls in order.

See setresuid(2), capabilities(7). Leaves out the rest of a child: see ``process``.
"""

from __future__ import annotations

from struct import pack

from ..policy.kernel_names import CAPABILITIES
from . import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .child import Child

# Options of prctl(2), and the version of capset(2) that has 64 capabilities.
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION = 0x20080522

_last_capability = -1


def take(job: native.Job, child: Child) -> None:
    """Groups, user and capabilities, in an order in which each is still allowed."""
    kept = None if child.capabilities is None else [*map(CAPABILITIES.index, child.capabilities)]
    if kept is not None:
        for call in _bounded(kept):
            job.add(*call, what="capabilities")
        if child.user:
            job.add(native.PRCTL, _PR_SET_KEEPCAPS, 1, what="capabilities")
    group = child.user if child.group is None else child.group
    if child.user or group or child.groups:
        groups = job.data(pack(f"={len(child.groups)}I", *child.groups))
        job.add(native.SETGROUPS, len(child.groups), groups, what="groups")
        job.add(native.SETRESGID, group, group, group, what="group")
    if not child.user:
        return
    job.add(native.SETRESUID, child.user, child.user, child.user, what="user")
    if kept is not None:
        sets = [job.data(each) for each in _sets(kept)]
        job.add(native.CAPSET, *sets, what="capabilities")
        for number in kept:
            job.add(
                native.PRCTL, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, what="capabilities"
            )
    job.add(native.PRCTL, _PR_SET_NO_NEW_PRIVS, 1, what="no_new_privs")


def nothing() -> list[tuple[int | bytes, ...]]:
    """The calls that give up every capability for good. Raises OSError."""
    return [*_bounded(()), (native.CAPSET, *_sets(()))]


def _bounded(kept: Sequence[int]) -> list[tuple[int, ...]]:
    """The calls after which no file that is executed gives another capability than these."""
    return [
        (native.PRCTL, _PR_CAPBSET_DROP, number)
        for number in range(_capabilities())
        if number not in kept
    ]


def _sets(kept: Sequence[int]) -> tuple[bytes, bytes]:
    """What capset(2) is given, so that there are these: structures for 64 capabilities."""
    mask = sum(1 << number for number in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    return pack("=Ii", _CAPABILITY_VERSION, 0), pack("=6I", low, low, low, high, high, high)


def _capabilities() -> int:
    """How many capabilities this kernel has. Raises OSError."""
    global _last_capability
    if _last_capability < 0:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            _last_capability = int(file.read())
    return _last_capability + 1
