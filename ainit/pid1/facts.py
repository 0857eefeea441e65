"""What PID 1 found out about the machine on the way up, and how it fared since.

Journaled, so that whoever takes over knows it. Times in seconds since boot.
"""

from __future__ import annotations

from ..policy import phases
from . import configuration
from .job_units import JOB
from .shutdown import SOFT_REBOOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .journal import Journal

_FACTS = "facts"
_FAULTS = "faults"
REQUESTED = "requested"  # how the reason of a re-execution that is no fault begins


class Facts:
    """``found`` once everything before the units is done. ``faults`` counts how often PID 1 was
    started anew for a fault, ``faults_in_a_row`` those without a minute of peace between them.
    """

    __slots__ = (
        "config_digest",
        "configuration",
        "fault_at",
        "faults",
        "faults_in_a_row",
        "found",
        "last_fault",
        "loader",
        "plan",
        "problems",
        "refused",
        "root",
        "secure_boot",
        "started",
        "state",
    )

    def __init__(self) -> None:
        self.started = 0.0
        self.root = ""
        self.state = ""
        self.configuration = ""
        self.secure_boot = "unknown"
        self.loader: list[float] | None = None  # seconds in the firmware, in the loader
        self.problems: list[str] = []
        self.found = self.refused = False
        self.plan = self.config_digest = ""
        self.faults = self.faults_in_a_row = 0
        self.last_fault = ""
        self.fault_at = 0.0

    @classmethod
    def of(cls, journal: Journal) -> Facts:
        """What a former PID 1 knew."""
        facts = cls()
        for key in (_FACTS, _FAULTS):
            record = journal.values.get(key)
            for slot, value in (record if isinstance(record, dict) else {}).items():
                if slot in cls.__slots__:
                    setattr(facts, slot, value)
        return facts

    def remember(self, journal: Journal) -> None:
        """Everything before the units is done."""
        self.found = True
        faulty = ("faults", "faults_in_a_row", "last_fault", "fault_at")
        journal.put(
            _FACTS, {slot: getattr(self, slot) for slot in self.__slots__ if slot not in faulty}
        )

    def count_fault(self, reason: str, now: float, forgiven: float, journal: Journal) -> bool:
        """PID 1 was started anew for ``reason``; False when that was no fault."""
        if reason.startswith((REQUESTED, SOFT_REBOOT)):
            return False
        self.faults += 1
        peace = now - self.fault_at >= forgiven
        self.faults_in_a_row = 1 if peace else self.faults_in_a_row + 1
        self.last_fault, self.fault_at = reason, now
        slots = ("faults", "faults_in_a_row", "last_fault", "fault_at")
        journal.put(_FAULTS, {slot: getattr(self, slot) for slot in slots})
        return True

    def config_event(self) -> phases.Event:
        """The event that measures the machine configuration in force at boot."""
        return configuration.event(self.config_digest)


def forget(journal: Journal) -> None:
    """User space begins anew: all that is kept are the faults, the TPM's log and the survivors."""
    jobs = (key for key in journal.values if key.startswith(JOB))
    journal.discard(_FACTS, "begun", "order", "ending", *jobs)
