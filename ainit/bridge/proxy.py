"""Bytes between a virtio-serial port and a peer, with a new peer for each host that connects.

A port stays open while hosts come and go: the kernel then reports POLLHUP, and ``read`` returns
nothing, for as long as nobody is there (drivers/char/virtio_console.c, ``port_fops_poll``). So the
port is watched edge-triggered: a change wakes the proxy, the absence of a host costs nothing. When
the host goes, its peer is closed and everything under way is dropped; the next host starts clean,
with a peer of its own.

A host that leaves and returns between two turns of the loop is taken for the same one: the kernel
keeps no count. Nothing is under way then, unless the host left in the middle of an exchange.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from dataclasses import dataclass

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
        events = self._poll.poll(seconds)
        for descriptor, event in events:
            if descriptor == self._port:
                self._turn_port(host_is_gone=bool(event & select.EPOLLHUP))
            elif self._peer is not None and descriptor == self._peer.descriptor:
                self._read_peer()
        return bool(events)

    def _turn_port(self, *, host_is_gone: bool) -> None:
        if not host_is_gone:
            self._meet()
            self._flush()
        self._read_port()
        if host_is_gone:
            self._leave()

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
