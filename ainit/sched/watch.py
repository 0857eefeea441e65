"""One thread that ends what takes too long: a deadline that costs next to nothing when it is kept.

A decision is over long before its deadline, and one follows another. So the thread is not woken for
each: as long as there was something to watch lately it looks every half deadline, and sleeps after.
What is watched is ended no later than one and a half deadlines after it began.

    watch.begin(0.25, stop)
    try: ...
    finally: watch.finish()
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep

_AWAKE_S = 2.0  # it goes on looking for so long after the last


class Watch:
    """Watches one thing at a time."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._watched: tuple[float, Callable[[], None]] | None = None  # until when, and how
        self._pause = 0.1
        self._last = 0.0
        self._awake = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.ended = False

    def begin(self, seconds: float, end: Callable[[], None]) -> None:
        """Call ``end`` in another thread when ``finish`` does not come within that time."""
        now = self._clock()
        self.ended = False
        self._pause = min(self._pause, seconds / 2)
        self._last = now
        self._watched = now + seconds, end
        if not self._awake:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True, name="deadlines")
                self._thread.start()
            self._wake.set()

    def finish(self) -> bool:
        """It is over; whether it was ended."""
        self._watched = None
        return self.ended

    def _watch(self) -> None:
        while True:
            self._awake = True
            while not self._is_idle():
                self.look()
                sleep(self._pause)
            self._awake = False
            # Who came in between found it awake, and is not forgotten.
            if self._is_idle():
                self._wake.wait()
            self._wake.clear()

    def _is_idle(self) -> bool:
        return self._watched is None and self._clock() >= self._last + _AWAKE_S

    def look(self) -> None:
        """End what is late."""
        watched = self._watched
        if watched is not None and self._clock() >= watched[0]:
            self.ended = True
            watched[1]()
