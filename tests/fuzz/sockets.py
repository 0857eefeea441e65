"""The targets that need real sockets: the control socket and the notification socket of a PID 1.

The bytes are a little program: an operation, a length, and so many bytes that go with it. Each
target keeps one PID 1's end for all inputs; what an input leaves open, the next must not suffer
from.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import cast

from ainit.constants import MESSAGE_BYTES
from ainit.linux import process
from ainit.pid1.loop import Loop
from ainit.pid1.notify import Notifications
from ainit.pid1.supervisor import Supervisor
from ainit.policy import machine, plan
from ainit.policy import state as life
from ainit.policy.plan import Unit
from ainit.policy.state import Event, State
from ainit.wire import protocol
from tests.support import scratch
from tests.support.notebook import Notebook
from tests.unit.pid1.wires import Peer, Wires

CONTROL = "org.ainos.Control"
STATUS = f"{CONTROL}.Status"
ANSWER_BYTES = 300_000  # more than a socket takes at once
TURNS = 3
CALLS = (
    protocol.call(STATUS, {}),
    protocol.call(f"{CONTROL}.Stop", {"name": "a"}),
    protocol.call(f"{CONTROL}.Stop", {"name": 5}),
    protocol.call(f"{CONTROL}.NoSuch", {}),
    protocol.call("org.ainos.agent.Echo.Watch", {"text": "x"}, more=True),
    protocol.call("org.varlink.service.GetInfo", {}),
    protocol.call(
        "org.varlink.service.GetInterfaceDescription", {"interface": "org.ainos.Control"}
    ),
    protocol.encode({"method": STATUS, "oneway": True}),
)


def steps(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The operations of a program, each with its bytes."""
    place = 0
    while place + 2 <= len(data):
        length = data[place + 1]
        yield data[place], data[place + 2 : place + 2 + length]
        place += 2 + length


@cache
def _wires() -> Wires:
    return Wires(scratch.directory("fuzz-"), {"org.ainos.agent.Echo": "echo"})


def control(data: bytes) -> None:
    """One client does as it likes, with one connection or several; another is answered as ever."""
    wires = _wires()
    with wires.peer() as other:
        hostile: list[Peer] = [_connect(wires)]
        for operation, content in steps(data):
            _act(wires, hostile, operation, content)
            for client in wires.control._clients.values():
                assert len(client.outbox) <= ANSWER_BYTES + MESSAGE_BYTES
                assert len(client.inbox._buffer) <= MESSAGE_BYTES
        wires.size = 0
        for peer in hostile:
            peer.close()
        other.send(STATUS)
        assert other.receive() == {"parameters": {"text": ""}}
    for _ in range(100):
        if not wires.control._clients:
            break
        wires.loop.turn()
    assert not wires.control._clients
    wires.calls.clear()


def _connect(wires: Wires) -> Peer:
    return Peer(wires, str(wires.directory / "control"))


def _act(wires: Wires, hostile: list[Peer], operation: int, content: bytes) -> None:
    peer = hostile[-1]
    try:
        match operation % 8:
            case 0 | 1:
                peer.socket.send(content)
            case 2:
                peer.socket.send(b"".join(CALLS[byte % len(CALLS)] for byte in content))
            case 3:
                wires.turns(TURNS)
            case 4:
                wires.size = ANSWER_BYTES
            case 5:
                peer.socket.shutdown(socket.SHUT_WR)
            case 6 if len(hostile) < 8:
                hostile.append(_connect(wires))
            case 7:
                peer.read()
    except OSError:
        pass  # PID 1 hung up on it, or does not read on


class _Heard:
    """What notifications need of a supervisor: one unit, which this process belongs to."""

    def __init__(self) -> None:
        self.units = {"u": Unit("u", plan.SERVICE)}
        self.units["u"].type = plan.NOTIFY
        self.units["u"].fd_store_max = 3
        self.states = {"u": State("u")}
        self.begin()

    def begin(self) -> None:
        """Started, and not ready yet."""
        self.states["u"] = state = State("u")
        state.state, state.pid, state.deadline = life.STARTING, os.getpid(), 1e9

    def unit_of(self, pid: int) -> str | None:
        return "u" if pid == os.getpid() else None

    def post(self, name: str, event: Event) -> None:
        machine.step(self.units[name], self.states[name], event, 100.0)

    def run(self) -> None:
        pass


@cache
def _listening() -> SimpleNamespace:
    path = str(scratch.directory("fuzz-") / "notify")
    loop, heard = Loop(), _Heard()
    loop.hook(lambda now: now + 0.001)
    journal = Notebook()
    listening = Notifications(loop, journal, cast(Supervisor, heard), path)
    return SimpleNamespace(
        path=path, loop=loop, heard=heard, journal=journal, notifications=listening
    )


def notify(data: bytes) -> None:
    """Whatever is said, with whatever descriptors: no more are kept than may be, none is left."""
    bench = _listening()
    bench.heard.begin()
    bench.journal.records.clear()
    before = _descriptors()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(bench.path)
        channel.setblocking(False)
        for operation, content in steps(data):
            files = [os.memfd_create("x") for _ in range(operation >> 4 & 3)]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", files))] if files else []
            try:
                channel.sendmsg([content], rights)
            except BlockingIOError:
                pass  # the queue is full
            finally:
                for descriptor in files:
                    os.close(descriptor)
            if operation & 1:
                bench.loop.turn()
        for _ in range(3):
            bench.loop.turn()
    stored = bench.notifications.stored("u")
    assert len(stored) <= 3
    assert process.start_time(os.getpid())
    bench.notifications.forget("u")
    assert _descriptors() == before
    state = bench.heard.states["u"]
    assert len(state.text) <= 256
    assert state.state in (life.STARTING, life.READY)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
