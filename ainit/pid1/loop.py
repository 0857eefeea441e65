"""The event loop: one epoll, callbacks by descriptor, and hooks that say when they want to run.

A callback that raises is logged and counted, and the loop goes on: one broken client or service
must not cost the machine its PID 1.
"""

from __future__ import annotations

import os
import select
import time

from ..linux import kmsg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR
_EVENTS_A_TURN = 64


def now() -> float:
    """Seconds since boot, suspend included: the one clock of PID 1."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Loop:
    """Waits for descriptors and deadlines. ``faults`` counts callbacks that raised."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._hooks: list[Callable[[float], float]] = []
        self.faults = 0

    def add(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(events)`` whenever ``descriptor`` has one of ``events``."""
        self._poll.register(descriptor, events)
        self._callbacks[descriptor] = callback

    def modify(self, descriptor: int, events: int) -> None:
        """Wait for other events."""
        self._poll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor; the caller closes it."""
        if self._callbacks.pop(descriptor, None) is not None:
            try:
                self._poll.unregister(descriptor)
            except OSError:
                pass

    def hook(self, callback: Callable[[float], float]) -> None:
        """Call ``callback(now)`` every turn; it returns when it must run next (0: no deadline)."""
        self._hooks.append(callback)

    def turn(self) -> None:
        """Run the hooks, wait, run the callbacks."""
        deadline = 0.0
        for hook in self._hooks:
            wanted = self._guard(hook, now()) or 0.0
            if wanted and (not deadline or wanted < deadline):
                deadline = wanted
        timeout = max(deadline - now(), 0.0) if deadline else -1.0
        for descriptor, events in self._poll.poll(timeout, _EVENTS_A_TURN):
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                self._guard(callback, events)

    def _guard(self, callback: Callable[..., float | None], argument: float) -> float | None:
        try:
            return callback(argument)
        except Exception as error:  # noqa: BLE001 - see the module docstring
            self.faults += 1
            kmsg.log(f"fault: {describe(error)}", kmsg.ERROR)
            return now() + 1.0


def describe(error: BaseException) -> str:
    """An exception with the place it came from, without importing ``traceback``."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{where}"
