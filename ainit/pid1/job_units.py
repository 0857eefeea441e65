"""The units of jobs: they are beside those of the plan, whatever plan is in force, and outlive
PID 1 in the journal. No reboot, soft or hard, leaves any.

    known = JobUnits(journal)
    known.beside(plan)                  # the plan with the jobs
"""

from __future__ import annotations

from ..policy.plan import Plan, Unit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .journal import Journal

JOB = "job "  # keys of the journal begin with this
_COUNT = "jobs"


class JobUnits:
    """``units`` by name; ``count`` is how many there were since the boot."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.units: dict[str, Unit] = {}
        for name, record in journal.under(JOB).items():
            if isinstance(record, dict):
                self.units[name] = Unit.from_record(record)
        count = journal.values.get(_COUNT)
        self.count = count if isinstance(count, int) else 0

    def beside(self, plan: Plan) -> Plan:
        """A plan with the jobs behind its own units."""
        return Plan([*plan.units, *self.units.values()], plan.machine) if self.units else plan

    def add(self, unit: Unit) -> None:
        """One more, which a PID 1 that takes over knows, too."""
        self._journal.put(_COUNT, self.count + 1)
        self.count += 1
        self._journal.put(JOB + unit.name, unit.to_record())
        self.units[unit.name] = unit

    def remove(self, name: str) -> None:
        """It is forgotten."""
        self._journal.discard(JOB + name)
        self.units.pop(name, None)
