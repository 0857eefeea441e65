"""Bytes between a virtio-serial port and a peer, with a new peer for each host that connects.

A port stays open while hosts come and go: the kernel then reports POLLHUP, and ``read`` returns
nothing, for as long as nobody is there (drivers/char/virtio_console.c, ``port_fops_poll``). So the
port is watched edge-triggered: a change wakes the proxy, the absence of a host costs nothing. When
the host goes, its peer is closed and everything under way is dropped; the next host starts clean,
with a peer of its own.

Asking the port for its state may itself take data in, ahead of the interrupt that would announce it
and in its place (``port_has_data``). So whoever looks at the port also reads what the look found.

Data and comings and goings reach the kernel on different queues, in no order that means anything:
the call of a new host may be read before the news that the old one is gone. So a host counts as
gone only after ``GRACE_SECONDS`` without one. Whoever connects sooner goes on with the peer of the
one before, which has nothing under way then, unless that one left in the middle of an exchange.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass

GRACE_SECONDS = 0.1
_CHUNK = 32 * 1024  # what the driver takes in one write
_WRITE_SECONDS = 10.0


@dataclass(frozen=True)
class Peer:
    """What a host talks to: a descriptor for both directions, and how to be rid of it."""

    descriptor: int
    close: Callable[[], None]


class Proxy:
    """Runs between ``port``, an open non-blocking descriptor, and what ``connect`` returns."""

    def __init__(self, port: int, connect: Callable[[], Peer]) -> None:
        self._port = port
        self._connect = connect
        self._peer: Peer | None = None
        self._gone_at: float | None = None
        self._to_port = bytearray()
        self._poll = select.epoll()
        edges = select.EPOLLIN | select.EPOLLOUT | select.EPOLLHUP | select.EPOLLET
        self._poll.register(port, edges)

    @property
    def is_connected(self) -> bool:
        """Whether a host has a peer now."""
        return self._peer is not None

    def close(self) -> None:
        """Take the proxy down; the port stays open."""
        self._leave()
        self._poll.close()

    def turn(self, seconds: float | None = None) -> bool:
        """Wait for something to do and do it. False when nothing came in ``seconds``.

        Raises OSError when the port is gone for good.
        """
        events = self._poll.poll(self._timeout(seconds))
        for descriptor, _ in events:
            if descriptor == self._port:
                self._turn_port()
            elif self._peer is not None and descriptor == self._peer.descriptor:
                self._read_peer()
        if self._gone_at is not None and self._timeout(None) == 0:
            self._gone_at = None
            if _look(self._port) & select.POLLHUP:
                self._leave()
            else:
                self._turn_port()
        return bool(events)

    def _timeout(self, seconds: float | None) -> float | None:
        """The time until the next turn is due: when ``seconds`` are over, or the grace."""
        if self._gone_at is None:
            return seconds
        grace = max(0.0, self._gone_at + GRACE_SECONDS - time.monotonic())
        return grace if seconds is None else min(grace, seconds)

    def _turn_port(self) -> None:
        self._read_port()
        while (state := _look(self._port)) & (select.POLLIN | select.POLLHUP) == select.POLLIN:
            self._read_port()
        if not state & select.POLLHUP:
            self._gone_at = None
            self._meet()
            self._flush()
        elif self._gone_at is None:
            self._gone_at = time.monotonic()

    def _meet(self) -> Peer:
        if self._peer is None:
            self._peer = self._connect()
            os.set_blocking(self._peer.descriptor, False)
            self._poll.register(self._peer.descriptor, select.EPOLLIN)
        return self._peer

    def _leave(self) -> None:
        self._to_port.clear()
        if self._peer is not None:
            self._poll.unregister(self._peer.descriptor)
            self._peer.close()
            self._peer = None

    def _read_port(self) -> None:
        """Everything there is: an edge comes only once."""
        while data := _read(self._port):
            if not _write(self._meet().descriptor, data):
                self._leave()

    def _read_peer(self) -> None:
        assert self._peer is not None
        try:
            data = os.read(self._peer.descriptor, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose shell is gone
            data = b""
        if not data:
            self._leave()
            return
        self._to_port += data
        self._flush()

    def _flush(self) -> None:
        """Write what the host takes; while it takes no more, nothing is read from the peer."""
        while self._to_port:
            try:
                del self._to_port[: os.write(self._port, self._to_port[:_CHUNK])]
            except BlockingIOError:
                break
        if self._peer is not None:
            wanted = 0 if self._to_port else select.EPOLLIN
            self._poll.modify(self._peer.descriptor, wanted)


def _look(port: int) -> int:
    """POLLIN: something can be read. POLLHUP: no host is here; the port is readable then, too."""
    state = select.poll()
    state.register(port, select.POLLIN)
    return sum(event for _, event in state.poll(0))


def _read(port: int) -> bytes:
    """What the host sent; nothing when it sent no more or is gone."""
    try:
        return os.read(port, _CHUNK)
    except BlockingIOError:
        return b""


def _write(descriptor: int, data: bytes) -> bool:
    """Whether the peer took all of it, within a deadline."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLOUT)
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            if not waiting.poll(_WRITE_SECONDS * 1000):
                return False
        except OSError:
            return False
    return True
