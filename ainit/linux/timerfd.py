"""A descriptor that becomes readable when somebody sets the clock: timerfd_create(2).

CLOCK_REALTIME is stepped by time synchronisation and by people, and who waits for a time of day has
to compute anew. A timer that never elapses, armed with TFD_TIMER_CANCEL_ON_SET, is how the kernel
tells. Leaves out timers proper: the event loop waits for those itself.

>>> clock = ClockWatch()
>>> clock.was_set()
False
>>> clock.close()
"""

from __future__ import annotations

import errno
import os
import struct

from .foreign import Int, Pointer, function, get_errno

# <linux/time.h> and <linux/timerfd.h>.
_CLOCK_REALTIME = 0
_TFD_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2
_NEVER = (1 << 62) // 10**9  # seconds: what is left of the kernel's 64 bits of nanoseconds

_timerfd_create = function("timerfd_create", (Int, Int))
_timerfd_settime = function("timerfd_settime", (Int, Int, Pointer, Pointer))
# struct itimerspec: interval and value, each in seconds and nanoseconds.
_NEVER_ELAPSES = struct.pack("4q", 0, 0, _NEVER, 0)


class ClockWatch:
    """Tells that CLOCK_REALTIME was set, forwards or backwards. Raises OSError when it cannot be
    made: out of descriptors or memory."""

    def __init__(self) -> None:
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = _checked(_timerfd_create(_CLOCK_REALTIME, flags), "timerfd_create")
        try:
            self._arm()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)

    def fileno(self) -> int:
        """Readable once the clock was set."""
        return self._descriptor

    def was_set(self) -> bool:
        """Whether the clock was set since the last call; never blocks."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
        self._arm()
        return True

    def _arm(self) -> None:
        flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
        result = _timerfd_settime(self._descriptor, flags, _NEVER_ELAPSES, None)
        if result < 0 and get_errno() == errno.ECANCELED:
            return  # set once more between the two calls: the timer is armed all the same
        _checked(result, "timerfd_settime")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
