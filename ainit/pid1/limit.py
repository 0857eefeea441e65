"""How often a thing may start a unit: what fails at once, while its cause stays, must not spin.

>>> times = iter((0.0, 1.0, 2.0, 30.0))
>>> limit = TriggerLimit(starts=2, seconds=10.0, now=lambda: next(times))
>>> [limit.exceeded("a") for _ in range(4)]
[False, False, True, False]
"""

from __future__ import annotations

from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class TriggerLimit:
    """At most ``starts`` in ``seconds`` for each unit."""

    def __init__(
        self, *, starts: int = 20, seconds: float = 10.0, now: Callable[[], float] = loop.now
    ) -> None:
        self.starts = starts
        self.seconds = seconds
        self._now = now
        self._times: dict[str, list[float]] = {}

    def exceeded(self, name: str) -> bool:
        """Count a start, or tell that there were too many; that is not counted."""
        now = self._now()
        times = [at for at in self._times.get(name, ()) if now - at < self.seconds]
        self._times[name] = times
        if len(times) >= self.starts:
            return True
        times.append(now)
        return False

    def forget(self, name: str) -> None:
        """Count anew."""
        self._times.pop(name, None)

    def words(self, cause: str) -> str:
        """Why a unit is held."""
        return f"{cause} started it {self.starts} times in {self.seconds:g} s"
