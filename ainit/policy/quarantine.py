"""A unit in quarantine: frozen with what it has, or kept down. Steps of ``machine``.

``was`` says what it goes on as when it is let go: what a frozen one did, what one without processes
was, and ``ended`` why, or waiting to start. Whatever ends a frozen one leaves it in quarantine,
without processes.
Leaves out how it is frozen and what is kept of it: see ``pid1.quarantine``.
"""

from __future__ import annotations

from . import allocation, plan
from . import state as life
from .ending import enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .plan import Unit
    from .state import Event, State

FREEZE_SECONDS = 5.0  # one that waits for a device stands still when that has answered


def begin(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Freeze it, or see to it that it does not start."""
    if state.quarantine or unit.type == plan.TARGET:
        return []
    state.quarantine = event.reason = event.reason or "no reason was given"
    if state.state == life.DRAINING:
        return []  # what is left of it is being killed
    before = state.state
    if state.is_alive:
        enter(state, life.QUARANTINED, now, event.reason, now + FREEZE_SECONDS)
        state.was = before
        return [life.FREEZE]
    why = state.reason
    left = allocation.rest(state, life.QUARANTINED, event, now)
    state.was, state.ended = (before, why) if before in life.DOWN_STATES else (life.WAITING, "")
    return [*left, life.EVIDENCE]


def frozen(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Every process of it stands still; perhaps later than was waited for."""
    if state.state != life.QUARANTINED:
        return []
    state.reason = state.quarantine
    if not state.deadline:
        return []
    state.deadline = 0.0
    return [life.EVIDENCE]


def late(state: State) -> list[str]:
    """Some process does not stand still: it is in the kernel, and stops when it comes out."""
    state.reason = f"{state.quarantine}; a process has not stopped in {FREEZE_SECONDS:g} s"
    return [life.EVIDENCE]


def ends_in(state: State, name: str) -> None:
    """Somebody wants it up or down meanwhile: that is what it goes on as, unless it is frozen."""
    if state.state == life.QUARANTINED and not state.is_alive:
        state.was, state.ended = name, ""


def end(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Let it go on where it stood, with its full time for whatever it was about to do."""
    if not state.quarantine:
        return []
    state.quarantine = ""
    if state.state != life.QUARANTINED:
        return [life.THAW]  # it is on its way down
    was, state.was = state.was, ""
    seconds = {life.STARTING: unit.start_timeout, life.STOPPING: unit.stop_timeout}.get(was, 0.0)
    why, state.ended = state.ended, ""
    enter(state, was, now, why, now + seconds if seconds else 0.0)
    if was == life.READY:
        state.ready_at = state.ready_at or now
        state.watchdog_at = now + state.watchdog if state.watchdog else 0.0
    elif was == life.WAITING:
        state.failures, state.wanted_at = 0, now
    return [life.THAW]
