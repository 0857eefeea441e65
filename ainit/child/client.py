"""A blocking varlink client with a deadline, for the command line and for child services.

>>> with Client("/run/ainit/control", timeout=5.0) as client:   # doctest: +SKIP
...     client.call("org.ainos.Control.Status", {})
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

from ..constants import MESSAGE_BYTES
from ..errors import DeadlineError, UnavailableError, WireError
from ..wire import protocol
from ..wire.protocol import Inbox, Message, VarlinkError

__all__ = ["Client", "VarlinkError"]


Connect = Callable[[float | None], socket.socket]


class Client:
    """One connection: to the socket at a path, or one that ``connect`` makes in so many seconds and
    that is called ``path`` in messages. ``timeout`` bounds each call as a whole, in seconds; None
    waits for ever. It may be changed between two calls.

    Raises UnavailableError when nobody answers there, DeadlineError when the answer is late,
    WireError when it is not varlink, and VarlinkError when it is an error reply.
    """

    def __init__(
        self, path: str, timeout: float | None = 10.0, connect: Connect | None = None
    ) -> None:
        self._path = path
        self.timeout = timeout
        self._inbox = Inbox(MESSAGE_BYTES * 8)
        self._ready: list[Message] = []
        try:
            self._socket = connect(timeout) if connect else local(path, timeout)
        except OSError as error:
            raise UnavailableError(f"{path}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, method: str, parameters: Mapping[str, object] | None = None) -> Message:
        """The reply's parameters of one call."""
        self.request(method, parameters)
        return self.reply()

    def request(self, method: str, parameters: Mapping[str, object] | None = None) -> None:
        """Send a call and leave its reply for later; replies come in the order of the calls."""
        self._send(protocol.call(method, parameters or {}))

    def reply(self) -> Message:
        """The next reply's parameters. After a DeadlineError it may be asked for again."""
        return _parameters(self._receive())

    def more(
        self, method: str, parameters: Mapping[str, object] | None = None
    ) -> Iterator[Message]:
        """The parameters of each reply of a streaming call, until the last."""
        self._send(protocol.call(method, parameters or {}, more=True))
        while True:
            message = self._receive()
            yield _parameters(message)
            if message.get("continues") is not True:
                return

    def _send(self, data: bytes) -> None:
        try:
            self._socket.settimeout(self.timeout)
            self._socket.sendall(data)
        except OSError as error:
            raise UnavailableError(f"{self._path}: {error.strerror or error}") from error

    def _receive(self) -> Message:
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        while not self._ready:
            if deadline is not None:
                self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(1 << 18)
            except TimeoutError as error:
                raise DeadlineError(f"{self._path}: no answer in {self.timeout} s") from error
            except OSError as error:
                raise UnavailableError(f"{self._path}: {error.strerror or error}") from error
            if not data:
                raise UnavailableError(f"{self._path}: the connection was closed")
            self._ready += self._inbox.feed(data)
        return self._ready.pop(0)


def local(path: str, timeout: float | None) -> socket.socket:
    """The socket at a path, connected. Raises OSError."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        channel.settimeout(timeout)
        channel.connect(path)
    except OSError:
        channel.close()
        raise
    return channel


def _parameters(message: Message) -> Message:
    parameters = message.get("parameters", {})
    if not isinstance(parameters, dict):
        raise WireError("the parameters of a reply are an object")
    if (name := message.get("error")) is not None:
        raise VarlinkError(str(name), parameters)
    return parameters
