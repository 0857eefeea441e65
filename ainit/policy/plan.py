"""The compiled plan: what PID 1 runs, as plain slot records with a JSON form.

``config`` makes a Plan from TOML at build time, and a child does so again when the machine has a
configuration of its own; PID 1 only ever reads the JSON. Leaves out: checking, see ``config``.
"""

from __future__ import annotations

SIMPLE = "simple"
NOTIFY = "notify"
ONESHOT = "oneshot"
TYPES = (SIMPLE, NOTIFY, ONESHOT)

ALWAYS = "always"
ON_FAILURE = "on-failure"
NEVER = "never"
RESTARTS = (ALWAYS, ON_FAILURE, NEVER)

# When a unit may start: before the boot set is measured, after it, or once the machine is healthy.
EARLY = "early"
MAIN = "main"
HEALTHY = "healthy"
STAGES = (EARLY, MAIN, HEALTHY)

SERVICE = "service"
AGENT = "agent"

REQUIRED = "required"
OPTIONAL = "optional"

Record = dict[str, object]


class Unit:
    """One service or agent. Times are in seconds, ``memory_max`` in bytes."""

    __slots__ = (
        "after",
        "backoff_factor",
        "backoff_first",
        "backoff_limit",
        "backoff_max",
        "bundle",
        "cpu_weight",
        "description",
        "environment",
        "essential",
        "exec",
        "extensions",
        "gpu_profile",
        "gpu_required",
        "kind",
        "measurement",
        "memory_max",
        "models",
        "name",
        "optional_extensions",
        "optional_models",
        "pids_max",
        "provides",
        "requires",
        "rescue",
        "restart",
        "stage",
        "start_timeout",
        "stop_timeout",
        "type",
        "user",
        "wants",
    )

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.exec: list[str] = []
        self.description = ""
        self.type = SIMPLE
        self.stage = MAIN
        self.after: list[str] = []
        self.requires: list[str] = []
        self.wants: list[str] = []
        self.provides: list[str] = []
        self.environment: dict[str, str] = {}
        self.models: list[str] = []
        self.optional_models: list[str] = []
        self.extensions: list[str] = []
        self.optional_extensions: list[str] = []
        self.essential = True
        self.rescue = False
        self.restart = ALWAYS
        self.start_timeout = 30.0
        self.stop_timeout = 5.0
        self.backoff_first = 0.5
        self.backoff_factor = 2.0
        self.backoff_max = 30.0
        self.backoff_limit = 10
        self.memory_max = 0
        self.pids_max = 0
        self.cpu_weight = 0
        self.measurement = REQUIRED if kind == AGENT else OPTIONAL
        self.gpu_profile = ""
        self.gpu_required = True
        self.bundle = ""
        self.user = 0

    def backoff(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row (at least one): exponential, bounded."""
        exponent = min(failures - 1, 64)  # no number of failures overflows
        return float(min(self.backoff_first * self.backoff_factor**exponent, self.backoff_max))

    def to_record(self) -> Record:
        """The JSON form."""
        return {slot: getattr(self, slot) for slot in self.__slots__}

    @classmethod
    def from_record(cls, record: Record) -> Unit:
        """The unit of a JSON form. Raises KeyError for a missing field."""
        unit = cls.__new__(cls)
        for slot in cls.__slots__:
            setattr(unit, slot, record[slot])
        return unit


class Plan:
    """Everything PID 1 is to run, in start order, and the validated machine configuration.

    ``machine`` holds hostname, without_tpm (``refuse`` or ``start``) and the network's tables.
    """

    __slots__ = ("machine", "units")

    def __init__(self, units: list[Unit], machine: Record) -> None:
        self.units = units
        self.machine = machine

    def to_record(self) -> Record:
        """The JSON form."""
        return {
            "schema": 1,
            "units": [unit.to_record() for unit in self.units],
            "machine": self.machine,
        }

    @classmethod
    def from_record(cls, record: Record) -> Plan:
        """The plan of a JSON form. Raises KeyError, TypeError or ValueError when it is not one."""
        if record["schema"] != 1:
            raise ValueError(f"plan of unknown schema {record['schema']}")
        units, machine = record["units"], record["machine"]
        if not isinstance(units, list) or not isinstance(machine, dict):
            raise TypeError("a plan has a list of units and a machine")
        return cls([Unit.from_record(unit) for unit in units], machine)
