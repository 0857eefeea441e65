"""The control socket: varlink, authorised by the kernel's word on who the peer is.

Calls of ``org.ainos.Control`` are answered here; calls of an interface that a unit provides are
relayed to it. A client may be slow or hostile: its next call is looked at when the last answer has
left, and nothing more is read meanwhile, so what it can make PID 1 hold is bounded.
"""

from __future__ import annotations

import os
from _socket import (
    AF_UNIX,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from .. import __version__
from ..constants import CLIENTS, MESSAGE_BYTES
from ..errors import WireError
from ..policy import access
from ..wire import interface_text, protocol
from ..wire.codec import dumps
from ..wire.protocol import Call, Inbox, Message, VarlinkError
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .gate import Gate
    from .journal import Journal
    from .relay import Relay

INTERFACE = "org.ainos.Control"
UNAVAILABLE = INTERFACE + ".Unavailable"
_READ_BYTES = 65536
_PEERCRED_BYTES = 12
_LISTENER = ("control",)


class Client:
    """One connection. While an answer is pending, further calls wait their turn in ``waiting``;
    ``busy`` while its calls are being worked on.
    """

    __slots__ = ("abandon", "busy", "inbox", "outbox", "pending", "socket", "uid", "waiting")

    def __init__(self, channel: socket, uid: int) -> None:
        self.socket = channel
        self.uid = uid
        self.inbox = Inbox(access.message_bytes(uid))
        self.outbox = bytearray()
        self.waiting: list[Message] = []
        self.pending = False
        self.busy = False
        self.abandon: Callable[[], None] = lambda: None

    @property
    def congested(self) -> bool:
        """Whether more output would pile up without bound."""
        return len(self.outbox) > MESSAGE_BYTES


# A method answers with the reply's parameters, or with None when it streams on its own.
Method = "Callable[[Client, Call], Mapping[str, object] | None]"


class Control:
    """Accepts clients, answers and relays. ``methods`` are those of org.ainos.Control by name;
    ``providers`` maps an interface to the unit that provides it.
    """

    def __init__(
        self,
        events: loop.Loop,
        relay: Relay,
        path: str,
        methods: Mapping[str, Callable[[Client, Call], Mapping[str, object] | None]],
        providers: Mapping[str, str],
        journal: Journal,
        gate: Gate,
    ) -> None:
        self._loop = events
        self._relay = relay
        self._methods = methods
        self._providers = providers
        self._gate = gate
        self._clients: dict[int, Client] = {}
        kept = journal.of(*_LISTENER).get(_LISTENER)
        self._listener = _listen(path) if kept is None else socket(fileno=kept)
        if kept is None:
            journal.keep(self._listener.fileno(), _LISTENER)
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        events.add(self._listener.fileno(), loop.READ, self._accept)

    def send(self, client: Client, data: bytes) -> None:
        """Queue output for a client and write what the socket takes."""
        client.outbox += data
        self._flush(client)

    def send_list(
        self,
        client: Client,
        call: Call,
        answer: Mapping[str, object],
        key: str,
        items: Iterable[Mapping[str, object]],
    ) -> None:
        """Queue a reply of ``answer`` and a list ``key``, of which no more than one item at a time
        is in memory beside its text.
        """
        if call.oneway:
            return
        outbox = client.outbox
        outbox += protocol.reply({**answer, key: []}).removesuffix(b"]}}\0")
        separator = b""
        for item in items:
            outbox += separator + dumps(item).encode("ascii")
            separator = b","
        outbox += b"]}}\0"
        self._flush(client)

    def finish(self, client: Client) -> None:
        """The pending answer is complete: the client's next call may run."""
        client.pending = False
        client.abandon = lambda: None
        self._work(client)

    def _accept(self, _: int) -> None:
        try:
            descriptor, _address = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        except OSError:
            self._turn_away()
            return
        channel = socket(fileno=descriptor)
        channel.setblocking(False)
        credentials = channel.getsockopt(SOL_SOCKET, SO_PEERCRED, _PEERCRED_BYTES)
        client = Client(channel, int.from_bytes(credentials[4:8], "little"))
        if not self._gate.admits(client.uid, [each.uid for each in self._clients.values()]):
            channel.close()
            return
        self._clients[descriptor] = client
        self._loop.add(descriptor, loop.READ, lambda now: self._turn(client, now), urgent=True)

    def _turn_away(self) -> None:
        """No descriptor is left: give the reserve up for the moment it takes to hang up."""
        os.close(self._reserve)
        try:
            os.close(self._listener._accept()[0])  # type: ignore[attr-defined]
        except OSError:
            pass  # it went away by itself
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def _turn(self, client: Client, events: int) -> None:
        try:
            if events & loop.READ:
                data = client.socket.recv(_READ_BYTES)
                if not data:
                    raise WireError("closed")
                client.waiting += client.inbox.feed(data)
            elif events & loop.GONE:
                raise WireError("closed")
        except BlockingIOError:
            pass
        except (OSError, WireError):
            self._drop(client)
        self._work(client)

    def _drop(self, client: Client) -> None:
        descriptor = client.socket.fileno()
        if descriptor >= 0:
            client.abandon()
            self._loop.remove(descriptor)
            del self._clients[descriptor]
            client.socket.close()
            client.waiting.clear()

    def _flush(self, client: Client) -> None:
        descriptor = client.socket.fileno()
        if descriptor < 0:
            return
        try:
            if client.outbox:
                del client.outbox[: client.socket.send(client.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        wanted = (0 if client.waiting else loop.READ) | (loop.WRITE if client.outbox else 0)
        self._loop.modify(descriptor, wanted)

    def _work(self, client: Client) -> None:
        if client.busy:
            return  # an answer that came at once; the loop below goes on with the next call
        client.busy = True
        try:
            self._flush(client)
            while client.waiting and not (client.pending or client.outbox):
                self._answer(client, Call(client.waiting.pop(0)))
            self._flush(client)
        except WireError:
            self._drop(client)
        finally:
            client.busy = False

    def _answer(self, client: Client, call: Call) -> None:
        try:
            answer = self._dispatch(client, call)
        except VarlinkError as error:
            if not call.oneway:
                self.send(client, protocol.error(error.name, error.parameters))
            return
        if answer is not None and not call.oneway:
            self.send(client, protocol.reply(answer))

    def _dispatch(self, client: Client, call: Call) -> Mapping[str, object] | None:
        if not self._gate.permits(client.uid, call):
            raise VarlinkError(protocol.PERMISSION_DENIED)
        if call.interface == protocol.SERVICE:
            return self._about(client, call)
        if call.interface == INTERFACE:
            if call.member not in self._methods:
                raise VarlinkError(protocol.METHOD_NOT_FOUND, {"method": call.method})
            return self._methods[call.member](client, call)
        if call.interface not in self._providers:
            raise VarlinkError(protocol.INTERFACE_NOT_FOUND, {"interface": call.interface})
        message: Message = {"method": call.method, "parameters": call.parameters}
        if call.more:
            message["more"] = True
        self._pass_on(client, call, self._providers[call.interface], message)
        return None

    def _about(self, client: Client, call: Call) -> Mapping[str, object] | None:
        if call.member == "GetInfo":
            return {
                "vendor": "AINOS",
                "product": "ainit",
                "version": __version__,
                "url": "",
                "interfaces": [protocol.SERVICE, INTERFACE, *sorted(self._providers)],
            }
        if call.member != "GetInterfaceDescription":
            raise VarlinkError(protocol.METHOD_NOT_FOUND, {"method": call.method})
        name = call.text("interface")
        if name in (protocol.SERVICE, INTERFACE):
            return {"description": interface_text(name)}
        if name not in self._providers:
            raise VarlinkError(protocol.INTERFACE_NOT_FOUND, {"interface": name})
        message: Message = {"method": call.method, "parameters": {"interface": name}}
        self._pass_on(client, call, self._providers[name], message)
        return None

    def _pass_on(self, client: Client, call: Call, unit: str, message: Message) -> None:
        interface, oneway = call.interface, call.oneway

        def on_reply(answer: Message | None, problem: str) -> None:
            if answer is None:
                details = {"interface": interface, "reason": problem}
                answer = {"error": UNAVAILABLE, "parameters": details}
            try:
                data = b"" if oneway else protocol.encode(answer)
            except WireError:
                self._drop(client)
                return
            self.send(client, data)
            if answer.get("continues") is not True:
                self.finish(client)
            elif client.congested:
                self._drop(client)

        client.pending = True
        abandon = self._relay.call(unit, protocol.encode(message), on_reply)
        if client.pending:
            client.abandon = abandon


def _listen(path: str) -> socket:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
    listener.bind(path)
    os.chmod(path, 0o666)  # the peer's credentials decide, not the path's mode
    listener.listen(CLIENTS)
    return listener
