"""What services print: a bounded ring of lines per unit, and the pipes that feed it.

A flood costs its own oldest lines, never PID 1: each turn reads a bounded amount, and what is
dropped is counted.
"""

from __future__ import annotations

import os
from _collections import deque

from ..constants import LOG_LINE_BYTES, LOG_RING_BYTES
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 65536
_LINE_OVERHEAD = 64  # what a stored line costs besides its text


class Line:
    """One line: the unit, seconds since boot, the text."""

    __slots__ = ("text", "time", "unit")

    def __init__(self, unit: str, time: float, text: str) -> None:
        self.unit = unit
        self.time = time
        self.text = text

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        return {"unit": self.unit, "time": round(self.time, 6), "text": self.text}


class Ring:
    """The last lines of one unit within a byte limit; ``dropped`` counts the bytes let go."""

    __slots__ = ("_limit", "_partial", "_size", "_unit", "dropped", "lines")

    def __init__(self, unit: str, limit: int = LOG_RING_BYTES) -> None:
        self._unit = unit
        self._limit = limit
        self._partial = b""
        self._size = 0
        self.dropped = 0
        self.lines: deque[Line] = deque()

    def feed(self, data: bytes, now: float) -> list[Line]:
        """Add what was read; returns the lines it completed. Overlong lines are cut and counted."""
        *whole, rest = (self._partial + data).split(b"\n")
        if len(rest) > LOG_LINE_BYTES:
            whole.append(rest)
            rest = b""
        self._partial = rest
        return [self._append(text, now) for text in whole]

    def flush(self, now: float) -> list[Line]:
        """The last line, when the writer went away without ending it."""
        rest, self._partial = self._partial, b""
        return [self._append(rest, now)] if rest else []

    def _append(self, raw: bytes, now: float) -> Line:
        self.dropped += max(len(raw) - LOG_LINE_BYTES, 0)
        line = Line(self._unit, now, raw[:LOG_LINE_BYTES].decode("utf-8", "replace"))
        self.lines.append(line)
        self._size += len(line.text) + _LINE_OVERHEAD
        while self._size > self._limit and len(self.lines) > 1:
            oldest = self.lines.popleft()
            self._size -= len(oldest.text) + _LINE_OVERHEAD
            self.dropped += len(oldest.text)
        return line


class Logs:
    """All rings. ``follow`` callbacks get every new line."""

    def __init__(self, events: loop.Loop) -> None:
        self._loop = events
        self._rings: dict[str, Ring] = {}
        self.followers: list[Callable[[list[Line]], None]] = []

    def ring(self, unit: str) -> Ring:
        """The ring of one unit."""
        if unit not in self._rings:
            self._rings[unit] = Ring(unit)
        return self._rings[unit]

    def pipe(self, unit: str) -> int:
        """A new pipe for one incarnation of ``unit``: returns the end to write to."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self._loop.add(reader, loop.READ, lambda _: self._read(unit, reader))
        return writer

    def say(self, unit: str, text: str) -> None:
        """A line of PID 1's own about a unit."""
        self._publish(self.ring(unit).feed(f"{text}\n".encode(), loop.now()))

    def select(self, unit: str | None, count: int) -> tuple[list[Line], int]:
        """The last ``count`` lines of one unit or of all, in order of time, and bytes dropped."""
        rings = [self.ring(unit)] if unit else list(self._rings.values())
        lines = sorted((line for ring in rings for line in ring.lines), key=lambda line: line.time)
        return lines[-count:] if count else [], sum(ring.dropped for ring in rings)

    def _read(self, unit: str, reader: int) -> None:
        try:
            data = os.read(reader, _READ_BYTES)
        except BlockingIOError:
            return
        ring = self.ring(unit)
        if not data:
            self._loop.remove(reader)
            os.close(reader)
        self._publish(ring.feed(data, loop.now()) if data else ring.flush(loop.now()))

    def _publish(self, lines: list[Line]) -> None:
        if lines:
            for follower in list(self.followers):
                follower(lines)
