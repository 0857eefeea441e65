"""When each unit is to be looked at next. A deadline that moved away is found out only once it has
passed: a watchdog that is moved with every message costs nothing here.

    deadlines.arm("weather", now + 5)
    for name in deadlines.passed(now):
        ...
"""

from __future__ import annotations

from _heapq import heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Deadlines:
    """The nearest deadline that was armed for each name, in seconds since boot."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._armed: dict[str, float] = {}

    def arm(self, name: str, due: float) -> None:
        """See that ``name`` is looked at no later than at ``due`` (0: no deadline)."""
        armed = self._armed.get(name)
        if due and (armed is None or due < armed):
            self._armed[name] = due
            heappush(self._heap, (due, name))

    def passed(self, now: float) -> Iterator[str]:
        """Those whose armed deadline is over; none of them is armed any more."""
        while self._heap and self._heap[0][0] <= now:
            due, name = heappop(self._heap)
            if self._armed.get(name) == due:  # or a nearer one took its place
                del self._armed[name]
                yield name

    @property
    def next(self) -> float:
        """The earliest deadline of all (0: none)."""
        return self._heap[0][0] if self._heap else 0.0
