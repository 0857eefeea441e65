"""What is read of a GPU now and then, as records. PURE.

What a board, a driver or a mode does not tell is None, never zero. Under MIG a GPU tells no
utilisation, neither of itself nor of an instance (NVML API, nvmlDeviceGetUtilizationRates), and a
board with instances may not tell of its remapped rows (nvmlDeviceGetRemappedRows). Leaves out how
it is read: see ``nvml_health``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum

STALE_AFTER_S = 30.0  # six readings that did not come: a busy machine may miss a few


class Recovery(Enum):
    """What the driver wants done to a GPU (nvmlDeviceGpuRecoveryAction_t), by what follows here."""

    NONE = "none"
    RESET = "reset"
    REBOOT = "reboot"
    DRAIN = "drain"  # of peer-to-peer traffic only


class Fabric(Enum):
    """How far the NVSwitch fabric of a GPU is (nvmlGpuFabricState_t)."""

    NOT_STARTED = "not-started"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    FAILED = "failed"  # it came to an end with an error


@dataclass(frozen=True, slots=True)
class Part:
    """One MIG device. Memory in MiB; ``processes`` is how many use it."""

    instance: int
    uuid: str
    memory_used_mib: int | None
    memory_mib: int | None
    processes: int | None
    uncorrected: int | None = None  # errors of its caches since the driver was loaded


@dataclass(frozen=True, slots=True)
class Reading:
    """One GPU. Temperature in °C, power in W, clocks in MHz, memory in MiB, utilisation in %.

    ``throttle`` says why clocks are lower than they could be. ``uncorrected`` and ``corrected`` are
    memory errors since the driver was loaded, ``aggregate`` uncorrected ones of the board's life.
    ``remapped`` counts rows, ``retired`` pages.
    """

    index: int
    uuid: str
    name: str
    bus: str
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    clock_sm_mhz: int | None = None
    clock_memory_mhz: int | None = None
    throttle: tuple[str, ...] | None = None
    utilisation: int | None = None
    memory_used_mib: int | None = None
    memory_mib: int | None = None
    pcie_replays: int | None = None
    persistence: bool | None = None
    uncorrected: int | None = None
    corrected: int | None = None
    aggregate: int | None = None
    remapped: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    retired: int | None = None
    retired_pending: bool | None = None
    recovery: Recovery | None = None
    fabric: Fabric | None = None
    parts: tuple[Part, ...] = ()

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        record = asdict(self)
        record["recovery"] = self.recovery.value if self.recovery else None
        record["fabric"] = self.fabric.value if self.fabric else None
        record["throttle"] = None if self.throttle is None else list(self.throttle)
        record["parts"] = [asdict(part) for part in self.parts]
        return record


# nvmlClocksThrottleReasons, by bit (nvml.h). Idle and settings of the applications are no trouble.
THROTTLE = {
    0x0001: "idle",
    0x0002: "application-clocks",
    0x0004: "power-cap",
    0x0008: "hw-slowdown",
    0x0010: "sync-boost",
    0x0020: "sw-thermal",
    0x0040: "hw-thermal",
    0x0080: "power-brake",
    0x0100: "display-clocks",
}
HOT = "hw-thermal"


def throttle_words(mask: int) -> tuple[str, ...]:
    """The names of the bits that are set; those of no name are given as a number.

    >>> throttle_words(0x44)
    ('power-cap', 'hw-thermal')
    """
    known = tuple(name for bit, name in THROTTLE.items() if mask & bit)
    rest = mask & ~sum(THROTTLE)
    return (*known, f"{rest:#x}") if rest else known


@dataclass(frozen=True, slots=True)
class Shot:
    """The last that is known of a GPU; times are seconds of one clock.

    ``reading`` is kept when a later one fails; ``problem`` says why that failed. ``is_lost``: the
    GPU does not answer any more; ``is_closed``: the driver has to be opened anew. ``busy_since``: a
    call is under way since then.
    """

    reading: Reading | None = None
    taken_at: float | None = None
    problem: str = ""
    is_lost: bool = False
    is_closed: bool = False
    busy_since: float | None = None

    def is_stale(self, now: float) -> bool:
        """Whether it is too old to speak for the GPU."""
        return is_stale(self.taken_at, now)


def is_stale(taken_at: float | None, now: float) -> bool:
    """Whether a reading is missing, or too old to speak for the GPU; times in seconds."""
    return taken_at is None or now - taken_at > STALE_AFTER_S
