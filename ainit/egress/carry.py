"""Bytes between two TCP connections, both ways, until both ends have said all.

The kernel moves them, from a socket into a pipe and out of it (splice(2)); none pass through here.
Each way is filled only when it is empty, so that nobody is waited for who cannot go on. An end that
says no more is told to the other, which may go on. Leaves out who connects to whom.

>>> carried = Carried()                                              # doctest: +SKIP
>>> carry(inner, outer, carried, is_over=lambda: False)              # doctest: +SKIP
>>> carried.out, carried.back                                        # doctest: +SKIP
(120, 4096)
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

_AT_ONCE_BYTES = 64 << 10  # what a pipe holds
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
HALF_CLOSED_SECONDS = 300.0  # without a byte, once one end has said all


@dataclass(slots=True)
class Carried:
    """Bytes so far: of the agent's, and of the host's."""

    out: int = 0
    back: int = 0


class _Way:
    """From one socket to another."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting = 0  # bytes in the pipe
        self.moved = 0
        self.has_ended = False  # its source says no more
        self.is_done = False  # and its target was told
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def turn(self) -> None:
        """Move what can be moved at once. Raises OSError when an end is gone."""
        try:
            if not self.waiting and not self.has_ended:
                taken = os.splice(self.source.fileno(), self._writer, _AT_ONCE_BYTES, flags=_FLAGS)
                self.waiting = taken
                self.has_ended = not taken
            while self.waiting:
                given = os.splice(self._reader, self.target.fileno(), self.waiting, flags=_FLAGS)
                self.waiting -= given
                self.moved += given
        except BlockingIOError:
            pass
        if self.has_ended and not self.is_done:
            self.is_done = True
            self.target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._reader)
        os.close(self._writer)


def carry(
    inner: socket.socket,
    outer: socket.socket,
    carried: Carried,
    *,
    is_over: Callable[[], bool],
    half_closed_s: float = HALF_CLOSED_SECONDS,
) -> None:
    """Carry until both ends have said all, or ``is_over``, which a shutdown of both sockets has
    looked at. Both are made non-blocking. Raises OSError when an end is gone, and TimeoutError.
    ``carried`` is right when this ends.
    """
    for each in (inner, outer):
        each.setblocking(False)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # they wait as their ends do
    with closing(_Way(inner, outer)) as out, closing(_Way(outer, inner)) as back:
        try:
            while not (out.is_done and back.is_done):
                _wait(out, back, half_closed_s if out.is_done or back.is_done else None)
                if is_over():
                    return
                for way in (out, back):
                    if not way.is_done:
                        way.turn()
        finally:
            carried.out, carried.back = out.moved, back.moved


def _wait(out: _Way, back: _Way, seconds: float | None) -> None:
    """Wait until one way can go on. A socket that neither waits for is not looked at: that it hung
    up would be told over and over.
    """
    wanted: dict[int, int] = {}
    for way in (out, back):
        if not way.is_done:
            one, event = (
                (way.target, select.POLLOUT) if way.waiting else (way.source, select.POLLIN)
            )
            wanted[one.fileno()] = wanted.get(one.fileno(), 0) | event
    poll = select.poll()
    for number, events in wanted.items():
        poll.register(number, events)
    if not poll.poll(None if seconds is None else seconds * 1000):
        raise TimeoutError("one end said all, and the other nothing for a long time")
