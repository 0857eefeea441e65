"""The notification socket: what services say about themselves (sd_notify(3)).

A datagram is looked at, acted upon (which journals what follows from it), and only then taken off
the queue, so that a fault in between loses nothing. Who sent it says the kernel. Descriptors that
come along are stored for units that may (``fd_store_max``), and closed otherwise.
"""

from __future__ import annotations

import os
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_PEEK,
    SCM_CREDENTIALS,
    SCM_RIGHTS,
    SO_PASSCRED,
    SO_RCVBUF,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    socket,
)

from ..linux import libc, process
from ..policy import notification
from ..policy import state as life
from ..policy.state import Event
from . import deaths, loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.plan import Unit
    from .journal import Journal, Role
    from .supervisor import Supervisor

_DATAGRAMS_A_TURN = 4
_DATAGRAM_BYTES = 4096
_DESCRIPTORS_MAX = 253  # SCM_MAX_FD of the kernel
_ANCILLARY_BYTES = CMSG_SPACE(12) + CMSG_SPACE(4 * _DESCRIPTORS_MAX)
_TRIES = 3
_RECEIVE_BYTES = 4 << 20
_LISTENER = ("notify",)
_UNWATCHED = "unwatched"  # ends the role of a descriptor stored with FDPOLL=0


class Notifications:
    """Listens at ``path``. A datagram that PID 1 failed at three times is thrown away."""

    def __init__(
        self,
        events: loop.Loop,
        journal: Journal,
        supervisor: Supervisor,
        path: str,
    ) -> None:
        self._loop = events
        self._journal = journal
        self._supervisor = supervisor
        kept = journal.of(*_LISTENER).get(_LISTENER)
        self._socket = _listen(path) if kept is None else socket(fileno=kept)
        if kept is None:
            journal.keep(self._socket.fileno(), _LISTENER)
        self._stores: dict[str, dict[Role, int]] = {}
        for role, number in journal.of("store").items():
            self._stores.setdefault(role[1], {})[role] = number
            self._watch(role, number)
        if journal.hearing.value >= _TRIES:
            self._take()
        events.add(self._socket.fileno(), loop.READ, self._readable)

    def stored(self, unit: str) -> list[tuple[str, int]]:
        """The names and descriptors that a unit stored, for its next incarnation."""
        return [(role[2], number) for role, number in sorted(self._stores.get(unit, {}).items())]

    def forget(self, unit: str) -> None:
        """Close what a unit stored: it is stopped."""
        for role in list(self._stores.get(unit, ())):
            self._remove(role)

    def _readable(self, _: int) -> None:
        for _turn in range(_DATAGRAMS_A_TURN):
            try:
                data, ancillary, _flags, _address = self._socket.recvmsg(
                    _DATAGRAM_BYTES, _ANCILLARY_BYTES, MSG_PEEK | MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            self._hear(data, ancillary)
            self._take()

    def _hear(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        received: list[int] = []
        sender = 0
        for level, kind, content in ancillary:
            if level == SOL_SOCKET and kind == SCM_CREDENTIALS:
                sender = int.from_bytes(content[:4], "little")
            elif level == SOL_SOCKET and kind == SCM_RIGHTS:
                received += [
                    int.from_bytes(content[at : at + 4], "little")
                    for at in range(0, len(content) - 3, 4)
                ]
        self._journal.hearing.value += 1
        try:
            self._heard(sender, notification.parse(data), received)
        finally:
            for descriptor in received:
                os.close(descriptor)

    def _take(self) -> None:
        try:
            self._socket.recv(1)  # without room for descriptors, they are closed by the kernel
        except BlockingIOError:
            pass
        self._journal.hearing.value = 0

    def _heard(self, sender: int, said: dict[str, str], received: list[int]) -> None:
        name = self._supervisor.unit_of(sender)
        if name is None or not said:
            return
        unit, state = self._supervisor.units[name], self._supervisor.states[name]
        main_only = unit.notify_access == "main" and sender != state.pid
        if main_only or unit.notify_access == "none":
            return
        if "STATUS" in said:
            state.text = notification.status(said["STATUS"])
        if main := notification.pid(said.get("MAINPID")):
            self._main_pid(name, main)
        for event in _events(said):
            self._supervisor.post(name, event)
        self._supervisor.run()
        if "FDSTORE" in said and received:
            self._store(unit, said, received)
        if "FDSTOREREMOVE" in said and "FDNAME" in said:
            wanted = notification.name(said["FDNAME"])
            for role in [role for role in self._stores.get(name, ()) if role[2] == wanted]:
                self._remove(role)

    def _main_pid(self, name: str, main: int) -> None:
        """Another process of its own is the main one from now on, if it is one of PID 1's children:
        only of those is the end seen.
        """
        if self._supervisor.unit_of(main) == name and process.parent(main) == 1:
            self._supervisor.post(name, deaths.adopted(main))

    def _store(self, unit: Unit, said: dict[str, str], received: list[int]) -> None:
        if not unit.fd_store_max:
            return
        label = notification.name(said.get("FDNAME", "stored"))
        held = self._stores.setdefault(unit.name, {})
        following = max((int(role[3]) for role in held), default=0) + 1
        for descriptor in received:
            if len(held) >= unit.fd_store_max:
                return
            if any(libc.same_file(descriptor, number) for number in held.values()):
                continue  # said twice, or heard twice over a fault
            copy = os.dup(descriptor)
            role: Role = ("store", unit.name, label, f"{following:06}")
            if said.get("FDPOLL") == "0":
                role = (*role, _UNWATCHED)
            self._journal.keep(copy, role)
            held[role] = copy
            following += 1
            self._watch(role, copy)

    def _watch(self, role: Role, number: int) -> None:
        """Remove a descriptor once its other end is gone, if it has one and nobody said not to."""
        if _UNWATCHED in role[4:]:
            return
        try:
            self._loop.add(number, 0, lambda _: self._remove(role))  # GONE is always told
        except OSError:
            pass  # a file, which has no other end, or no room to watch: it stays

    def _remove(self, role: Role) -> None:
        held = self._stores[role[1]]
        number = held.pop(role)
        if not held:
            del self._stores[role[1]]
        self._loop.remove(number)
        self._journal.drop(number)
        os.close(number)


def _events(said: dict[str, str]) -> list[Event]:
    found = []
    extended = notification.seconds(said.get("EXTEND_TIMEOUT_USEC"))
    period = notification.seconds(said.get("WATCHDOG_USEC"))
    if "X_AINOS_FINDINGS" in said:
        reason = notification.findings(said["X_AINOS_FINDINGS"])
        found.append(Event(life.FINDINGS, reason=reason))
    if extended:
        found.append(Event(life.EXTEND, seconds=extended))
    if said.get("RELOADING") == "1":
        found.append(Event(life.RELOADING))
    if said.get("READY") == "1":
        found.append(Event(life.NOTIFIED_READY))
    if said.get("STOPPING") == "1":
        found.append(Event(life.NOTIFIED_STOPPING))
    if said.get("WATCHDOG") == "1" or period:
        found.append(Event(life.PING, seconds=period))
    elif said.get("WATCHDOG") == "trigger":
        found.append(Event(life.TROUBLE, reason="it said that its watchdog triggered"))
    return found


def _listen(path: str) -> socket:
    channel = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    channel.bind(path)
    os.chmod(path, 0o666)
    channel.setsockopt(SOL_SOCKET, SO_PASSCRED, 1)
    channel.setsockopt(SOL_SOCKET, SO_RCVBUF, _RECEIVE_BYTES)
    return channel
