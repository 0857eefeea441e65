"""One operator's calls, carried to the control socket and their answers back.

A call is parsed, judged by the operator's role, and written anew, so that what was judged is what
PID 1 reads. The next call is looked at when the last answer has left. A call may be as long as one
of that role's like on the machine: parsed, it takes many times that.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable

from ..constants import MESSAGE_BYTES, MESSAGE_BYTES_OTHERS
from ..errors import WireError
from ..policy import access
from ..policy.remote import Operator
from ..wire import protocol
from ..wire.protocol import PERMISSION_DENIED, Call, Inbox, Message

IDLE_SECONDS = 600.0  # between two calls
SLOW_SECONDS = 30.0  # for a client to take a part of an answer
REFUSALS = 20  # after which a conversation is over: each is a line in the log
_CHUNK = 65536
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR
_NAME_CHARACTERS = 120
_REPLY_BYTES = MESSAGE_BYTES * 8


class Conversation:
    """``client`` after the handshake, ``control`` connected; both are closed by their owner.
    ``note`` is told every call that changes something, and every one that is refused.
    """

    def __init__(
        self,
        client: socket.socket,
        control: socket.socket,
        operator: Operator,
        note: Callable[[str], None],
    ) -> None:
        self._client = client
        self._control = control
        self._operator = operator
        self._note = note
        is_admin = operator.role == access.ADMIN
        self._calls = Inbox(MESSAGE_BYTES if is_admin else MESSAGE_BYTES_OTHERS)
        self._replies = Inbox(_REPLY_BYTES)
        self._waiting: list[Message] = []
        self._given: list[Message] = []
        self._refused = 0

    def carry(self) -> None:
        """Until one side ends it. Raises OSError when it ends badly, WireError for what is no
        varlink.
        """
        self._client.settimeout(SLOW_SECONDS)
        self._control.settimeout(SLOW_SECONDS)
        while self._next_call():
            self._call(self._waiting.pop(0))

    def _next_call(self) -> bool:
        """Wait for a call; whether there is one."""
        until = time.monotonic() + IDLE_SECONDS
        while not self._waiting:
            if not _readable(self._client, until - time.monotonic()):
                return False
            data = self._client.recv(_CHUNK)
            if not data:
                return False
            self._waiting += self._calls.feed(data)
        return True

    def _call(self, message: Message) -> None:
        call = Call(message)
        name, role = self._operator.name, self._operator.role
        unit = call.parameters.get("name")
        if not access.is_allowed_role(role, call.interface, call.member, unit):
            self._note(f"{name} ({role}) was refused {_shown(call.method)}")
            if not call.oneway:
                self._client.sendall(protocol.error(PERMISSION_DENIED, {}))
            self._refused += 1
            if self._refused >= REFUSALS:
                raise WireError("refused too often")
            return
        if access.changes(call.interface, call.member):
            self._note(f"{name} ({role}) calls {_shown(call.method)}")
        self._control.sendall(protocol.encode(access.owned(message, name)))
        if call.oneway:
            return
        while True:
            reply = self._reply()
            self._client.sendall(protocol.encode(reply))
            if not (call.more and reply.get("continues") is True):
                return

    def _reply(self) -> Message:
        """The next reply of the machine. A client that goes away meanwhile ends the wait."""
        while not self._given:
            self._wait()
            data = self._control.recv(_CHUNK)
            if not data:
                raise WireError("the control socket was closed")
            self._given += self._replies.feed(data)
        return self._given.pop(0)

    def _wait(self) -> None:
        """Until the machine says something, however long; ConnectionError when the client left."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        # Nothing is read of a client that has said more already; that he leaves is told.
        poll.register(self._client, select.POLLRDHUP if self._waiting else select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self._control.fileno() in ready:
                return
            if ready[self._client.fileno()] & _GONE or not (data := self._client.recv(_CHUNK)):
                raise ConnectionResetError("the client left")
            self._waiting += self._calls.feed(data)
            if self._waiting:
                poll.modify(self._client, select.POLLRDHUP)


def _readable(channel: socket.socket, seconds: float) -> bool:
    if isinstance(channel, ssl.SSLSocket) and channel.pending():
        return True
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(max(seconds, 0.0) * 1000))


def _shown(method: str) -> str:
    """A method's name for the log: what is no name cannot look like another line."""
    return ascii(method[:_NAME_CHARACTERS])[1:-1]
