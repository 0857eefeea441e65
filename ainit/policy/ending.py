"""The end of a unit's processes, and what follows from it. See ``machine``, whose steps these are.

Leaves out every other event.
"""

from __future__ import annotations

from . import plan
from . import state as life

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .plan import Unit
    from .state import Event, State

STABLE_FACTOR = 2.0  # ready for this many times the longest backoff: earlier failures are forgotten
KILL_AGAIN_SECONDS = 5.0


def enter(state: State, name: str, now: float, reason: str = "", deadline: float = 0.0) -> None:
    """Go over to the state ``name``; what belonged to the old one is forgotten."""
    state.state = name
    state.since = now
    state.reason = reason
    state.deadline = deadline
    state.queued = False
    if name != life.READY:
        state.watchdog_at = 0.0
        state.reloading = False


def become_ready(state: State, now: float) -> None:
    """Ready, and from now on watched."""
    enter(state, life.READY, now, state.reason)
    state.ready_at = now
    if state.watchdog:
        state.watchdog_at = now + state.watchdog


def exited(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """The main process is gone; whatever it left in its cgroup goes too, and is waited for."""
    if not state.pid or event.pid != state.pid:
        return []
    state.pid, state.started, state.status = 0, 0, event.status
    if unit.type == plan.FORKING and event.status == 0 and event.left:
        if state.state == life.STARTING:
            state.pid, state.started = event.main, event.started
            become_ready(state, now)
            return []
        if state.state == life.READY and event.main and now < state.ready_at + unit.start_timeout:
            state.pid, state.started = event.main, event.started  # a further step of its forking
            return []
    state.ended = event.reason
    frozen = state.state == life.QUARANTINED
    state.was = state.state
    if event.left or frozen:
        reason = "its main process ended, the others of its cgroup follow"
        enter(state, life.DRAINING, now, reason, now + KILL_AGAIN_SECONDS)
        return [life.KILL]
    return _ended(unit, state, now)


def emptied(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Nobody is left in the cgroup."""
    if state.state == life.DRAINING:
        return _ended(unit, state, now)
    if unit.type == plan.FORKING and state.state in (life.READY, life.STOPPING) and not state.pid:
        state.was = state.state
        state.ended = "all its processes ended"
        return _ended(unit, state, now)
    return []


def _ended(unit: Unit, state: State, now: float) -> list[str]:
    if state.was == life.READY and now - state.ready_at >= unit.backoff_max * STABLE_FACTOR:
        state.failures = 0
    clean = not state.killed and state.status in unit.success_status
    reason = state.killed or state.ended
    state.killed = state.ended = ""
    previous, state.was = state.was, ""
    if state.quarantine:
        return _still_held(unit, state, reason, now)
    if previous == life.STOPPING:
        if state.again or state.desired == life.UP:
            state.again = False
            state.restarts += 1
            enter(state, life.WAITING, now)
            return []
        enter(state, life.INACTIVE, now, "" if clean else reason)
        return release(state)
    if state.desired == life.DOWN:
        enter(state, life.INACTIVE, now)
        return release(state)
    if clean and (unit.type == plan.ONESHOT or unit.restart != plan.ALWAYS):
        enter(state, life.EXITED, now)
        return release(state)
    return fail(unit, state, reason, now)


def _still_held(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    """It ended in quarantine, and stays there until it is let go."""
    state.again = False
    if unit.restart == plan.NEVER:
        state.desired = life.DOWN
    enter(state, life.QUARANTINED, now, f"{state.quarantine}; {reason}")
    state.was = life.WAITING if state.desired == life.UP else life.INACTIVE
    return [*release(state), life.EVIDENCE]


def fail(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    """Try again after a while, or hold it."""
    state.failures += 1
    if unit.restart == plan.NEVER:
        enter(state, life.FAILED, now, reason)
        return release(state)
    if unit.backoff_limit and state.failures > unit.backoff_limit:
        enter(state, life.FAILED, now, f"{reason}; held after {state.failures} failures in a row")
        return [*release(state), *([] if unit.exhausted == plan.HOLD else [life.EXHAUST])]
    state.restarts += 1
    enter(state, life.BACKOFF, now, reason, now + unit.backoff(state.failures))
    return []


def release(state: State) -> list[str]:
    """Give back what it held."""
    held, state.gpu = state.gpu, None
    state.moving = False
    return [] if held is None else [life.RELEASE]
