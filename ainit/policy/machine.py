"""The life of one unit as a pure function: ``step(unit, state, event, now) -> actions``.

::

    inactive ─ start ▶ waiting ─ may go ▶ [allocating] ─▶ starting ─▶ ready ─ stop ▶ stopping
                          ▲                                  │  │       │               │
                          └── delay over ── backoff ◀────────┘  │       └─ exit ▶ …     ▼
                                         failed / refused ◀─────┘                   inactive

``State`` is the whole run-time state of a unit and has a JSON form, so that PID 1 can hand it over
to itself. A step changes the state it is given and returns what the caller must do, in order. Times
are seconds on CLOCK_BOOTTIME. Leaves out side effects, and when a waiting unit may go.
"""

from __future__ import annotations

from . import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .plan import Record, Unit

# States.
INACTIVE = "inactive"
WAITING = "waiting"
ALLOCATING = "allocating"
STARTING = "starting"
READY = "ready"
STOPPING = "stopping"
BACKOFF = "backoff"
EXITED = "exited"  # a oneshot that did its work
FAILED = "failed"  # held: only an explicit start tries again
REFUSED = "refused"  # held: policy or measurement said no
SETTLED = (READY, EXITED, FAILED, REFUSED, INACTIVE)
RUNNING = (STARTING, READY, STOPPING)

UP = "up"
DOWN = "down"

# Events.
START = "start"
STOP = "stop"
RESTART = "restart"
GO = "go"  # dependencies are met
ALLOCATED = "allocated"
NOT_ALLOCATED = "not-allocated"
SPAWNED = "spawned"
NOT_SPAWNED = "not-spawned"
DENIED = "denied"
NOTIFIED_READY = "notified-ready"
EXIT = "exit"
DEADLINE = "deadline"

# Actions.
ALLOCATE = "allocate"
SPAWN = "spawn"
TERMINATE = "terminate"
KILL = "kill"
RELEASE = "release"

ALLOCATION_SECONDS = 60.0
STABLE_FACTOR = 2.0  # ready for this many times the longest backoff: earlier failures are forgotten


class Event:
    """What happened to a unit, with whatever it carries."""

    __slots__ = ("gpu", "kind", "pid", "reason", "started", "status")

    def __init__(
        self,
        kind: str,
        *,
        reason: str = "",
        pid: int = 0,
        started: int = 0,
        status: int = 0,
        gpu: Record | None = None,
    ) -> None:
        self.kind = kind
        self.reason = reason
        self.pid = pid
        self.started = started
        self.status = status
        self.gpu = gpu


