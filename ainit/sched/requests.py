"""What units ask for, and what they run on, in the words of ``state``. PURE.

An agent goes on for ever, as far as anybody knows, and is never displaced; a job that gave no
estimate is taken to be an average one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .journal import Assignment
from .place import Device
from .queue import Kind, Standing, Wish
from .state import UNKNOWN_S, Request, Running, speed

AGENT_S = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with an instance since ``started``, in seconds since boot; ``collected`` once he has
    been told; on an instance of ``profile``, if that is known.
    """

    wish: Wish
    started: float
    collected: bool = True
    profile: str = ""


def of(
    wish: Wish, devices: Iterable[Device], now: float, standing: Standing | None = None
) -> Request:
    """The request of a wish; profiles that no board offers are left out."""
    speeds: dict[str, float] = {}
    for device in devices:
        for profile in device.profiles:
            if profile.name in wish.profiles and profile.name not in speeds:
                said = wish.speeds.get(profile.name)
                speeds[profile.name] = said or speed(profile, device)
    first = next((speeds[name] for name in wish.profiles if name in speeds), 1.0)
    seconds = wish.estimate_s * first if wish.estimate_s else UNKNOWN_S
    return Request(
        wish.name,
        speeds,
        AGENT_S if wish.kind is Kind.AGENT else seconds,
        waited_s=standing.waited_s if standing else 0.0,
        weight=standing.weight if standing else 1.0,
        slack_s=max(wish.deadline - now, 0.0) if wish.deadline else None,
    )


def by_owner(assignments: Iterable[Assignment], holders: Mapping[str, Holder]) -> dict[str, int]:
    """Memory slices that each owner holds."""
    held: dict[str, int] = {}
    for each in assignments:
        if (holder := holders.get(each.agent)) is not None:
            held[holder.wish.owner] = held.get(holder.wish.owner, 0) + each.size
    return held


def without_jobs(
    devices: Iterable[Device], assignments: Iterable[Assignment], holders: Mapping[str, Holder]
) -> list[Device]:
    """The devices as they would be if no job ran."""
    jobs = {name for name, holder in holders.items() if holder.wish.kind is Kind.JOB}
    gone = {(each.gpu_uuid, each.start) for each in assignments if each.agent in jobs}
    return [
        device.with_instances(
            tuple(each for each in device.instances if (device.uuid, each.start) not in gone)
        )
        for device in devices
    ]


def running(
    assignments: Iterable[Assignment],
    holders: Mapping[str, Holder],
    devices: Sequence[Device],
    now: float,
    leaving: Container[str] = (),
) -> list[Running]:
    """The work on instances of which it is known whose they are, and since when."""
    indices = {device.uuid: device.index for device in devices}
    found = []
    for each in assignments:
        holder = holders.get(each.agent)
        if holder is None or each.gpu_uuid not in indices:
            continue
        wish, lasted = holder.wish, max(now - holder.started, 0.0)
        request = of(wish, devices, now)
        fast = request.speeds.get(each.profile, 0.0)
        if fast <= 0.0:
            continue
        request = replace(request, attained_s=lasted * fast)
        movable = wish.kind is Kind.JOB and wish.resizable and each.agent not in leaving
        place = indices[each.gpu_uuid], each.profile, each.start
        found.append(Running(request, *place, lasted, movable))
    return found
