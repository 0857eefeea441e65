"""A machine's serial console: saved with times, and waited on where nothing else can speak yet.

Each line goes to the log with the seconds since the start in front of it. Verdicts do not come from
here but over the control socket; only the firmware and a panicking kernel have no other voice.

    console = Console(process.stdout, Path("console.log")); console.wait_for("BdsDxe:", 20)
"""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

TAIL_LINES = 30
CLOSE_DEADLINE_S = 10
# Cursor movement and colours: the firmware and the boot menu draw, a log does not.
_CONTROL = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the console and when it began, in seconds since the machine's start."""

    seconds: float
    text: str

    def __str__(self) -> str:
        return f"[{self.seconds:9.3f}] {self.text}"


class Console:
    """Reads a console to its end in a thread of its own, so that the machine never waits for us."""

    def __init__(
        self, source: IO[bytes], log: Path | None = None, echo: TextIO | None = None
    ) -> None:
        self._source = source
        self._outputs = [out for out in (log.open("a") if log else None, echo) if out]
        self._echo = echo
        self._start = time.monotonic()
        self._lines: list[Line] = []
        # The line that is being written; a machine may stop in the middle of one.
        self._open = Line(0.0, "")
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    @property
    def lines(self) -> list[Line]:
        """Everything so far."""
        with self._changed:
            return [*self._lines, self._open]

    def wait_for(self, pattern: str, deadline_s: float) -> Line | None:
        """The first line that has the pattern; None at the console's end or the deadline."""
        wanted = re.compile(pattern)
        searched = 0
        match: Line | None = None

        def is_decided() -> bool:
            nonlocal searched, match
            new = [*self._lines[searched:], self._open]
            searched = len(self._lines)
            match = next((line for line in new if wanted.search(line.text)), None)
            return match is not None or self._ended

        with self._changed:
            self._changed.wait_for(is_decided, deadline_s)
        return match

    def first(self, pattern: str) -> float | None:
        """When a line with the pattern first began, in seconds since the start."""
        return next((line.seconds for line in self.lines if re.search(pattern, line.text)), None)

    @property
    def last(self) -> str:
        """The last line that is not empty; empty when there is none."""
        return next((line.text for line in reversed(self.lines) if line.text), "")

    def now(self) -> float:
        """Seconds since the start, on the clock of the lines."""
        return time.monotonic() - self._start

    def tail(self) -> str:
        """The last lines, for an error message."""
        return "\n".join(str(line) for line in self.lines[-TAIL_LINES:])

    def close(self) -> None:
        """Read what is left (the machine has ended) and close."""
        self._thread.join(timeout=CLOSE_DEADLINE_S)
        self._source.close()

    def _read(self) -> None:
        rest, began = b"", 0.0
        while chunk := os.read(self._source.fileno(), 1 << 16):
            now = time.monotonic() - self._start
            began = began if rest else now
            *whole, rest = (rest + chunk).split(b"\n")
            with self._changed:
                for data in whole:
                    self._lines.append(Line(began, _clean(data)))
                    self._write(f"{self._lines[-1]}\n")
                    began = now
                self._open = Line(began, _clean(rest))
                self._changed.notify_all()
        with self._changed:
            self._write(f"{self._open}\n" if self._open.text else "")
            self._ended = True
            self._changed.notify_all()
        for out in self._outputs:
            if out is not self._echo:
                out.close()

    def _write(self, text: str) -> None:
        for out in self._outputs:
            out.write(text)
            out.flush()


def _clean(data: bytes) -> str:
    return _CONTROL.sub(b"", data).decode(errors="replace")
