"""The life of one unit as a pure function: ``step(unit, state, event, now) -> actions``.

::

    inactive ─ start ▶ waiting ─ may go ▶ [allocating] ─▶ starting ─▶ ready ─ stop ▶ stopping
                          ▲                                  │  │       │               │
                          └── delay over ── backoff ◀──┐     │  │       └─ exit ──┐     │
                                                       │     │  └── exit ─────────┤     ▼
                          failed, refused, exited ◀─── draining ◀─────────────────┴─────┘
                                                       └─▶ inactive

A step changes the state it is given and returns what the caller must do, in order. Draining is
passed through at once when the main process left nobody behind; no unit is started anew before its
cgroup is empty. Leaves out side effects, and when a waiting unit may go. Times are seconds on
CLOCK_BOOTTIME.
"""

from __future__ import annotations

from . import allocation, plan, quarantine
from . import state as life
from .ending import KILL_AGAIN_SECONDS, become_ready, emptied, enter, exited, fail, release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .plan import Unit
    from .state import Event, State


def step(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Apply ``event``: the new state is in ``state``, the actions are returned in order.

    An event that makes no sense in the current state changes nothing.
    """
    return _STEPS[event.kind](unit, state, event, now)


# What people and other units want.


def _start(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    state.desired = life.UP
    if state.quarantine:
        quarantine.ends_in(state, life.WAITING)
    elif state.state == life.STOPPING or (
        state.state == life.DRAINING and state.was == life.STOPPING
    ):
        state.again = True
    elif state.state in (life.INACTIVE, life.EXITED, life.FAILED, life.REFUSED, life.BACKOFF):
        state.failures = 0
        state.trigger = event.reason
        state.wanted_at = now
        enter(state, life.WAITING, now)
    return []


def _stop(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    state.desired = life.DOWN
    state.again = False
    if state.is_alive and unit.type != plan.TARGET:
        return _terminate(unit, state, event.reason or "stopped on request", now)
    if state.quarantine:
        quarantine.ends_in(state, life.INACTIVE)
        return []
    return allocation.rest(state, life.INACTIVE, event, now)


def _move(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Stop, and start with another GPU instance."""
    if state.state != life.READY or state.gpu is None or not unit.gpu_resizable:
        return []
    state.again = state.moving = True
    return _terminate(unit, state, event.reason, now)


def _revoked(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """What it holds must not be used any more; it stays noted, for it is still to be given back."""
    held, revoked = state.gpu, event.gpu
    if held is None or revoked is None or held.get("uuid") != revoked.get("uuid"):
        return []
    state.moving = True
    if not state.is_alive or state.desired == life.DOWN:
        return []
    state.again = True
    return _terminate(unit, state, event.reason, now)


def _restart(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.quarantine:
        return []
    state.desired = life.UP
    state.failures = 0
    state.wanted_at = now
    if not state.is_alive or unit.type == plan.TARGET:
        enter(state, life.WAITING, now)
        return []
    state.again = True
    return _terminate(unit, state, event.reason or "restarted on request", now)


def _terminate(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    if state.state == life.STOPPING:
        return []
    if state.state == life.DRAINING:
        state.was = life.STOPPING
        return []
    if state.state == life.QUARANTINED:  # it would not hear of a signal that it can handle
        enter(state, life.STOPPING, now, reason, now + KILL_AGAIN_SECONDS)
        return [life.KILL]
    enter(state, life.STOPPING, now, reason, now + unit.stop_timeout)
    return [life.TERMINATE]


def _reload(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    return [life.SIGNAL_RELOAD] if unit.reload_signal and state.state == life.READY else []


def _hold(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.is_alive or state.quarantine:
        return []
    return allocation.rest(state, life.FAILED, event, now)


# The way up.


def _not_spawned(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    return fail(unit, state, event.reason, now) if state.state == life.STARTING else []


def _denied(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.state != life.STARTING:
        return []
    enter(state, life.REFUSED, now, event.reason)
    return release(state)


# What the unit says.


def _notified_ready(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    said = unit.type == plan.NOTIFY or unit.probe_readiness
    if state.state == life.STARTING and state.pid and said:
        become_ready(state, now)
    elif state.state == life.QUARANTINED and state.was == life.STARTING and said:
        state.was = life.READY  # said before it was frozen
    elif state.state == life.READY and state.reloading:
        state.reloading = False
        state.deadline = 0.0
    return []


def _reloading(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.state == life.READY and unit.type == plan.NOTIFY:
        state.reloading = True
        state.deadline = now + unit.start_timeout
    return []


def _notified_stopping(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """It goes down by itself: from now on it has ``stop_timeout`` and no watchdog."""
    if state.state == life.READY:
        state.watchdog = state.watchdog_at = 0.0
        state.reloading = False
        state.deadline = now + unit.stop_timeout
        state.reason = "stops by itself"
    return []


def _extend(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.deadline and state.state in (life.STARTING, life.STOPPING, life.READY):
        state.deadline = max(state.deadline, now + event.seconds)
    return []


def _main_pid(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.state in (life.STARTING, life.READY, life.STOPPING) and event.pid:
        state.pid, state.started = event.pid, event.started
    return []


def _ping(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if event.seconds:
        state.watchdog = event.seconds
    if state.state == life.READY and state.watchdog:
        state.watchdog_at = now + state.watchdog
    return []


def _findings(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.is_alive:
        state.findings = event.reason
    return []


def _trouble(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.state != life.READY:
        return []
    state.killed = event.reason
    return [life.KILL]


# Deadlines.


def _deadline(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if state.watchdog_at and now >= state.watchdog_at:
        state.watchdog_at = 0.0
        state.killed = f"no watchdog message in {state.watchdog:g} s"
        return [life.KILL]
    if not state.deadline or now < state.deadline:
        return []
    state.deadline = 0.0
    if state.state == life.BACKOFF:
        enter(state, life.WAITING, now, state.reason)
    elif state.state == life.QUARANTINED:
        return quarantine.late(state)
    elif state.queued:
        return allocation.turn(unit, state, event, now)
    elif state.state == life.ALLOCATING:
        event.reason = f"no GPU instance in {allocation.ALLOCATION_SECONDS:g} s"
        return allocation.not_allocated(unit, state, event, now)
    elif state.state == life.DRAINING:
        state.reason = "waits for processes that do not die"
        state.deadline = now + KILL_AGAIN_SECONDS
        return [life.KILL]
    elif state.state == life.STARTING:
        if not state.pid:
            return fail(unit, state, "was not started", now)
        state.killed = f"not ready in {unit.start_timeout:g} s"
        return [life.KILL]
    elif state.state == life.STOPPING:
        state.killed = f"did not stop in {unit.stop_timeout:g} s"
        state.deadline = now + KILL_AGAIN_SECONDS
        return [life.KILL]
    elif state.state == life.READY:
        reason = f"did not reload in {unit.start_timeout:g} s"
        state.killed = reason if state.reloading else f"did not stop in {unit.stop_timeout:g} s"
        return [life.KILL]
    return []


_STEPS: dict[str, Callable[[Unit, State, Event, float], list[str]]] = {
    life.START: _start,
    life.STOP: _stop,
    life.RESTART: _restart,
    life.RELOAD: _reload,
    life.GO: allocation.go,
    life.ALLOCATED: allocation.allocated,
    life.NOT_ALLOCATED: allocation.not_allocated,
    life.QUEUED: allocation.queued,
    life.TURN: allocation.turn,
    life.MOVE: _move,
    life.REVOKED: _revoked,
    life.SPAWNED: allocation.spawned,
    life.NOT_SPAWNED: _not_spawned,
    life.DENIED: _denied,
    life.DEADLINE: _deadline,
    life.EXIT: exited,
    life.EMPTIED: emptied,
    life.NOTIFIED_READY: _notified_ready,
    life.RELOADING: _reloading,
    life.NOTIFIED_STOPPING: _notified_stopping,
    life.EXTEND: _extend,
    life.MAIN_PID: _main_pid,
    life.PING: _ping,
    life.HOLD: _hold,
    life.FINDINGS: _findings,
    life.TROUBLE: _trouble,
    life.QUARANTINE: quarantine.begin,
    life.FROZEN: quarantine.frozen,
    life.LET_GO: quarantine.end,
}
