"""PID 1 as a client of its own children: relays calls for interfaces that units provide.

Never blocks: each upstream call has its own connection, a deadline and a callback that is called
exactly once with the last reply (and before that for replies that promise more).
"""

from __future__ import annotations

from _socket import AF_UNIX, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, socket

from ..errors import WireError
from ..policy.state import EXITED, INACTIVE
from ..wire import protocol
from ..wire.protocol import Inbox, Message
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..policy.plan import Unit
    from ..policy.state import State

DEADLINE_SECONDS = 60.0
_READ_BYTES = 65536


class Upstream:
    """One call under way to ``unit``."""

    __slots__ = ("deadline", "inbox", "on_reply", "outbox", "socket", "unit")

    def __init__(self, unit: str, channel: socket, request: bytes, deadline: float) -> None:
        self.unit = unit
        self.socket = channel
        self.outbox = bytearray(request)
        self.inbox = Inbox()
        self.deadline = deadline
        self.on_reply: Callable[[Message | None, str], None] = lambda message, problem: None


class Relay:
    """Makes calls on behalf of clients and of PID 1 itself."""

    def __init__(
        self, events: loop.Loop, sockets: str, why_not: Callable[[str], str] = lambda unit: ""
    ) -> None:
        self._loop = events
        self._why_not = why_not
        self._sockets = sockets
        self._calls: dict[int, Upstream] = {}
        events.hook(self._expire)

    def call(
        self, unit: str, request: bytes, on_reply: Callable[[Message | None, str], None]
    ) -> Callable[[], None]:
        """Send ``request`` to ``unit``. ``on_reply(message, "")`` for each reply, or
        ``on_reply(None, problem)`` once. Returns a function that abandons the call.
        """
        if problem := self._why_not(unit):
            on_reply(None, problem)
            return lambda: None
        try:
            upstream = self._connect(unit, request)
        except OSError as error:
            on_reply(None, f"{unit} cannot be reached: {error.strerror}")
            return lambda: None
        upstream.on_reply = on_reply
        self._calls[upstream.socket.fileno()] = upstream
        return lambda: self._close(upstream)

    def refuse(self, unit: str, problem: str) -> None:
        """The calls under way to a unit will not be answered."""
        for upstream in [one for one in self._calls.values() if one.unit == unit]:
            self._fail(upstream, problem)

    def _connect(self, unit: str, request: bytes) -> Upstream:
        channel = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
        upstream = Upstream(unit, channel, request, loop.now() + DEADLINE_SECONDS)
        try:
            channel.connect(f"{self._sockets}/{unit}")
            wanted = loop.READ | loop.WRITE
            self._loop.add(channel.fileno(), wanted, lambda events: self._turn(upstream, events))
        except OSError:
            channel.close()
            raise
        return upstream

    def _turn(self, upstream: Upstream, events: int) -> None:
        try:
            messages = self._exchange(upstream, events)
        except BlockingIOError:
            return
        except (OSError, WireError) as error:
            self._fail(upstream, str(error))
            return
        for message in messages:  # what goes wrong from here on is not the service's fault
            self._reply(upstream, message)

    def _exchange(self, upstream: Upstream, events: int) -> list[Message]:
        """Write what the socket takes, and read; returns the replies that are complete."""
        channel = upstream.socket
        if events & loop.GONE and (number := channel.getsockopt(SOL_SOCKET, SO_ERROR)):
            raise OSError(number, "the service hung up")
        if events & loop.WRITE and upstream.outbox:
            del upstream.outbox[: channel.send(upstream.outbox)]
        self._loop.modify(channel.fileno(), loop.READ | (loop.WRITE if upstream.outbox else 0))
        if events & loop.READ:
            data = channel.recv(_READ_BYTES)
            if data:
                return upstream.inbox.feed(data)
        elif not events & loop.GONE:
            return []
        raise WireError("the service closed the connection without an answer")

    def _reply(self, upstream: Upstream, message: Message) -> None:
        if upstream.socket.fileno() not in self._calls:
            return
        if message.get("continues") is True:
            upstream.deadline = loop.now() + DEADLINE_SECONDS
            upstream.on_reply(message, "")
            return
        self._close(upstream)
        upstream.on_reply(message, "")

    def _fail(self, upstream: Upstream, problem: str) -> None:
        if upstream.socket.fileno() >= 0:
            self._close(upstream)
            upstream.on_reply(None, problem)

    def _close(self, upstream: Upstream) -> None:
        descriptor = upstream.socket.fileno()
        if descriptor >= 0:
            self._loop.remove(descriptor)
            self._calls.pop(descriptor, None)
            upstream.socket.close()

    def _expire(self, now: float) -> float:
        for upstream in list(self._calls.values()):
            if now >= upstream.deadline:
                self._fail(upstream, f"the service did not answer in {DEADLINE_SECONDS:g} s")
        return min((upstream.deadline for upstream in self._calls.values()), default=0.0)


def problem_of(message: Message) -> str:
    """The error of a reply in words; empty when it is none."""
    name = message.get("error")
    if name is None:
        return ""
    parameters = message.get("parameters")
    detail = ", ".join(
        f"{key} {value}"
        for key, value in (parameters if isinstance(parameters, dict) else {}).items()
    )
    return f"{str(name).rpartition('.')[2]}{': ' if detail else ''}{detail}"


def providers(units: Iterable[Unit]) -> dict[str, str]:
    """Interface → the unit that provides it."""
    return {interface: unit.name for unit in units for interface in unit.provides}


def why_unanswered(state: State, unit: Unit | None = None) -> str:
    """Why a unit will not answer: it is held or down. One on its way up finds its calls; so does a
    ``unit`` that its first call starts.
    """
    if state.quarantine:
        return f"{state.name} is in quarantine: {state.quarantine}"
    reason = f": {state.reason}" if state.reason else ""
    starts = unit is not None and unit.on_demand and state.state in (INACTIVE, EXITED)
    down = state.is_down and not starts
    return f"{state.name} is {state.state}{reason}" if down else ""


def request(method: str, parameters: Message) -> bytes:
    """A framed call of PID 1's own."""
    return protocol.call(method, parameters)
