"""A varlink server for child services: one thread, one epoll loop, bounded everything.

PID 1 hands over the listening socket as descriptor 3 (``LISTEN_FDS``), so that no client can come
too early. A handler takes the call's parameters and returns the reply's.

>>> Service(interface_text, {"Ping": lambda parameters: {"pong": True}}).serve()   # doctest: +SKIP

A method that is named in ``streams`` may be called with ``more``: its reply then promises others,
and `Service.publish` sends them. Who reads too slowly misses some.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial

from .. import __version__
from ..constants import CLIENTS, LISTEN_FD
from ..errors import AinosError, WireError
from ..wire import interface_text, protocol
from ..wire.protocol import Call, Inbox, Message, VarlinkError
from .notify import notify

__all__ = ["Handler", "Service", "VarlinkError", "listening_socket", "service_info"]

Handler = Callable[[Message], Mapping[str, object]]


def listening_socket() -> socket.socket:
    """The socket that PID 1 opened for this service (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_FDS") != "1" or os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise AinosError("no listening socket was handed over: start this through ainit")
    return socket.socket(fileno=LISTEN_FD)


def service_info(interfaces: list[str], product: str) -> dict[str, object]:
    """The answer to ``org.varlink.service.GetInfo``."""
    return {
        "vendor": "AINOS",
        "product": product,
        "version": __version__,
        "url": "",
        "interfaces": interfaces,
    }


class _Connection:
    __slots__ = ("follows", "inbox", "outbox", "socket")

    def __init__(self, channel: socket.socket) -> None:
        self.socket = channel
        self.inbox = Inbox()
        self.outbox = bytearray()
        self.follows = ""  # the method whose further replies it gets


class Service:
    """Answers the methods of one interface on a listening socket."""

    def __init__(
        self, description: str, methods: Mapping[str, Handler], streams: Collection[str] = ()
    ) -> None:
        self._description = description
        self._streams = frozenset(streams)
        self._interface = protocol.interfaces_of(description)
        self._methods = dict(methods)
        self._connections: dict[int, _Connection] = {}
        self._watched: dict[int, Callable[[], None]] = {}
        self._poll = select.epoll()

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` from the loop whenever ``descriptor`` is readable."""
        self._watched[descriptor] = callback
        self._poll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Look at ``descriptor`` no more. It is still open."""
        del self._watched[descriptor]
        self._poll.unregister(descriptor)

    @property
    def clients(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def follows(self, member: str) -> bool:
        """Whether anybody waits for further replies of a method."""
        return any(each.follows == member for each in self._connections.values())

    def publish(self, member: str, parameters: Mapping[str, object]) -> None:
        """A further reply to everybody who called this method with ``more``."""
        message = protocol.reply(parameters, continues=True)
        for descriptor, connection in list(self._connections.items()):
            if connection.follows == member and not connection.outbox:
                connection.outbox += message
                self._guarded(descriptor, partial(self._flush, connection))

    def serve(
        self, listener: socket.socket | None = None, *, tick: Callable[[], float] | None = None
    ) -> None:
        """Say ``READY=1`` and answer calls for ever.

        ``tick`` runs after every turn and returns the longest time until its next run, in seconds.
        """
        listener = listener or listening_socket()
        listener.setblocking(False)
        self._poll.register(listener.fileno(), select.EPOLLIN)
        notify("READY=1")
        while True:
            timeout = tick() if tick else -1
            for descriptor, events in self._poll.poll(timeout):
                if descriptor == listener.fileno():
                    self._accept(listener)
                elif descriptor in self._watched:
                    self._watched[descriptor]()
                elif descriptor in self._connections:
                    self._turn(descriptor, events)

    def _accept(self, listener: socket.socket) -> None:
        try:
            channel, _ = listener.accept()
        except OSError:
            return
        if len(self._connections) >= CLIENTS:
            channel.close()
            return
        channel.setblocking(False)
        self._connections[channel.fileno()] = _Connection(channel)
        self._poll.register(channel.fileno(), select.EPOLLIN)

    def _turn(self, descriptor: int, events: int) -> None:
        connection = self._connections[descriptor]

        def turn() -> None:
            if events & select.EPOLLIN:
                data = connection.socket.recv(65536)
                if not data:
                    raise WireError("closed")
                for message in connection.inbox.feed(data):
                    connection.outbox += self._answer(message, connection)
            elif events & (select.EPOLLHUP | select.EPOLLERR):
                raise WireError("closed")
            self._flush(connection)

        self._guarded(descriptor, turn)

    def _guarded(self, descriptor: int, what: Callable[[], None]) -> None:
        """Do something with a connection, which is closed if that fails."""
        try:
            what()
        except (OSError, WireError):
            self._poll.unregister(descriptor)
            self._connections.pop(descriptor).socket.close()

    def _flush(self, connection: _Connection) -> None:
        if connection.outbox:
            try:
                del connection.outbox[: connection.socket.send(connection.outbox)]
            except BlockingIOError:
                pass
        wanted = select.EPOLLOUT if connection.outbox else select.EPOLLIN  # no reply, no next call
        self._poll.modify(connection.socket.fileno(), wanted)

    def _answer(self, message: Message, connection: _Connection) -> bytes:
        call = Call(message)
        try:
            found = self._dispatch(call)
            goes_on = call.more and call.member in self._streams
            connection.follows = call.member if goes_on else ""
            answer = protocol.reply(found, continues=goes_on)
        except VarlinkError as problem:
            answer = protocol.error(problem.name, problem.parameters)
        except Exception as fault:  # noqa: BLE001 - no caller may end a service
            print(f"fault in {call.method}: {fault!r}", file=sys.stderr, flush=True)
            answer = protocol.error(protocol.FAULT, {"method": call.method})
        return b"" if call.oneway else answer

    def _dispatch(self, call: Call) -> Mapping[str, object]:
        if call.interface == protocol.SERVICE:
            if call.member == "GetInfo":
                return service_info([protocol.SERVICE, self._interface], self._interface)
            if call.member == "GetInterfaceDescription":
                name = call.text("interface")
                if name not in (self._interface, protocol.SERVICE):
                    raise VarlinkError(protocol.INTERFACE_NOT_FOUND, {"interface": name})
                return {
                    "description": self._description
                    if name == self._interface
                    else interface_text(name)
                }
        elif call.interface != self._interface:
            raise VarlinkError(protocol.INTERFACE_NOT_FOUND, {"interface": call.interface})
        handler = self._methods.get(call.member)
        if handler is None or call.interface != self._interface:
            raise VarlinkError(protocol.METHOD_NOT_FOUND, {"method": call.method})
        return handler(call.parameters)
