"""The clock on the wall and its jumps: which stretches of time it has shown already.

What came true while the clock showed a stretch came true then, and does not do so again because the
clock is set back over it. What is jumped over was never shown. Corrections of less than a second
are none. Leaves out how PID 1 is woken: see ``linux.timerfd``; a jump is seen without that, too.

>>> clock = WallClock(now=5.0, wall=1000.0)
>>> clock.expected(7.0)
1002.0
>>> clock.was_set(7.0, 500.0)
True
>>> clock.set(7.0, 500.0)
>>> clock.shown(1001), clock.shown(600)
(1002.0, None)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.plan import Record

_STEP_SECONDS = 1.0
_STRETCHES = 8


class WallClock:
    """``now`` is in seconds since boot, ``wall`` in seconds since 1970 in UTC."""

    def __init__(self, now: float, wall: float) -> None:
        self._offset = wall - now
        self._since = wall
        self._shown: list[tuple[float, float]] = []

    def resume(self, record: Record) -> None:
        """Take over what ``to_record`` gave. What is no such record changes nothing."""
        offset, since, shown = record.get("offset"), record.get("since"), record.get("shown")
        if isinstance(offset, float) and isinstance(since, float) and isinstance(shown, list):
            self._offset, self._since = offset, since
            self._shown = [(float(begin), float(end)) for begin, end in shown]

    def to_record(self) -> Record:
        """The JSON form. It changes when the clock is set, and only then."""
        return {
            "offset": self._offset,
            "since": self._since,
            "shown": [[begin, end] for begin, end in self._shown],
        }

    def expected(self, now: float) -> float:
        """What the clock shows if nobody set it."""
        return now + self._offset

    def was_set(self, now: float, wall: float) -> bool:
        """Whether somebody set it since it was last looked at."""
        return abs(wall - self.expected(now)) >= _STEP_SECONDS

    def set(self, now: float, wall: float) -> None:
        """Take note that it was set, and of the stretch that it had shown until then."""
        self._shown = [*self._shown, (self._since, self.expected(now))][-_STRETCHES:]
        self._since, self._offset = wall, wall - now

    def shown(self, at: int) -> float | None:
        """The end of the stretch before the clock was set that held this second; or None."""
        return max((end for begin, end in self._shown if begin < at <= end), default=None)
