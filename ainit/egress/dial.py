"""From a host and a port to a connection, by way of every address that it may be.

A name is resolved anew each time, and what it leads to is judged then: the address that is
connected to is the very one that was looked at. Leaves out which addresses are refused wherever
one is (``policy.destinations``).

>>> channel, address = dial("notes.example.org", 443)                # doctest: +SKIP
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable

from ..errors import UnavailableError
from ..policy import destinations

ADDRESS_SECONDS = 10.0
ALL_SECONDS = 30.0  # all addresses together, without the resolver's own time
_ADDRESSES_MAX = 16


def dial(
    host: str,
    port: int,
    *,
    inner: socket.socket | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> tuple[socket.socket, str]:
    """A connection, non-blocking, and the address that it leads to.

    The wait ends early when ``inner``, the connection that it is for, is gone, or ``is_over``.
    Raises UnavailableError, which says of each address why not.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnavailableError(f"has no address: {error.strerror or error}") from error
    except UnicodeError as error:
        raise UnavailableError(f"is no name: {error}") from error
    addresses = dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found)
    end = time.monotonic() + ALL_SECONDS
    problems = []
    for family, address in [*addresses][:_ADDRESSES_MAX]:
        if is_over():
            raise UnavailableError("is not waited for any more")
        try:
            if why := refusal(family, address):
                problems.append(f"{address} {why}")
            else:
                seconds = min(ADDRESS_SECONDS, end - time.monotonic())
                return _connect(family, address, port, inner, seconds), address
        except OSError as error:
            problems.append(f"{address}: {error.strerror or error}")
    raise UnavailableError("; ".join(problems))


def refusal(family: int, address: str) -> str:
    """Why nobody is let through to an address; empty: nothing speaks against it. Raises OSError."""
    if kind := destinations.kind(address):
        return destinations.WORDS[kind]
    return "is the machine's own address" if _is_own(family, address) else ""


def _is_own(family: int, address: str) -> bool:
    """Whether it is an address of this machine: the kernel binds a socket to no other."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True


def _connect(
    family: int, address: str, port: int, inner: socket.socket | None, seconds: float
) -> socket.socket:
    channel = socket.socket(family, socket.SOCK_STREAM)
    try:
        channel.setblocking(False)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        problem = channel.connect_ex((address, port))
        if problem == errno.EINPROGRESS:
            poll = select.poll()
            poll.register(channel, select.POLLOUT)
            if inner is not None:
                poll.register(inner, 0)  # that it hung up is told all the same
            ready = dict(poll.poll(max(seconds, 0.0) * 1000))
            if channel.fileno() not in ready:
                problem = errno.ECONNABORTED if ready else errno.ETIMEDOUT
            else:
                problem = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, os.strerror(problem))
    except BaseException:
        channel.close()
        raise
    return channel