class State:
    """Everything PID 1 knows of a unit while it runs. ``started`` is the process's start time in
    clock ticks (proc(5), field 22), which tells a recycled pid from the real one. ``status`` is a
    waitid code: exit status, or minus the signal.
    """

    __slots__ = (
        "again",
        "deadline",
        "desired",
        "failures",
        "gpu",
        "killed",
        "name",
        "pid",
        "ready_at",
        "reason",
        "restarts",
        "since",
        "started",
        "state",
        "status",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = INACTIVE
        self.desired = DOWN
        self.reason = self.killed = ""
        self.pid = self.started = self.status = 0
        self.restarts = self.failures = 0
        self.since = self.ready_at = self.deadline = 0.0
        self.again = False
        self.gpu: Record | None = None

    def to_record(self) -> Record:
        """The JSON form."""
        return {slot: getattr(self, slot) for slot in self.__slots__}

    @classmethod
    def from_record(cls, record: Record) -> State:
        """The state of a JSON form. Raises KeyError for a missing field."""
        state = cls("")
        for slot in cls.__slots__:
            setattr(state, slot, record[slot])
        return state


def step(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """Apply ``event``: the new state is in ``state``, the actions are returned in order.

    An event that makes no sense in the current state changes nothing.
    """
    kind = event.kind
    if kind == START:
        return _start(state, now)
    if kind == STOP:
        return _stop(unit, state, now)
    if kind == RESTART:
        return _restart(unit, state, now)
    if kind == EXIT:
        return _exit(unit, state, event, now) if state.pid and event.pid == state.pid else []
    if kind == DEADLINE:
        return _deadline(unit, state, now) if state.deadline and now >= state.deadline else []
    if state.state == WAITING and kind == GO:
        return _go(unit, state, now)
    if state.state == ALLOCATING and kind == ALLOCATED:
        state.gpu = event.gpu
        return _go(unit, state, now)
    if kind == ALLOCATED:
        return [] if state.gpu else [RELEASE]  # nobody waits for it any more
    if state.state == ALLOCATING and kind == NOT_ALLOCATED:
        return _not_allocated(unit, state, event.reason, now)
    if state.state == STARTING:
        return _starting(unit, state, event, now)
    return []


def _enter(state: State, name: str, now: float, reason: str = "", deadline: float = 0.0) -> None:
    state.state = name
    state.since = now
    state.reason = reason
    state.deadline = deadline


def _start(state: State, now: float) -> list[str]:
    state.desired = UP
    if state.state == STOPPING:
        state.again = True
    elif state.state in (INACTIVE, EXITED, FAILED, REFUSED, BACKOFF):
        state.failures = 0
        _enter(state, WAITING, now)
    return []


def _stop(unit: Unit, state: State, now: float) -> list[str]:
    state.desired = DOWN
    state.again = False
    if state.pid:
        return _terminate(unit, state, "stopped on request", now)
    _enter(state, INACTIVE, now)
    return _release(state)


def _restart(unit: Unit, state: State, now: float) -> list[str]:
    state.desired = UP
    state.failures = 0
    if not state.pid:
        _enter(state, WAITING, now)
        return []
    state.again = True
    return _terminate(unit, state, "restarted on request", now)


def _terminate(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    if state.state == STOPPING:
        return []
    _enter(state, STOPPING, now, reason, now + unit.stop_timeout)
    return [TERMINATE]


def _go(unit: Unit, state: State, now: float) -> list[str]:
    if unit.gpu_profile and state.gpu is None:
        _enter(state, ALLOCATING, now, f"waits for a {unit.gpu_profile}", now + ALLOCATION_SECONDS)
        return [ALLOCATE]
    return _spawn(unit, state, "", now)


def _not_allocated(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    if unit.gpu_required:
        return _fail(unit, state, reason, now)
    return _spawn(unit, state, f"without a GPU: {reason}", now)


def _spawn(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    _enter(state, STARTING, now, reason, now + unit.start_timeout)
    state.killed = ""
    return [SPAWN]


def _starting(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    if event.kind == SPAWNED:
        state.pid, state.started = event.pid, event.started
    says_so = plan.NOTIFY if event.kind == NOTIFIED_READY else plan.SIMPLE
    if event.kind in (SPAWNED, NOTIFIED_READY):
        if state.pid and unit.type == says_so:
            _enter(state, READY, now, state.reason)
            state.ready_at = now
    elif event.kind == NOT_SPAWNED:
        return _fail(unit, state, event.reason, now)
    elif event.kind == DENIED:
        _enter(state, REFUSED, now, event.reason)
        return _release(state)
    return []


def _deadline(unit: Unit, state: State, now: float) -> list[str]:
    state.deadline = 0.0
    if state.state == BACKOFF:
        _enter(state, WAITING, now, state.reason)
    elif state.state == ALLOCATING:
        return _not_allocated(unit, state, f"no GPU instance in {ALLOCATION_SECONDS:g} s", now)
    elif state.state == STARTING:
        if not state.pid:
            return _fail(unit, state, "was not started", now)
        state.killed = f"not ready in {unit.start_timeout:g} s"
        return [KILL]
    elif state.state == STOPPING:
        state.killed = f"did not stop in {unit.stop_timeout:g} s"
        return [KILL]
    return []


def _exit(unit: Unit, state: State, event: Event, now: float) -> list[str]:
    """The main process is gone; whatever it left in its cgroup goes too."""
    previous, state.pid, state.started, state.status = state.state, 0, 0, event.status
    if previous == READY and now - state.ready_at >= unit.backoff_max * STABLE_FACTOR:
        state.failures = 0
    reason = state.killed or event.reason
    state.killed = ""
    if previous == STOPPING:
        if state.again or state.desired == UP:
            state.again = False
            state.restarts += 1
            _enter(state, WAITING, now)
            return [KILL]
        _enter(state, INACTIVE, now, reason if event.status else "")
        return [KILL, *_release(state)]
    clean = event.status == 0 and reason == event.reason
    if clean and (unit.type == plan.ONESHOT or unit.restart != plan.ALWAYS):
        _enter(state, EXITED, now)
        return [KILL, *_release(state)]
    return [KILL, *_fail(unit, state, reason, now)]


def _fail(unit: Unit, state: State, reason: str, now: float) -> list[str]:
    state.failures += 1
    if unit.restart == plan.NEVER:
        _enter(state, FAILED, now, reason)
        return _release(state)
    if unit.backoff_limit and state.failures > unit.backoff_limit:
        _enter(state, FAILED, now, f"{reason}; held after {state.failures} failures in a row")
        return _release(state)
    state.restarts += 1
    _enter(state, BACKOFF, now, reason, now + unit.backoff(state.failures))
    return []


def _release(state: State) -> list[str]:
    held, state.gpu = state.gpu, None
    return [] if held is None else [RELEASE]
