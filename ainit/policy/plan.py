"""The compiled plan: what PID 1 runs, as plain records with a JSON form.

``config`` makes a Plan from TOML at build time, and a child does so again when the machine has a
configuration of its own; PID 1 only ever reads the JSON. Leaves out: checking, see ``config``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SIMPLE = "simple"  # ready once it was executed, or once its first probe succeeded
NOTIFY = "notify"  # ready when it says so (sd_notify(3))
FORKING = "forking"  # ready when its first process ended well and left others behind
ONESHOT = "oneshot"  # ready, for good, when its process ended well
TARGET = "target"  # no process: a name for a group of units
TYPES = (SIMPLE, NOTIFY, FORKING, ONESHOT, TARGET)

ALWAYS = "always"
ON_FAILURE = "on-failure"
NEVER = "never"
RESTARTS = (ALWAYS, ON_FAILURE, NEVER)

# What happens when the restart limit is used up.
HOLD = "hold"
REBOOT = "reboot"
FALLBACK = "fallback"  # reboot into the other slot
EXHAUSTIONS = (HOLD, REBOOT, FALLBACK)

# Whose notifications count: of the main process, of any process in the unit's cgroup, or of nobody.
NOTIFY_ACCESS = ("main", "all", "none")

# What memory pressure leads to (``memory_pressure_action``).
LOG = "log"
RESTART = "restart"
KILL = "kill"
PRESSURE_ACTIONS = (LOG, RESTART, KILL)

# When a unit may start: before the boot set is measured, after it, or once the machine is healthy.
EARLY = "early"
MAIN = "main"
HEALTHY = "healthy"
STAGES = (EARLY, MAIN, HEALTHY)

SERVICE = "service"
AGENT = "agent"
JOB = "job"  # what somebody had run: see ``jobs``
CONFINED = (AGENT, JOB)  # measured, and held to what was measured for them

# The variable in which a unit is given its table of the machine configuration, as JSON.
SETTINGS = "AINOS_SETTINGS"

REQUIRED = "required"
OPTIONAL = "optional"

Record = dict[str, object]


class Unit:
    """One service, agent or target. Times are in seconds, sizes in bytes; 0 is none, or no limit.

    A default lies in the class, and an instance holds only what differs from it: that is the JSON
    form, too, so that 1,000 units of a few keys each cost what their keys cost.
    """

    description = ""
    type = SIMPLE
    exec: Sequence[str] = ()
    stage = MAIN
    autostart = True  # at boot; False when something else starts it
    essential = True
    configured_by = ""  # a table of the machine configuration; without it the unit does not start
    rescue = False
    survives = False  # a soft reboot leaves it alone
    stops_last = False  # when the machine goes down: after every other unit

    # Dependencies: ``after`` and ``before`` order; the others also pull in or push out.
    after: Sequence[str] = ()
    before: Sequence[str] = ()
    requires: Sequence[str] = ()
    wants: Sequence[str] = ()
    bound_to: Sequence[str] = ()
    conflicts: Sequence[str] = ()
    provides: Sequence[str] = ()

    # Start, stop, restart.
    restart = ALWAYS
    success_status: Sequence[int] = (0,)
    start_timeout = 30.0
    stop_timeout = 5.0
    stop_signal = 15
    reload_signal = 0  # 0: the unit cannot reload
    backoff_first = 0.5
    backoff_factor = 2.0
    backoff_max = 30.0
    backoff_limit = 10
    backoff_jitter = 0.0  # share of the delay that is drawn at random
    exhausted = HOLD
    notify_access = "main"
    fd_store_max = 0

    # Health.
    watchdog = 0.0
    probe_exec: Sequence[str] = ()
    probe_connect = ""  # "unix:/PATH" or "tcp:HOST:PORT", HOST a numeric address
    probe_varlink = ""  # an interface the unit provides; its GetInfo must answer
    probe_interval = 10.0
    probe_timeout = 5.0
    probe_failures = 3
    probe_readiness = False  # the first success makes the unit ready

    # Activation. Each is started by the first thing of these that happens.
    timer_calendar: Sequence[Mapping[str, Sequence[int]]] = ()  # see ``calendar``
    timer_boot = 0.0  # seconds after boot
    timer_every = 0.0  # seconds after the last start
    timer_jitter = 0.0
    timer_persistent = False  # an elapse missed while the machine was off is made up for
    sockets: Sequence[Mapping[str, object]] = ()  # see ``config``
    on_demand = False  # started by the first connection rather than before it
    paths: Sequence[Mapping[str, str]] = ()  # {"exists"|"changed"|"not-empty": PATH}
    devices: Sequence[Mapping[str, str]] = ()  # udev properties that all match

    # Resources.
    memory_min = 0
    memory_low = 0
    memory_high = 0
    memory_max = 0
    memory_swap_max = -1  # -1: no limit
    cpu_weight = 0
    cpu_max = 0  # per cent of one processor
    cpus = ""  # cpuset list, "0-3,8"
    memory_nodes = ""
    io_weight = 0
    io_max: Mapping[
        str, Mapping[str, int]
    ] = {}  # device "MAJOR:MINOR" or path → rbps wbps riops wiops
    pids_max = 0
    memory_pressure = 0.0  # per cent of time stalled, over ten seconds
    memory_pressure_action = LOG

    # The process.
    environment: Mapping[str, str] = {}
    directory = ""
    user = 0
    user_name = ""  # looked up when the unit is started; "" is the number in ``user``
    group = ""
    groups: Sequence[str] = ()
    umask = 0o022
    capabilities: Sequence[str] | None = None  # None: all of root's, none of anybody else's
    credentials: Mapping[str, str] = {}  # name → path of the file it is read from
    limits: Mapping[str, int] = {}  # "nofile" → limit (setrlimit(2))
    oom_score = 0
    nice = 0

    # Logs.
    log_ring = 0  # 0: the machine's
    log_persistent = True

    # What an agent names.
    models: Sequence[str] = ()
    optional_models: Sequence[str] = ()
    extensions: Sequence[str] = ()
    optional_extensions: Sequence[str] = ()
    measurement = OPTIONAL
    gpu_profile = ""  # the one that it likes best
    gpu_profiles: Sequence[str] = ()  # all that it can use; () is that one
    gpu_speeds: Mapping[str, float] = {}  # of these, relative to the whole GPU
    gpu_required = True
    gpu_priority = 0
    gpu_estimate = 0.0  # seconds on the profile that it likes best
    gpu_deadline = 0.0  # seconds since boot
    gpu_owner = ""
    gpu_resizable = False
    gpu_numa = "gpu"
    bundle = ""
    sandbox: Mapping[str, object] = {}  # see ``sandbox.Profile``
    sandboxed = False  # of a job, whether it is in one; an agent always is

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        if kind in CONFINED:
            self.measurement = REQUIRED

    @property
    def is_unconfigured(self) -> bool:
        """Whether it is there for a table that this machine's configuration lacks."""
        return bool(self.configured_by) and SETTINGS not in self.environment

    @property
    def is_triggered(self) -> bool:
        """Whether something else than the boot starts it: a timer, path, device or connection, or
        the configuration that it is there for, once there is one.
        """
        return self.is_unconfigured or bool(
            self.timer_calendar
            or self.timer_boot
            or self.timer_every
            or self.paths
            or self.devices
            or (self.on_demand and (self.sockets or self.provides))
        )

    @property
    def has_probe(self) -> bool:
        """Whether its health is probed."""
        return bool(self.probe_exec or self.probe_connect or self.probe_varlink)

    def backoff(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row (at least one): exponential, bounded.

        Jitter shortens it by a share that depends on the unit's name and on ``failures`` only, so
        that units which failed together do not come back together.
        """
        exponent = min(failures - 1, 64)  # no number of failures overflows
        delay = min(self.backoff_first * self.backoff_factor**exponent, self.backoff_max)
        return float(delay * (1.0 - self.backoff_jitter * spread(f"{self.name} {failures}")))

    def to_record(self) -> Record:
        """The JSON form: what differs from the defaults."""
        return {
            key: value
            for key, value in self.__dict__.items()
            if key in ("name", "kind", "measurement") or not same(value, getattr(Unit, key))
        }

    @classmethod
    def from_record(cls, record: Record) -> Unit:
        """The unit of a JSON form. Raises KeyError for a field missing or unknown."""
        unit = cls(str(record["name"]), str(record["kind"]))
        for key in [each for each in record if each not in ("name", "kind")]:
            if key not in FIELDS:
                raise KeyError(key)
            setattr(unit, key, record[key])
        return unit


# What a record may hold besides name and kind: the attributes of the class that are values.
FIELDS = frozenset(
    key
    for key, value in vars(Unit).items()
    if not key.startswith("_") and not callable(value) and not hasattr(value, "__get__")
)


def same(value: object, other: object) -> bool:
    """Whether two values of a field say the same; a list is as good as a tuple."""
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return list(value) == list(other)
    return value == other


def spread(text: str) -> float:
    """A number in [0, 1) that looks random and depends on ``text`` alone (FNV-1a, 32 bits)."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value / (1 << 32)


class Plan:
    """Everything PID 1 is to run, in start order, and the validated machine configuration.

    ``machine`` holds hostname, without_tpm, without_enforcement (each ``refuse`` or ``start``), and
    the tables of the network, of publishers, of trusted roots and of remote control.
    """

    __slots__ = ("machine", "units")

    def __init__(self, units: list[Unit], machine: Record) -> None:
        self.units = units
        self.machine = machine

    def to_record(self) -> Record:
        """The JSON form."""
        return {
            "schema": 2,
            "units": [unit.to_record() for unit in self.units],
            "machine": self.machine,
        }

    @classmethod
    def from_record(cls, record: Record) -> Plan:
        """The plan of a JSON form. Raises KeyError, TypeError or ValueError when it is not one."""
        if record["schema"] != 2:
            raise ValueError(f"plan of unknown schema {record['schema']}")
        units, machine = record["units"], record["machine"]
        if not isinstance(units, list) or not isinstance(machine, dict):
            raise TypeError("a plan has a list of units and a machine")
        found = [Unit.from_record(unit) for unit in units]
        _share([unit for unit in found if unit.exec])
        return cls(found, machine)


def _share(units: Iterable[Unit]) -> None:
    """Let equal words of commands be one object: a thousand units often say the same."""
    known: dict[str, str] = {}
    for unit in units:
        unit.exec = tuple(known.setdefault(word, word) for word in unit.exec)
