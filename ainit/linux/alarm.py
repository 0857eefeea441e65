"""A bound on system calls that end early when a signal comes, for the main thread.

with Alarm(0.05):
    os.write(memory_max, b"1048576")   # reclaims for a twentieth of a second at most
"""

from __future__ import annotations

import _signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Alarm:
    """Interrupt whatever waits, every ``seconds``, until the block ends."""

    __slots__ = ("_before", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._before = _signal.signal(_signal.SIGALRM, lambda number, frame: None)
        _signal.setitimer(_signal.ITIMER_REAL, self._seconds, self._seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _signal.setitimer(_signal.ITIMER_REAL, 0.0)
        if self._before is not None:
            _signal.signal(_signal.SIGALRM, self._before)
