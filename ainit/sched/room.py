"""Room for somebody who waits and has none: kept for him, or made by moving a service. PURE.

``keep`` finds the slices that will be free soonest, by what those who have them say; nobody else
gets them then. ``make`` and ``grow`` plan one move of a service that allows it: to another place so
that the first in the queue has room, or back to a profile that it likes better once nobody waits.
Whoever is moved is stopped meanwhile, so moves are few: see ``rounds``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from . import geometry, place
from .place import Device, Proposal
from .state import Hold, Request, Running


@dataclass(frozen=True, slots=True)
class Move:
    """Stop ``name``, and start it again at ``proposal``."""

    name: str
    proposal: Proposal


def keep(
    request: Request, devices: Sequence[Device], running: Iterable[Running], holds: Iterable[Hold]
) -> Hold | None:
    """The slices that this request gets first, and in how many seconds; None when nobody knows."""
    until = _until(devices, running, holds)
    best: tuple[float, int, int, int] | None = None
    for device in devices:
        for profile in device.profiles if device.mig else ():
            if request.speeds.get(profile.name, 0.0) <= 0.0:
                continue
            for start, bits in geometry.of(device.profiles).placements[profile.name]:
                at = max(until[device.index, slot] for slot in _slots(bits))
                found = (at, profile.memory, device.index, start)
                if at < math.inf and (best is None or found < best):
                    best = found
    if best is None:
        return None
    seconds, memory, gpu, start = best
    return Hold(gpu, place.mask(start, memory), seconds)


def make(
    request: Request,
    devices: Sequence[Device],
    movable: Mapping[str, tuple[Running, Sequence[str]]],
    holds: Sequence[Hold],
) -> Move | None:
    """The move of a service that gives the request room: to its own profile elsewhere if that
    does, else to another of its profiles. None when no single move does.

    ``movable``: services by name, each with its profiles, the one that it likes best first.
    """
    taken = _taken(devices, holds)
    for same in (True, False):
        best: tuple[int, int, int, str, Proposal] | None = None
        for name, (running, profiles) in sorted(movable.items()):
            own = _own(running, devices)
            for profile in (running.profile,) if same else profiles:
                if (profile == running.profile) is not same:
                    continue
                for proposal in _places(profile, devices, {**taken, **_less(taken, running, own)}):
                    if (proposal.gpu, proposal.start) == (running.gpu, running.start) and same:
                        continue
                    after = {**taken, **_less(taken, running, own)}
                    after[proposal.gpu] |= proposal.mask
                    if not _has_room(request, devices, after):
                        continue
                    liked = list(profiles).index(profile) if profile in profiles else 0
                    found = (liked, proposal.size, proposal.gpu, name, proposal)
                    if best is None or found[:4] < best[:4]:
                        best = found
        if best is not None:
            return Move(best[3], best[4])
    return None


def grow(
    devices: Sequence[Device],
    movable: Mapping[str, tuple[Running, Sequence[str]]],
    holds: Sequence[Hold],
) -> Move | None:
    """The move of a service to a profile that it likes better than what it has; None when there is
    no room for any.
    """
    taken = _taken(devices, holds)
    for name, (running, profiles) in sorted(movable.items()):
        liked = list(profiles)
        better = liked[: liked.index(running.profile)] if running.profile in liked else liked
        without = {**taken, **_less(taken, running, _own(running, devices))}
        for profile in better:
            for proposal in _places(profile, devices, without):
                return Move(name, proposal)
    return None


def _until(
    devices: Sequence[Device], running: Iterable[Running], holds: Iterable[Hold]
) -> dict[tuple[int, int], float]:
    """GPU and slot → seconds until it is free; what nobody answers for never is."""
    until = {
        (device.index, slot): math.inf if device.occupied >> slot & 1 else 0.0
        for device in devices
        for slot in range(device.slices)
    }
    for each in running:
        for device in devices:
            if device.index == each.gpu:
                for slot in _slots(_own(each, devices)):
                    until[each.gpu, slot] = each.until_s
    for hold in holds:
        for slot in _slots(hold.mask):
            if (hold.gpu, slot) in until:
                until[hold.gpu, slot] = max(until[hold.gpu, slot], hold.seconds)
    return until


def _slots(bits: int) -> list[int]:
    return [slot for slot in range(bits.bit_length()) if bits >> slot & 1]


def _own(running: Running, devices: Sequence[Device]) -> int:
    """The slices that it has."""
    return place.union(
        instance.mask
        for device in devices
        if device.index == running.gpu
        for instance in device.instances
        if instance.start == running.start
    )


def _taken(devices: Sequence[Device], holds: Iterable[Hold]) -> dict[int, int]:
    taken = {device.index: device.occupied for device in devices if device.mig}
    for hold in holds:
        if hold.gpu in taken:
            taken[hold.gpu] |= hold.mask
    return taken


def _less(taken: Mapping[int, int], running: Running, own: int) -> dict[int, int]:
    return {running.gpu: taken.get(running.gpu, 0) & ~own}


def _places(
    profile: str, devices: Sequence[Device], taken: Mapping[int, int]
) -> Iterable[Proposal]:
    for device in devices:
        if not device.mig or (offered := device.profile(profile)) is None:
            continue
        for start in offered.starts:
            if not place.mask(start, offered.memory) & taken[device.index]:
                yield Proposal(device.index, profile, start, offered.memory)


def _has_room(request: Request, devices: Sequence[Device], taken: Mapping[int, int]) -> bool:
    profiles = (name for name, fast in request.speeds.items() if fast > 0.0)
    return any(True for name in profiles for _ in _places(name, devices, taken))
