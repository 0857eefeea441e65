"""The ``egress`` service: takes sockets over, answers ``org.ainos.Egress``.

What it was handed it has PID 1 keep, so that agents go on listening while it starts anew: under one
label per life of an agent, in this order: the record, a pidfd, the sockets.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Sequence
from functools import partial

from ..child import handed
from ..child.handed import HandedOver
from ..child.notify import forget, store
from ..child.server import Service
from ..constants import HANDED_BYTES
from ..errors import AinosError
from ..wire import interface_text
from ..wire.protocol import Call, Message
from .agents import Agents, say

INTERFACE = "org.ainos.Egress"
Stored = tuple[str, int]  # a name of LISTEN_FDNAMES, and the descriptor


class Egress:
    """``listener`` is where PID 1 connects. ``stored`` is what an earlier process had kept."""

    def __init__(self, listener: socket.socket, stored: Iterable[Stored] = ()) -> None:
        methods = {"List": self.list, "Drop": self.drop}
        self._service = Service(interface_text(INTERFACE), methods)
        self._agents = Agents(self._service.watch, self._service.unwatch, _forget)
        self._listener = listener
        self._listener.setblocking(False)
        self._waiting: dict[int, socket.socket] = {}
        self._service.watch(listener.fileno(), self._accept)
        kept: dict[str, list[int]] = {}
        for label, number in stored:
            kept.setdefault(label, []).append(number)
        for label, (record, *descriptors) in kept.items():
            content = os.pread(record, HANDED_BYTES, 0)
            os.close(record)
            self._add(label, content, descriptors)

    def serve(self, listener: socket.socket) -> None:
        """Serve for ever; ``listener`` is for callers of the interface."""
        self._service.serve(listener)

    def list(self, _parameters: Message) -> dict[str, object]:
        """Answer ``List``."""
        self._accept()
        found = [
            {
                "name": agent.name,
                "endpoints": [where for _, where in agent.listeners.values()],
                "connections": len(agent.connections),
                "accepted": agent.accepted,
                "refused": agent.refused,
            }
            for agent in self._agents.all
        ]
        return {"agents": found}

    def drop(self, parameters: Message) -> dict[str, object]:
        """Answer ``Drop``."""
        name = Call({"method": f"{INTERFACE}.Drop", "parameters": parameters}).text("agent")
        self._accept()  # what was handed over before this call is part of it
        found = [agent for agent in self._agents.all if agent.name == name]
        endpoints = sum(len(agent.listeners) for agent in found)
        connections = sum([self._agents.remove(agent) for agent in found])
        if found:
            say(f"{name}: closed from outside, with {connections} connections", is_bad=True)
        return {"endpoints": endpoints, "connections": connections}

    def _accept(self) -> None:
        """Take every connection that waits, and what came through those that were taken."""
        for connection in [*self._waiting.values()]:
            self._receive(connection)
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not handed.is_of_superuser(connection):
                connection.close()
                continue
            connection.setblocking(False)
            self._waiting[connection.fileno()] = connection
            self._service.watch(connection.fileno(), partial(self._receive, connection))
            self._receive(connection)

    def _receive(self, connection: socket.socket) -> None:
        try:
            message = handed.receive(connection)
        except BlockingIOError:
            return
        except (OSError, AinosError) as error:
            say(f"nothing was taken over: {error}", is_bad=True)
            message = None
        self._service.unwatch(connection.fileno())
        del self._waiting[connection.fileno()]
        connection.close()
        if message is not None:
            self._take(message)

    def _take(self, message: HandedOver) -> None:
        label = f"{os.fstat(message.process).st_ino}-{os.urandom(4).hex()}"
        descriptors = [message.process, *message.descriptors]
        record = os.memfd_create("record", os.MFD_CLOEXEC)
        try:
            os.write(record, message.record)
            store(label, [record, *descriptors])
        except OSError as error:
            say(f"would not outlive this process: {error}", is_bad=True)
        finally:
            os.close(record)
        self._add(label, message.record, descriptors)

    def _add(self, label: str, record: bytes, descriptors: Sequence[int]) -> None:
        try:
            found = json.loads(record)
            name, places = str(found["agent"]), [str(each) for each in found["endpoints"]]
            if len(descriptors) != 1 + len(places):
                raise ValueError(f"{len(descriptors)} descriptors of {len(places)} endpoints")
        except (ValueError, KeyError, TypeError) as error:
            say(f"what was handed over makes no sense: {error}", is_bad=True)
            for number in descriptors:
                os.close(number)
            _forget(label)
            return
        self._agents.add(label, name, places, descriptors)


def _forget(label: str) -> None:
    """What is closed here is closed, whether PID 1 can be told or not."""
    try:
        forget(label)
    except OSError as error:
        say(f"PID 1 still keeps what is closed: {error}", is_bad=True)
