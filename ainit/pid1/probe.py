"""One unit's health probe and one attempt of it: a command, a connection, or a varlink call.

An attempt ends exactly once, with ``done("")`` or with what is wrong, and can be abandoned before.
Leaves out when there are attempts, how long they may take, and what follows: see ``probes``.
"""

from __future__ import annotations

import errno
import os
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    SO_ERROR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from ..policy import listen
from ..wire import protocol
from . import loop
from .relay import problem_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..policy.plan import Unit
    from ..wire.protocol import Message

    Done = Callable[[str], None]
    Call = Callable[[str, bytes, Callable[[Message | None, str], None]], Callable[[], None]]

_FAMILIES = {listen.UNIX: AF_UNIX, listen.INET: AF_INET, listen.INET6: AF_INET6}


class Probe:
    """``failures`` are in a row, ``due`` is when something is to happen: the next attempt, or the
    end of the time that the present one has. ``pid`` is that of a command that runs.
    """

    __slots__ = (
        "abandon",
        "delay",
        "due",
        "failures",
        "pid",
        "serial",
        "starting",
        "unit",
        "upcoming",
    )

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.starting = False
        self.failures = 0
        self.pid = 0
        self.delay = 0.0
        self.due = 0.0
        self.upcoming = 0.0
        self.serial = 0
        self.abandon: Callable[[], None] | None = None  # the present attempt; None: there is none


def connect(events: loop.Loop, address: str, done: Done) -> Callable[[], None]:
    """See whether somebody accepts connections there; returns what abandons that.

    Raises OSError when PID 1 cannot ask.
    """
    family, _, host, port = listen.address(address)
    channel = socket(_FAMILIES[family], SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

    def end() -> None:
        if channel.fileno() >= 0:
            events.remove(channel.fileno())
            channel.close()

    def connected(_: int) -> None:
        number = channel.getsockopt(SOL_SOCKET, SO_ERROR)
        end()
        done(_words(address, number))

    number = channel.connect_ex(host if family == listen.UNIX else (host, port))
    if number == errno.EINPROGRESS:
        try:
            events.add(channel.fileno(), loop.WRITE, connected)
        except OSError:
            channel.close()
            raise
        return end
    channel.close()
    if number in (errno.ENOMEM, errno.ENOBUFS):
        raise OSError(number, os.strerror(number))
    done(_words(address, number))
    return end


def varlink(call: Call, unit: str, interface: str, done: Done) -> Callable[[], None]:
    """See whether a unit still answers for its interface; returns what abandons that."""

    def answered(message: Message | None, problem: str) -> None:
        if message is None:
            done(problem)
            return
        parameters = message.get("parameters")
        interfaces = parameters.get("interfaces") if isinstance(parameters, dict) else None
        if why := problem_of(message):
            done(f"{interface} answered {why}")
        elif not isinstance(interfaces, list) or interface not in interfaces:
            done(f"{interface} is not among the interfaces that it answers to")
        else:
            done("")

    return call(unit, protocol.call(f"{protocol.SERVICE}.GetInfo", {}), answered)


def _words(address: str, number: int) -> str:
    if not number:
        return ""
    if number == errno.EAGAIN:  # unix(7): a full backlog
        return f"{address}: nobody accepts the connections that wait there"
    return f"{address}: {os.strerror(number)}"
