"""A control server that speaks real varlink on a real socket, with answers given by the test.

Every message is checked against the interface it belongs to; what is wrong is in ``problems``.

    with ControlServer(path, {"org.ainos.Control.Status": STATUS}) as server:
        main(["--socket", str(path), "status"])
    assert server.calls == [("org.ainos.Control.Status", {})]
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ainit.child.server import service_info
from ainit.wire import interface_text, protocol
from ainit.wire.protocol import Call, Inbox, Message, VarlinkError

from .idl import Interface

# One reply, several (a stream), an error, or what makes a reply of the call's parameters.
Answer = (
    Mapping[str, object]
    | list[dict[str, object]]
    | VarlinkError
    | Callable[[Message], Mapping[str, object]]
)


class ControlServer:
    """Answers the calls of any number of clients, one thread each."""

    def __init__(self, path: Path, answers: Mapping[str, Answer]) -> None:
        self.path = path
        self.answers = dict(answers)
        self.calls: list[tuple[str, Message]] = []
        self.problems: list[str] = []
        names = {method.rpartition(".")[0] for method in answers} | {"org.ainos.Control"}
        self._interfaces = {name: Interface.named(name) for name in sorted(names)}
        self._listener = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)
        self._listener.close()
        assert not self.problems, self.problems

    def _spawn(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                channel, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, channel)

    def _serve(self, channel: socket.socket) -> None:
        inbox = Inbox()
        with channel, suppress(ConnectionError):  # a client may leave without its answer
            while data := channel.recv(65536):
                for message in inbox.feed(data):
                    channel.sendall(self._reply(Call(message)))

    def _reply(self, call: Call) -> bytes:
        try:
            answer = self._answer(call)
        except VarlinkError as error:
            return protocol.error(error.name, error.parameters)
        replies = answer if isinstance(answer, list) else [dict(answer)]
        if call.interface in self._interfaces:
            for reply in replies:
                self.problems += self._interfaces[call.interface].wrong_reply(call.member, reply)
        *others, last = replies
        head = b"".join(protocol.reply(reply, continues=True) for reply in others)
        return head + protocol.reply(last)

    def _answer(self, call: Call) -> Mapping[str, object] | list[dict[str, object]]:
        if call.interface == protocol.SERVICE:
            if call.member == "GetInfo":
                return service_info([protocol.SERVICE, *self._interfaces], "fake")
            return {"description": interface_text(call.text("interface"))}
        self.calls.append((call.method, call.parameters))
        interface = self._interfaces.get(call.interface)
        if interface is None:
            raise VarlinkError(protocol.INTERFACE_NOT_FOUND, {"interface": call.interface})
        if call.member not in interface.methods:
            raise VarlinkError(protocol.METHOD_NOT_FOUND, {"method": call.method})
        self.problems += interface.wrong_call(call.member, call.parameters)
        answer = self.answers.get(call.method, {})
        if isinstance(answer, VarlinkError):
            raise answer
        if isinstance(answer, list) and not call.more:
            raise VarlinkError(f"{protocol.SERVICE}.ExpectedMore")
        return answer(call.parameters) if callable(answer) else answer
