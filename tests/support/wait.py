"""The one way in which tests wait: for a condition, with a deadline, never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 60.0  # generous, for a slow and busy machine: a passing test never gets near it
_PAUSE_SECONDS = 0.01


def wait_for(
    condition: Callable[[], T],
    what: str,
    seconds: float = DEADLINE_SECONDS,
    pause: float = _PAUSE_SECONDS,
) -> T:
    """The first true value of ``condition()``. Fails the test, saying ``what`` never came."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {value!r}")
        time.sleep(pause)
