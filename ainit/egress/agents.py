"""The agents that are alive, their sockets, and the connections that these took.

One thread calls all of this but `Connection.run`: each connection has a thread of its own. An agent
has no more connections than its share, so that another finds room however many it opens.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from ..errors import AinosError
from ..policy.sandbox import endpoint
from .carry import Carried, carry
from .dial import dial

CONNECTIONS = 256  # of one agent
CONNECTIONS_OF_ALL = 2048
_RESET = struct.pack("=ii", 1, 0)  # struct linger: closed so, a connection is reset


@dataclass(slots=True)
class Agent:
    """One life of an agent: ``process`` is a pidfd, ``label`` is what it is stored under."""

    name: str
    label: str
    process: int
    listeners: Mapping[int, tuple[socket.socket, str]]  # by descriptor, with its endpoint
    connections: set[Connection] = field(default_factory=set)
    accepted: int = 0
    refused: int = 0


class Connection:
    """From an agent to one of its endpoints. ``say`` logs one line when it is over."""

    def __init__(self, agent: Agent, inner: socket.socket, where: str) -> None:
        self._agent = agent
        self._inner = inner
        self._where = where
        self._outer: socket.socket | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def end(self) -> None:
        """Have it end at once."""
        with self._lock:
            self._is_over = True
            for channel in filter(None, (self._inner, self._outer)):
                with suppress(OSError):  # one that is not connected any more
                    channel.shutdown(socket.SHUT_RDWR)

    def run(self) -> bool:
        """Connect, carry, close and log; returns whether there was a connection."""
        carried, address, why = Carried(), "", ""
        try:
            outer, address = dial(
                *endpoint(self._where), inner=self._inner, is_over=lambda: self._is_over
            )
            with self._lock:
                self._outer = outer
            carry(self._inner, outer, carried, is_over=lambda: self._is_over)
        except (OSError, AinosError) as error:
            why = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        if self._is_over:
            why = "ended from outside"
        with self._lock:
            for channel in filter(None, (self._inner, self._outer)):
                close(channel, reset=bool(why))
        line = f"{self._agent.name} to {self._where}"
        if address:
            line += f" at {address}: {carried.out} bytes out, {carried.back} back"
        separator = ", " if address else ": "
        say(f"{line}{separator}{why}" if why else line, is_bad=not address)
        return bool(address)


class Agents:
    """``watch`` and ``unwatch`` have a descriptor looked at; ``forget`` has the store of
    descriptors forget a label.
    """

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        forget: Callable[[str], object],
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._forget = forget
        self._agents: dict[str, Agent] = {}
        self._lock = threading.Lock()

    @property
    def all(self) -> Sequence[Agent]:
        """Those that are alive, by their names."""
        return sorted(self._agents.values(), key=lambda agent: agent.name)

    def add(self, label: str, name: str, places: Sequence[str], descriptors: Sequence[int]) -> None:
        """An agent that may connect to ``places``; the first of its descriptors is its pidfd."""
        process, *listeners = descriptors
        sockets = {number: socket.socket(fileno=number) for number in listeners}
        agent = Agent(
            name,
            label,
            process,
            {each: (sockets[each], where) for each, where in zip(listeners, places, strict=True)},
        )
        self._agents[label] = agent
        self._watch(process, partial(self._gone, agent))
        for number, listener in sockets.items():
            listener.setblocking(False)
            self._watch(number, partial(self._accept, agent, number))

    def _gone(self, agent: Agent) -> None:
        """Its pidfd was told of. That may be an earlier one's of this number: look once more."""
        if agent.label in self._agents and select.select([agent.process], [], [], 0)[0]:
            self.remove(agent)

    def remove(self, agent: Agent) -> int:
        """Close all that an agent has; returns how many connections were open."""
        del self._agents[agent.label]
        self._forget(agent.label)
        for number, (listener, _) in agent.listeners.items():
            self._unwatch(number)
            with suppress(OSError):  # one that was shut already
                listener.shutdown(socket.SHUT_RDWR)  # wherever else it is open, too
            listener.close()
        self._unwatch(agent.process)
        os.close(agent.process)
        with self._lock:
            open_now = list(agent.connections)
        for connection in open_now:
            connection.end()
        return len(open_now)

    def _accept(self, agent: Agent, number: int) -> None:
        listener, where = agent.listeners[number]
        try:
            inner, _ = listener.accept()
        except OSError:
            return  # it is gone again, or there are no descriptors left
        connection = Connection(agent, inner, where)
        with self._lock:
            has_room = len(agent.connections) < self._share()
            if has_room:
                agent.connections.add(connection)
        if not has_room:
            self._refuse(agent, inner, f"{agent.name} to {where}: it has too many connections")
            return
        agent.accepted += 1
        try:
            threading.Thread(target=self._run, args=(agent, connection), daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                agent.connections.discard(connection)
            self._refuse(agent, inner, f"{agent.name} to {where}: {error}")

    def _refuse(self, agent: Agent, inner: socket.socket, why: str) -> None:
        agent.refused += 1
        close(inner, reset=True)
        say(why, is_bad=True)

    def _share(self) -> int:
        """How many connections each agent may have. Those of all agents fit, whatever one does."""
        return max(1, min(CONNECTIONS, CONNECTIONS_OF_ALL // len(self._agents)))

    def _run(self, agent: Agent, connection: Connection) -> None:
        was_connected = False
        try:
            was_connected = connection.run()
        finally:
            with self._lock:
                agent.connections.discard(connection)
                agent.refused += not was_connected


def close(channel: socket.socket, *, reset: bool) -> None:
    """Close a connection; ``reset`` has the other end see an error, and no end of what was said."""
    if reset:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    channel.close()


def say(text: str, *, is_bad: bool = False) -> None:
    """One line of the log."""
    sys.stdout.write(f"<4>{text}\n" if is_bad else f"{text}\n")
    sys.stdout.flush()
