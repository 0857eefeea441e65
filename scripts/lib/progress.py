"""Steps of a build as a person sees them: a name, a bar while it lasts, the time when it ends.

On a terminal the line is redrawn; elsewhere (CI, a file) a plain line is printed now and then.

    with step("kernel") as progress:
        progress.update(done, total, "compiling")
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lib.host import CommandError

BAR_WIDTH = 24
NAME_WIDTH = 20
REDRAW_S = 0.2
PLAIN_S = 30.0
POLL_S = 0.2


def format_elapsed(seconds: float) -> str:
    """Return a duration as people write it: ``4.2 s`` or ``16 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def format_bar(done: float, total: float, width: int = BAR_WIDTH) -> str:
    """Return a bar with its percentage; an estimate that proves too low stops at 99 %."""
    share = min(done / total, 1.0) if total > 0 else 0.0
    if 0 < total < done:
        share = 0.99
    full = int(share * width)
    return f"[{'#' * full}{'.' * (width - full)}] {int(share * 100):3d} %"


class Progress:
    """One running step. Updating it is cheap: it draws only when it is time to."""

    def __init__(self, name: str, out: TextIO, now: Callable[[], float]) -> None:
        self._name = name
        self._out = out
        self._now = now
        self._start = now()
        self._live = out.isatty()
        self._interval = REDRAW_S if self._live else PLAIN_S
        self._next = self._start + self._interval
        self._note = ""

    def update(self, done: float, total: float, text: str = "") -> None:
        """Show how far the step is, in any unit, with a word on what it is doing."""
        now = self._now()
        if now < self._next:
            return
        self._next = now + self._interval
        elapsed = format_elapsed(now - self._start)
        line = f"  {self._name:<{NAME_WIDTH}} {format_bar(done, total)}  {elapsed}  {text}"
        self._out.write(f"\r\033[K{line[:120]}" if self._live else line.rstrip() + "\n")
        self._out.flush()

    def note(self, text: str) -> None:
        """Set what the last line says beside the time, such as ``cached`` or a size."""
        self._note = text

    def finish(self, verdict: str) -> None:
        """Print the last line."""
        elapsed = format_elapsed(self._now() - self._start)
        start = "\r\033[K" if self._live else ""
        note = f"  {self._note}" if self._note else ""
        self._out.write(f"{start}{verdict} {self._name:<{NAME_WIDTH}} {elapsed}{note}\n")
        self._out.flush()


@contextmanager
def step(
    name: str, out: TextIO | None = None, now: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """Run a block as a named step; it goes to standard error, which leaves results to stdout."""
    progress = Progress(name, out or sys.stderr, now)
    try:
        yield progress
    except BaseException:
        progress.finish("✗")
        raise
    progress.finish("✓")


def follow(
    command: Sequence[str],
    log: Path,
    progress: Progress,
    expected_lines: int,
    deadline_s: float,
    *,
    env: Mapping[str, str] | None = None,
    own_group: bool = True,
) -> None:
    """Run a long command with its output in a log, and show progress by the lines it has printed.

    It ends with this process: with ``own_group`` all its children as well. A command that may ask
    for a password stays in the terminal's group. Raises CommandError.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + deadline_s
    with log.open("wb") as output, log.open("rb") as reader:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0 if own_group else None,
        )
        try:
            lines, last = 0, ""
            while process.poll() is None:
                if time.monotonic() > deadline:
                    raise CommandError(command, f"no end after {deadline_s / 60:.0f} min")
                text = reader.read()
                lines += text.count(b"\n")
                words = text.decode(errors="replace").split()
                last = words[-1] if words else last
                progress.update(lines, expected_lines, last)
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                if own_group:
                    os.killpg(process.pid, signal.SIGTERM)
                else:
                    process.terminate()
                process.wait()
        if process.returncode:
            text = log.read_bytes()
            reason = f"exit status {process.returncode} (whole output in {log})"
            raise CommandError(command, reason, text.decode(errors="replace"))
