"""Bytes are carried both ways, ends are told one by one, and nobody turns idly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ainit.egress import carry as module
from ainit.egress.carry import Carried, carry
from tests.support import descriptors
from tests.support.wait import DEADLINE_SECONDS, wait_for


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


@dataclass
class Bench:
    """An agent, a host, and what carries between them in a thread."""

    agent: socket.socket
    host: socket.socket
    ends: tuple[socket.socket, socket.socket]
    carried: Carried = field(default_factory=Carried)
    is_over: bool = False
    problem: Exception | None = None
    thread: threading.Thread | None = None

    def start(self, half_closed_s: float = 60.0) -> None:
        def run() -> None:
            try:
                carry(
                    *self.ends,
                    self.carried,
                    is_over=lambda: self.is_over,
                    half_closed_s=half_closed_s,
                )
            except OSError as error:
                self.problem = error

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def join(self) -> None:
        assert self.thread is not None
        self.thread.join(DEADLINE_SECONDS)
        assert not self.thread.is_alive()


@pytest.fixture
def bench() -> Iterator[Bench]:
    before = descriptors.at_first()
    agent, inner = connected()
    outer, host = connected()
    for each in (agent, host):
        each.settimeout(DEADLINE_SECONDS)
    made = Bench(agent, host, (inner, outer))
    yield made
    for channel in (agent, host, inner, outer):
        channel.close()
    made.join()
    assert descriptors.now() == before


def test_an_end_is_told_and_the_other_way_goes_on(bench: Bench) -> None:
    bench.start()
    bench.agent.sendall(b"question")
    bench.agent.shutdown(socket.SHUT_WR)
    assert bench.host.recv(99) == b"question"
    assert bench.host.recv(99) == b""
    bench.host.sendall(b"answer")
    assert bench.agent.recv(99) == b"answer"
    bench.host.close()
    assert bench.agent.recv(99) == b""
    bench.join()
    assert (bench.carried, bench.problem) == (Carried(8, 6), None)


def test_more_than_both_ends_hold_waits_and_arrives(bench: Bench) -> None:
    size = 24 << 20
    sender = threading.Thread(target=bench.agent.sendall, args=[bytes(size)])
    bench.start()
    sender.start()
    bench.host.sendall(b"meanwhile")  # the other way is not held up
    assert bench.agent.recv(9) == b"meanwhile"
    got = 0
    while got < size:
        got += len(bench.host.recv(1 << 20))
    sender.join(DEADLINE_SECONDS)
    bench.agent.close()
    bench.host.close()
    bench.join()
    assert bench.carried == Carried(size, 9)


def test_nobody_turns_while_nothing_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[object] = []
    wait = module._wait

    def counted(*arguments: object) -> None:
        turns.append(arguments)
        wait(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_wait", counted)
    bench.start()
    bench.agent.shutdown(socket.SHUT_WR)
    assert bench.host.recv(1) == b""
    for number in range(1, 20):  # each byte is a turn or two, and there are no others
        bench.host.sendall(b".")
        assert bench.agent.recv(1) == b"."
        assert len(turns) <= 3 + 2 * number
    bench.host.close()
    bench.join()


def test_a_reset_is_an_error_and_an_end(bench: Bench) -> None:
    bench.start()
    bench.host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    bench.host.close()
    bench.join()
    assert isinstance(bench.problem, ConnectionResetError)


def test_who_says_nothing_to_somebody_who_ended_is_not_waited_for(bench: Bench) -> None:
    bench.start(half_closed_s=0.01)
    bench.agent.shutdown(socket.SHUT_WR)
    bench.join()
    assert isinstance(bench.problem, TimeoutError)


def test_it_ends_when_it_is_told_to(bench: Bench) -> None:
    bench.start()
    bench.agent.sendall(b"x")
    assert bench.host.recv(1) == b"x"
    bench.is_over = True
    for channel in bench.ends:
        channel.shutdown(socket.SHUT_RDWR)
    bench.join()
    assert bench.problem is None
    wait_for(lambda: bench.agent.recv(1) == b"", "the end")
