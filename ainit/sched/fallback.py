"""What decides when no policy does: shortest first, on its thriftiest profile, stranding least.

This is FGD on MIG masks (``place.best``) with shortest-job-first. PURE.
"""

from __future__ import annotations

import math

from . import place
from .candidates import Candidate, Kind
from .place import Device, Instance
from .state import Request, State, least_area, memory_of

EQUAL = 1 + 1e-6  # boards of one kind differ in names only
_HELD = "held back"


def choose(state: State) -> Candidate | None:
    """The start to make, legal in the state; None when nobody who waits has room."""
    memory = memory_of(state.devices)
    devices = [_solid(device, state) for device in state.devices]
    able = ((least_area(each, memory), place_, each) for place_, each in enumerate(state.queue))
    for area, _, request in sorted(able, key=lambda each: each[:2]):
        if area == math.inf:
            continue
        for profile in _thriftiest(request, memory):
            proposal = place.best(profile, devices)
            if proposal is not None:
                return Candidate(Kind.START, request.name, proposal)
    return None


def _thriftiest(request: Request, memory: dict[str, int]) -> list[str]:
    """The profiles on which it needs the fewest slice-seconds; on each kind of board one."""
    names = [name for name, fast in request.speeds.items() if fast > 0 and name in memory]
    costs = {name: memory[name] / request.speeds[name] for name in names}
    names.sort(key=lambda name: (costs[name], name))
    return [name for name in names if costs[name] <= costs[names[0]] * EQUAL]


def _solid(device: Device, state: State) -> Device:
    """The device with what is held back as if instances were there."""
    held = place.union(each.mask for each in state.holds if each.gpu == device.index)
    free = held & ~device.occupied
    blocks = [
        Instance(-1 - slot, _HELD, slot, 1, None, 0)
        for slot in range(device.slices)
        if free >> slot & 1
    ]
    return device.with_instances((*device.instances, *blocks)) if blocks else device
