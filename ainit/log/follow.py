"""A stream of ``org.ainos.Control.Logs`` replies that outlives PID 1's faults.

The connection breaks when PID 1 starts over; a new one goes on from the cursors, so that nothing is
missed or repeated. Leaves out: what the replies are for.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping

from ..constants import MESSAGE_BYTES
from ..errors import UnavailableError, WireError
from ..wire import protocol
from ..wire.protocol import Inbox, Message

METHOD = "org.ainos.Control.Logs"
PATIENCE_SECONDS = 30.0  # without PID 1, until its supervisor may as well start us anew
_PAUSE_SECONDS = 0.1


class Follower:
    """``cursors`` are where to begin, and are taken further by whoever uses the replies. ``wakeup``
    is a descriptor; when it is readable the stream ends once nothing more comes at once.
    """

    def __init__(self, path: str, cursors: Mapping[str, int], wakeup: int = -1) -> None:
        self._path = path
        self._cursors = cursors
        self._wakeup = wakeup

    def replies(self, wait: Callable[[], float | None]) -> Iterator[Message | None]:
        """The parameters of each reply; None after ``wait()`` seconds without one (None: however
        long it takes). Raises UnavailableError when PID 1 does not answer for PATIENCE_SECONDS.
        """
        answered = time.monotonic()
        while True:
            problem = ""
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
                    channel.settimeout(PATIENCE_SECONDS)
                    channel.connect(self._path)
                    parameters = {"follow": True, "persistent": True, "cursors": self._cursors}
                    channel.sendall(protocol.call(METHOD, parameters, more=True))
                    for reply in self._read(channel, wait):
                        answered = time.monotonic()
                        yield reply
                    return
            except (OSError, WireError) as error:
                problem = str(error)
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise UnavailableError(f"{self._path}: {problem}")
            if self._is_over(_PAUSE_SECONDS):
                return

    def _read(
        self, channel: socket.socket, wait: Callable[[], float | None]
    ) -> Iterator[Message | None]:
        inbox = Inbox(MESSAGE_BYTES * 8)
        watched = [channel.fileno(), *([self._wakeup] if self._wakeup >= 0 else [])]
        while True:
            found, _, _ = select.select(watched, [], [], wait())
            if channel.fileno() in found:
                data = channel.recv(1 << 18)
                if not data:
                    raise WireError("the connection was closed")
                for message in inbox.feed(data):
                    yield _parameters(message)
            elif found:
                if not select.select([channel], [], [], _PAUSE_SECONDS)[0]:
                    return
            else:
                yield None

    def _is_over(self, seconds: float) -> bool:
        if self._wakeup < 0:
            time.sleep(seconds)
            return False
        return bool(select.select([self._wakeup], [], [], seconds)[0])


def _parameters(message: Message) -> Message:
    parameters = message.get("parameters")
    if (name := message.get("error")) is not None:
        raise WireError(f"{name}: {parameters}")
    if not isinstance(parameters, dict):
        raise WireError("the parameters of a reply are an object")
    return parameters
