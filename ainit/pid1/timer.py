"""One unit's timer: what it waits for, and by how much each elapse is put off.

The delay, below the unit's jitter, is drawn from a hash of the machine's seed, the unit's name and
the elapse: the same whenever it is asked for, and another for each machine, unit and day. Leaves
out when it elapses and what follows: see ``timers``.
"""

from __future__ import annotations

from ..policy.plan import spread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.plan import Record, Unit


class Timer:
    """``base`` is the unit's last start in seconds since boot (0: none), ``boot`` whether the time
    after boot is still to come, ``elapse`` what the calendar is waited for, ``last`` what the unit
    was started for, both in seconds since 1970 in UTC, ``pending`` why it is about to be started.
    """

    __slots__ = (
        "_seed",
        "base",
        "boot",
        "elapse",
        "last",
        "name",
        "pending",
        "queued",
        "unit",
    )

    def __init__(self, unit: Unit, seed: str) -> None:
        self.unit = unit
        self.name = unit.name
        self._seed = seed
        self.base = 0.0
        self.boot = unit.timer_boot > 0
        self.elapse: int | None = None
        self.last = -1
        self.pending = ""
        self.queued = False

    def resume(self, record: Record) -> None:
        """Take over what ``to_record`` gave, of this version of ainit or another."""
        base, last, elapse = record.get("base"), record.get("last"), record.get("elapse")
        self.base = float(base) if isinstance(base, (float, int)) else 0.0
        self.last = last if isinstance(last, int) else -1
        self.elapse = elapse if isinstance(elapse, int) else None
        self.boot = self.boot and record.get("boot") is not False
        self.pending = str(record.get("pending") or "")

    def to_record(self) -> Record:
        """The JSON form."""
        return {
            "base": self.base,
            "boot": self.boot,
            "elapse": self.elapse,
            "last": self.last,
            "pending": self.pending,
        }

    def fits(self, unit: Unit) -> bool:
        """Whether the unit's timer is still this one."""
        return all(
            getattr(self.unit, key) == getattr(unit, key)
            for key in (
                "timer_calendar",
                "timer_boot",
                "timer_every",
                "timer_jitter",
                "timer_persistent",
            )
        )

    def at(self, elapse: int) -> float:
        """When an elapse of the calendar comes, jitter included."""
        return elapse + self._jitter(elapse)

    def boot_due(self) -> float:
        """When the time after boot is over, in seconds since boot."""
        return self.unit.timer_boot + self._jitter(0)

    def due(self) -> float:
        """When it elapses next by the clock that nobody sets; 0 for never."""
        due = self.boot_due() if self.boot else 0.0
        if self.unit.timer_every and self.base:
            every = self.base + self.unit.timer_every + self._jitter(int(self.base))
            due = min(due or every, every)
        return due

    def _jitter(self, elapse: int) -> float:
        if not self.unit.timer_jitter:
            return 0.0
        return self.unit.timer_jitter * spread(f"{self._seed} {self.name} {elapse}")
