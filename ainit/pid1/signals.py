"""Signals to PID 1, as bytes in a pipe that its loop reads.

Python's handler in C writes the byte, and ends the wait by that. Should its write fail, the handler
here, which runs when the wait was interrupted, writes it.

    watch(loop, (SIGCHLD, SIGTERM), lambda numbers: print(list(numbers)))
"""

from __future__ import annotations

import _signal
import os
import select

from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_BYTES = 4096


def watch(events: loop.Loop, numbers: Iterable[int], told: Callable[[bytes], None]) -> None:
    """Have ``told`` called with the numbers of the signals that came."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)

    def handler(number: int, _frame: object) -> None:
        try:
            if not waiting.poll(0):
                os.write(writer, bytes((number,)))
        except OSError:
            pass  # nobody may fail here: this runs in the middle of anything

    for number in numbers:
        _signal.signal(number, handler)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    events.add(reader, loop.READ, lambda _: told(os.read(reader, _BYTES)))
