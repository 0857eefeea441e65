"""How the machine goes down: what was asked for, until when, and what is left to be done.

Begun once; asking again changes nothing but the urgency. It is journaled, so that a PID 1 that
takes over goes on with it. Leaves out the last steps themselves: see ``platform``.
"""

from __future__ import annotations

from .. import constants
from ..linux import kmsg
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .journal import Journal
    from .supervisor import Supervisor

POWER_OFF = "power-off"
REBOOT = "reboot"
HALT = "halt"
KEXEC = "kexec"
SOFT_REBOOT = "soft-reboot"  # user space only: the kernel stays, and so do units that survive
WAYS = (POWER_OFF, REBOOT, HALT, KEXEC, SOFT_REBOOT)

_KEY = "ending"


class Shutdown:
    """``how`` is empty while the machine is to stay up."""

    def __init__(self, events: loop.Loop, journal: Journal, supervisor: Supervisor) -> None:
        self._journal = journal
        self._supervisor = supervisor
        self.how = ""
        self._deadline = 0.0
        match journal.values.get(_KEY):
            case [str(how), float(deadline)]:
                self.how, self._deadline = how, deadline
        events.hook(lambda now: self._deadline)

    def begin(self, how: str) -> None:
        """Begin to go down in one of ``WAYS``."""
        if self.how and not (self.how == SOFT_REBOOT and how != SOFT_REBOOT):
            return
        kmsg.log(f"{how}: stopping every unit")
        self.how = how
        self._deadline = loop.now() + constants.SHUTDOWN_SECONDS
        self._journal.put(_KEY, [self.how, self._deadline])
        self._supervisor.stop_all(survivors=how == SOFT_REBOOT)

    def go_on(self) -> None:
        """Go on with what a former PID 1 began: it may not have got to stop anything."""
        if self.how:
            self._supervisor.stop_all(survivors=self.how == SOFT_REBOOT)

    @property
    def is_due(self) -> bool:
        """Whether the last steps are to be taken: every unit is down, or time is up."""
        return bool(self.how) and (self._supervisor.order.stopped or loop.now() >= self._deadline)
