"""What a fault test and its PID 1 share: one page of memory with orders, carried out one by one.

``sweep.py`` writes them, ``faulty.py`` carries them out. An order is taken off before it is carried
out, so that it happens once, also when it is the next incarnation of PID 1 that gets there.
"""

from __future__ import annotations

import ctypes
import errno
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 4096
ORDERS = 60
# What the board as a whole is for.
IDLE, RECORD = range(2)
# What an order is: raise something at a line, or let allocations fail from the n-th on.
RAISE, NO_MEMORY = range(2)
# What came of it.
PENDING, FIRED, MISSED = range(3)

AT_RESUME = 1  # flag: only while PID 1 takes up from its journal, before its loop first waits
ONCE = 2  # flag: one allocation fails, and none after it

EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "MemoryError": MemoryError,
    "EMFILE": lambda: OSError(errno.EMFILE, "too many open files"),
    "ENOMEM": lambda: OSError(errno.ENOMEM, "out of memory"),
    "RuntimeError": lambda: RuntimeError("injected"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "RecursionError": lambda: RecursionError("injected"),
    "KeyError": lambda: KeyError("injected"),
    "ValueError": lambda: ValueError("injected"),
    "EIO": lambda: OSError(errno.EIO, "input/output error"),
    "UnicodeError": lambda: UnicodeError("injected"),
    "GeneratorExit": GeneratorExit,
}
SIGNALS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")
# What may happen at a line: an order's ``what`` is an index of this.
AT_LINE = (*EXCEPTIONS, *SIGNALS)


class Order(ctypes.Structure):
    """``what`` is an index of AT_LINE, or how many allocations succeed, counted from the line on
    until the loop has waited ``turns`` times. ``incarnation`` is the one that it happened in.
    """

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("what", ctypes.c_int32),
        ("line", ctypes.c_int32),
        ("flags", ctypes.c_int32),
        ("status", ctypes.c_int32),
        ("incarnation", ctypes.c_int32),
        ("turns", ctypes.c_int32),
        ("file", ctypes.c_char * 36),
    )


class Board(ctypes.Structure):
    """The page. ``head`` is the order that is next, ``count`` how many there are; ``incarnation``
    counts how often PID 1 was executed, ``taken`` how often it came as far as its loop.
    """

    _fields_ = (
        ("mode", ctypes.c_int32),
        ("head", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("incarnation", ctypes.c_int32),
        ("taken", ctypes.c_int32),
        ("orders", Order * ORDERS),
    )


assert ctypes.sizeof(Board) <= PAGE


def signal_of(name: str) -> int:
    """The number of a fault signal."""
    return int(signal.Signals[name])
