"""A loop turned by hand, peers on real sockets, and services that answer as they are told."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ainit.pid1.control import Client, Control
from ainit.pid1.gate import Gate
from ainit.pid1.loop import Loop
from ainit.pid1.relay import Relay
from ainit.policy.plan import Unit
from ainit.wire import protocol
from ainit.wire.protocol import Call, Inbox, Message
from tests.support.notebook import Notebook
from tests.support.wait import wait_for


class Wires:
    """Control and relay on one loop."""

    def __init__(
        self,
        directory: Path,
        units: Mapping[str, str],
        journal: Notebook | None = None,
        plan: Sequence[Unit] = (),
    ) -> None:
        self.directory = directory
        self.loop = Loop()
        self.loop.hook(lambda now: now + 0.001)  # no turn waits long
        self.down: dict[str, str] = {}
        self.relay = Relay(self.loop, str(directory), lambda unit: self.down.get(unit, ""))
        self.calls: list[str] = []
        methods: dict[str, Callable[[Client, Call], Mapping[str, object] | None]] = {
            "Status": self._status,
            "Stop": self._stop,
        }
        path = str(directory / "control")
        self.journal = journal or Notebook()
        self.said: list[tuple[str, str]] = []
        gate = Gate(lambda agent, text: self.said.append((agent, text)), plan)
        self.control = Control(self.loop, self.relay, path, methods, units, self.journal, gate)
        self.size = 0

    def _status(self, client: Client, call: Call) -> Mapping[str, object]:
        self.calls.append(call.member)
        return {"text": "x" * self.size}

    def _stop(self, client: Client, call: Call) -> Mapping[str, object]:
        self.calls.append(f"{call.member} {call.text('name')}")
        return {}

    def close(self) -> None:
        """Close what PID 1 keeps open as long as it lives."""
        for client in self.control._clients.values():
            client.socket.close()
        for upstream in self.relay._calls.values():
            upstream.socket.close()
        self.control._listener.close()
        os.close(self.control._reserve)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Turn the loop until something is so."""

        def turned() -> bool:
            self.loop.turn()
            return condition()

        wait_for(turned, what)

    def turns(self, count: int = 20) -> None:
        """Turn the loop a few times, to show that nothing more comes of it."""
        for _ in range(count):
            self.loop.turn()

    @contextmanager
    def peer(self) -> Iterator[Peer]:
        """A client of the control socket."""
        peer = Peer(self, str(self.directory / "control"))
        try:
            yield peer
        finally:
            peer.close()

    @contextmanager
    def service(self, unit: str) -> Iterator[Service]:
        """The listening socket of a unit, and what it receives."""
        service = Service(self, str(self.directory / unit))
        try:
            yield service
        finally:
            service.close()


class Peer:
    """One end of a connection, never blocking."""

    def __init__(self, wires: Wires, path: str) -> None:
        self._wires = wires
        self._inbox = Inbox()
        self.messages: list[Message] = []
        self.closed = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.setblocking(False)

    def send(
        self, method: str, *, oneway: bool = False, more: bool = False, **keys: object
    ) -> None:
        message: Message = {"method": method, "parameters": keys}
        if oneway:
            message["oneway"] = True
        if more:
            message["more"] = True
        self.socket.sendall(protocol.encode(message))

    def read(self) -> None:
        """Take what is there."""
        try:
            while data := self.socket.recv(65536):
                self.messages += self._inbox.feed(data)
            self.closed = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.closed = True

    def receive(self) -> Message:
        """The next message."""

        def arrived() -> bool:
            self.read()
            return bool(self.messages)

        self._wires.until(arrived, "an answer")
        return self.messages.pop(0)

    def wait_closed(self) -> None:
        """Turn until the other side hung up."""

        def gone() -> bool:
            self.read()
            return self.closed

        self._wires.until(gone, "the connection to be closed")

    def close(self) -> None:
        self.socket.close()


class Service:
    """Accepts connections and takes messages; each test answers as it likes."""

    def __init__(self, wires: Wires, path: str) -> None:
        self._wires = wires
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(8)
        self._listener.setblocking(False)
        self._open: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Message]:
        """The next connection and the call on it."""
        channel = self._connection()
        inbox, messages = Inbox(), list[Message]()

        def arrived() -> bool:
            try:
                messages.extend(inbox.feed(channel.recv(65536)))
            except BlockingIOError:
                pass
            return bool(messages)

        self._wires.until(arrived, "a call")
        return channel, messages[0]

    def _connection(self) -> socket.socket:
        def arrived() -> bool:
            try:
                channel, _ = self._listener.accept()
            except BlockingIOError:
                return False
            channel.setblocking(False)
            self._open.append(channel)
            return True

        self._wires.until(arrived, "a connection")
        return self._open[-1]

    def close(self) -> None:
        for channel in (*self._open, self._listener):
            channel.close()
