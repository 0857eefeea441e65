"""The event loop: one epoll, callbacks by descriptor, and hooks that say when they want to run.

Some descriptors are urgent, those of people who wait for an answer: they are looked at after every
hook and every callback, so that they wait for one piece of work and not for a turn of them. One of
them at a time, so that they cannot keep the rest from its work.

A callback handles what it may expect, such as a client that hangs up. What it raises besides is a
fault of PID 1's own and ends the loop: its caller re-executes PID 1, which takes up from the
journal, rather than go on with half a step done.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
URGENT = select.EPOLLPRI
GONE = select.EPOLLHUP | select.EPOLLERR
_EVENTS_A_TURN = 8


def now() -> float:
    """Seconds since boot, suspend included: the one clock of PID 1."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Loop:
    """Waits for descriptors and deadlines."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._hooks: list[Callable[[float], float]] = []
        self._hurry = select.epoll()
        self._urgent: set[int] = set()
        self.add(self._hurry.fileno(), READ, lambda _: None)  # ends the wait; the rest is below

    def add(
        self,
        descriptor: int,
        events: int,
        callback: Callable[[int], None],
        *,
        urgent: bool = False,
    ) -> None:
        """Call ``callback(events)`` whenever ``descriptor`` has one of ``events``."""
        (self._hurry if urgent else self._poll).register(descriptor, events)
        self._callbacks[descriptor] = callback
        if urgent:
            self._urgent.add(descriptor)

    def modify(self, descriptor: int, events: int) -> None:
        """Wait for other events."""
        (self._hurry if descriptor in self._urgent else self._poll).modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor; the caller closes it."""
        if self._callbacks.pop(descriptor, None) is not None:
            poll = self._hurry if descriptor in self._urgent else self._poll
            self._urgent.discard(descriptor)
            try:
                poll.unregister(descriptor)
            except OSError:
                pass

    def hook(self, callback: Callable[[float], float]) -> None:
        """Call ``callback(now)`` every turn; it returns when it must run next (0: no deadline)."""
        self._hooks.append(callback)

    def turn(self) -> None:
        """Run the hooks, wait, run the callbacks."""
        deadline = 0.0
        has_hurried = False
        for hook in self._hooks:
            wanted = hook(now())
            if wanted and (not deadline or wanted < deadline):
                deadline = wanted
            has_hurried |= self._serve_urgent()
        timeout = max(deadline - now(), 0.0) if deadline else -1.0
        if has_hurried:
            timeout = 0.0  # a hook that ran before may have work now
        for descriptor, events in self._poll.poll(timeout, _EVENTS_A_TURN):
            callback = self._callbacks.get(descriptor)
            if callback is not None:
                callback(events)
            self._serve_urgent()

    def _serve_urgent(self) -> bool:
        """One urgent descriptor, if one has an event; whether one had."""
        if not self._urgent:
            return False
        ready = self._hurry.poll(0.0, 1)
        for descriptor, events in ready:
            self._callbacks[descriptor](events)
        return bool(ready)


def describe(error: BaseException) -> str:
    """An exception with the place it came from, without importing ``traceback``."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{where}"
