"""A unit that is to start with a GPU instance: it asks, perhaps waits its turn, and starts.

Steps of ``machine``. The GPU service decides who has capacity; a unit in its queue stays in
``allocating``, asks again when told to or after a while, and holds nothing meanwhile.
"""

from __future__ import annotations

from . import plan
from . import state as life
from .ending import become_ready, enter, fail, release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .plan import Unit
    from .state import Event, State

ALLOCATION_SECONDS = 60.0  # for an answer, be it that there is a queue


def go(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """What it starts after is there."""
    if state.state != life.WAITING:
        return []
    if unit.type == plan.TARGET:
        enter(state, life.READY, now)
        state.ready_at = now
        return []
    if unit.gpu_profile and (state.gpu is None or state.moving):
        wanted = " or ".join(unit.gpu_profiles or (unit.gpu_profile,))
        enter(state, life.ALLOCATING, now, f"waits for a {wanted}", now + ALLOCATION_SECONDS)
        return [life.ALLOCATE]
    return _spawn(unit, state, "", now)


def allocated(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """It has its instance."""
    if state.state != life.ALLOCATING:
        return [] if state.gpu else [life.RELEASE]  # nobody waits for it any more
    state.gpu, state.moving = event.gpu, False
    return _spawn(unit, state, "", now)


def queued(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """It stands in the queue, and asks again in ``event.seconds``."""
    if state.state != life.ALLOCATING:
        return [] if state.gpu else [life.RELEASE]
    state.queued, state.reason, state.deadline = True, event.reason, now + event.seconds
    return []


def turn(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Ask again, if it waits for that."""
    if not state.queued:
        return []
    state.queued = False
    state.deadline = now + ALLOCATION_SECONDS
    return [life.ALLOCATE]


def not_allocated(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """There is none for it."""
    if state.state != life.ALLOCATING:
        return []
    if unit.gpu_required:
        return fail(unit, state, event.reason, now)
    left = release(state)  # by one that was to be moved
    return [*left, *_spawn(unit, state, f"without a GPU: {event.reason}", now)]


def rest(state: State, name: str, event: Event, now: float) -> list[str]:
    """Down, without a process that must end first; who stood in the queue leaves it."""
    asked = state.state == life.ALLOCATING
    enter(state, name, now, event.reason)
    held = release(state)
    return [life.RELEASE] if asked else held


def spawned(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """It has a process."""
    if state.state == life.STARTING:
        state.pid, state.started = event.pid, event.started
        state.spawned_at = now
        if unit.type == plan.SIMPLE and not unit.probe_readiness:
            become_ready(state, now)
    return []


def _spawn(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    enter(state, life.STARTING, now, reason, now + unit.start_timeout)
    state.killed = state.text = state.findings = ""
    state.ready_at = 0.0
    state.watchdog = unit.watchdog
    return [life.SPAWN]
