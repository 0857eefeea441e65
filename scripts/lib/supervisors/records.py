"""What the services write down: which one started when, as which process.

starts = Records(path)
starts.wait_new({5}, 30.0, print)     # seconds of CLOCK_MONOTONIC at which number 5 started anew
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

FORM = struct.Struct("=IIQ")
EXEC = 0xFFFFFFFF  # the moment at which the supervisor itself was executed
DONE = 0xFFFFFFFE  # a last unit, which a supervisor starts once all others are ready
POLL_S = 0.01


class LateError(Exception):
    """Not all of what was waited for came in time; the message says how much did."""


class Start(NamedTuple):
    """One start: the service's number, its pid inside, and seconds of CLOCK_MONOTONIC."""

    number: int
    pid: int
    moment: float


def parse(data: bytes) -> Iterator[Start]:
    """The whole records of ``data``."""
    whole = len(data) - len(data) % FORM.size
    for number, pid, moment in FORM.iter_unpack(data[:whole]):
        yield Start(number, pid, moment / 1e9)


class Records:
    """The records of one run. ``latest`` is the last start of every number so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self.latest: dict[int, Start] = {}

    def read(self) -> list[Start]:
        """What is new."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        found = list(parse(data))
        self._position += len(found) * FORM.size
        self.latest.update((start.number, start) for start in found)
        return found

    def wait_new(
        self, numbers: Collection[int], deadline_s: float, check: Callable[[], object]
    ) -> float:
        """Wait for a new start of each of these; returns the moment of the last.

        ``check`` raises what makes waiting vain. Raises LateError.
        """
        missing = set(numbers)
        moment = 0.0
        end = time.monotonic() + deadline_s
        while True:
            for start in self.read():
                if start.number in missing:
                    missing.discard(start.number)
                    moment = max(moment, start.moment)
            if not missing:
                return moment
            check()
            if time.monotonic() > end:
                came = len(numbers) - len(missing)
                raise LateError(f"{came} of {len(numbers)} started in {deadline_s:g} s")
            time.sleep(POLL_S)
