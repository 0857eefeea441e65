"""What PID 1 knows of a unit while it runs, and what can happen to it.

``State`` has a JSON form, so that PID 1 can hand it over to itself. Leaves out what follows from an
event: see ``machine``. Times are seconds on CLOCK_BOOTTIME.

>>> state = State("a")
>>> state.state, state.to_record()
('inactive', {'name': 'a'})
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .plan import Record

# States.
INACTIVE = "inactive"
WAITING = "waiting"
ALLOCATING = "allocating"
STARTING = "starting"
READY = "ready"
STOPPING = "stopping"
DRAINING = "draining"  # its main process is gone, what it left in its cgroup is being killed
BACKOFF = "backoff"
EXITED = "exited"  # a oneshot that did its work
FAILED = "failed"  # held: only an explicit start tries again
REFUSED = "refused"  # held: policy or measurement said no
QUARANTINED = "quarantined"  # frozen with what it has, or down; in either case held until let go
SETTLED = (READY, EXITED, FAILED, REFUSED, INACTIVE, QUARANTINED)
RUNNING = (STARTING, READY, STOPPING)
GOOD = (READY, EXITED)
DOWN_STATES = (INACTIVE, EXITED, FAILED, REFUSED)

UP = "up"
DOWN = "down"

# Events that people and other units cause.
START = "start"
STOP = "stop"
RESTART = "restart"
RELOAD = "reload"
QUARANTINE = "quarantine"  # freeze it, for ``reason``
LET_GO = "let-go"  # out of quarantine
REVOKED = "revoked"  # its GPU instance is not to be used any more: have it use another
# Events of PID 1's own making.
GO = "go"  # dependencies are met
ALLOCATED = "allocated"
NOT_ALLOCATED = "not-allocated"
QUEUED = "queued"  # it waits its turn for a GPU instance, and asks again in ``seconds``
TURN = "turn"  # it may be its turn now
MOVE = "move"  # its GPU instance is to be another one: it starts anew
SPAWNED = "spawned"
NOT_SPAWNED = "not-spawned"
DENIED = "denied"
DEADLINE = "deadline"
EXIT = "exit"  # the main process ended
EMPTIED = "emptied"  # the last process of the cgroup ended
FROZEN = "frozen"  # every process of the cgroup stands still
# Events that the unit causes.
NOTIFIED_READY = "notified-ready"
RELOADING = "reloading"
NOTIFIED_STOPPING = "notified-stopping"
EXTEND = "extend"  # ``seconds`` more before the present deadline
MAIN_PID = "main-pid"
PING = "ping"  # of its watchdog; ``seconds`` sets another period
HOLD = "hold"  # it was triggered too often
FINDINGS = "findings"  # what it says of itself that keeps the machine from being healthy
TROUBLE = "trouble"  # a probe failed, or its memory is under pressure: start it anew

# Actions.
ALLOCATE = "allocate"
SPAWN = "spawn"
TERMINATE = "terminate"
KILL = "kill"
RELEASE = "release"
SIGNAL_RELOAD = "signal-reload"
EXHAUST = "exhaust"  # the restart limit is used up: reboot or fall back
FREEZE = "freeze"  # and report when it is so
THAW = "thaw"
EVIDENCE = "evidence"  # keep what there is of it to see


NOTHING: list[str] = []  # shared, never changed


class Event:
    """What happened to a unit, with whatever it carries.

    ``left`` (of EXIT): processes are left in the cgroup. ``main`` (of EXIT): the one that PID 1 has
    adopted there, 0 when there is none or several.
    """

    __slots__ = ("gpu", "kind", "left", "main", "pid", "reason", "seconds", "started", "status")

    def __init__(  # noqa: PLR0913 - each kind carries a few of these
        self,
        kind: str,
        *,
        reason: str = "",
        pid: int = 0,
        started: int = 0,
        status: int = 0,
        gpu: Record | None = None,
        left: bool = False,
        main: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self.kind = kind
        self.reason = reason
        self.pid = pid
        self.started = started
        self.status = status
        self.gpu = gpu
        self.left = left
        self.main = main
        self.seconds = seconds


class State:
    """Everything PID 1 knows of a unit while it runs.

    ``started`` is the process's start time in clock ticks (proc(5), field 22), which tells a
    recycled pid from the real one. ``status`` is a waitid code: exit status, or minus the signal.
    ``was`` is the state that draining or quarantine goes on from, ``ended`` how the main process
    ended and ``killed`` why PID 1 made it end. ``watchdog`` is the period in force, ``watchdog_at``
    its end.
    ``findings`` is what the unit says of itself that keeps the machine from being healthy.
    ``quarantine`` is why it is, or is to be, in quarantine; empty when it is not.
    ``queued``: it waits its turn for a GPU instance; ``moving``: it stops to get another one.
    ``todo`` are the actions of the last step: what a PID 1 that took over does again.
    """

    __slots__ = (
        "again",
        "deadline",
        "desired",
        "ended",
        "failures",
        "findings",
        "gpu",
        "killed",
        "moving",
        "name",
        "pid",
        "quarantine",
        "queued",
        "ready_at",
        "reason",
        "reloading",
        "restarts",
        "since",
        "spawned_at",
        "started",
        "state",
        "status",
        "text",
        "todo",
        "trigger",
        "wanted_at",
        "was",
        "watchdog",
        "watchdog_at",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = INACTIVE
        self.desired = DOWN
        self.reason = self.killed = self.ended = self.was = self.text = self.trigger = ""
        self.findings = self.quarantine = ""
        self.pid = self.started = self.status = 0
        self.restarts = self.failures = 0
        self.since = self.wanted_at = self.spawned_at = self.ready_at = 0.0
        self.deadline = self.watchdog = self.watchdog_at = 0.0
        self.again = self.reloading = self.queued = self.moving = False
        self.gpu: Record | None = None
        self.todo: list[str] = NOTHING

    def to_record(self) -> Record:
        """The JSON form: what differs from a unit that never ran."""
        record: Record = {}
        for slot, default in _FRESH:
            value = getattr(self, slot)
            if value != default:
                record[slot] = value
        return record

    @classmethod
    def from_record(cls, record: Record) -> State:
        """The state of a JSON form, of this version of ainit or another.

        What another version says besides is left out. Raises KeyError when it is no state's.
        """
        state = cls(str(record["name"]))
        for slot, value in record.items():
            if slot in cls.__slots__:
                setattr(state, slot, value)
        return state

    @property
    def is_alive(self) -> bool:
        """Whether there are processes of it, as far as PID 1 knows."""
        state = self.was if self.state == QUARANTINED else self.state
        return state in RUNNING or state == DRAINING

    @property
    def is_stopped(self) -> bool:
        """Whether it is as a stop leaves it."""
        return self.state == INACTIVE or (self.state == QUARANTINED and not self.is_alive)

    @property
    def is_down(self) -> bool:
        """Whether it has ended, and is not about to start by itself."""
        return self.state in DOWN_STATES or self.is_stopped

    @property
    def next_deadline(self) -> float:
        """When something is due, 0 for never."""
        if self.watchdog_at and (not self.deadline or self.watchdog_at < self.deadline):
            return self.watchdog_at
        return self.deadline


_FRESH = tuple((slot, getattr(State(""), slot)) for slot in State.__slots__)
