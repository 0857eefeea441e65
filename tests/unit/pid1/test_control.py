"""The control socket over real sockets, with the loop turned by hand."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ainit.pid1 import relay
from ainit.policy import access
from ainit.wire import protocol
from tests.unit.pid1.wires import Wires

STATUS = "org.ainos.Control.Status"
ECHO = "org.ainos.agent.Echo"


@pytest.fixture
def wires(sockets: Path) -> Iterator[Wires]:
    made = Wires(sockets, {ECHO: "echo"})
    yield made
    made.close()


def test_a_call_is_answered(wires: Wires) -> None:
    with wires.peer() as peer:
        peer.send(STATUS)
        assert peer.receive() == {"parameters": {"text": ""}}


def test_a_oneway_call_is_carried_out_and_not_answered(wires: Wires) -> None:
    with wires.peer() as peer:
        peer.send("org.ainos.Control.Stop", oneway=True, name="a")
        peer.send("org.ainos.Control.Stop", oneway=True)
        peer.send(STATUS)
        assert peer.receive() == {"parameters": {"text": ""}}
        assert peer.messages == []
    assert wires.calls == ["Stop a", "Status"]


def test_calls_wait_while_one_is_relayed(wires: Wires) -> None:
    with wires.peer() as peer, wires.service("echo") as service:
        peer.send(f"{ECHO}.Echo", text="x")
        peer.send(STATUS)
        channel, call = service.accept()
        assert call == {"method": f"{ECHO}.Echo", "parameters": {"text": "x"}}
        wires.turns()
        assert wires.calls == []
        channel.sendall(protocol.reply({"text": "x"}))
        assert peer.receive() == {"parameters": {"text": "x"}}
        assert peer.receive() == {"parameters": {"text": ""}}


def test_a_stream_is_relayed_to_its_end(wires: Wires) -> None:
    with wires.peer() as peer, wires.service("echo") as service:
        peer.send(f"{ECHO}.Watch", more=True)
        channel, call = service.accept()
        assert call["more"] is True
        channel.sendall(protocol.reply({"n": 1}, continues=True) + protocol.reply({"n": 2}))
        assert peer.receive() == {"parameters": {"n": 1}, "continues": True}
        assert peer.receive() == {"parameters": {"n": 2}}
        wires.until(lambda: channel.recv(1) == b"", "the relay to hang up")


@pytest.mark.parametrize("answer", [b"", b"{\0", b"[]\0"])
def test_a_service_that_answers_wrongly_is_reported(wires: Wires, answer: bytes) -> None:
    with wires.peer() as peer, wires.service("echo") as service:
        peer.send(f"{ECHO}.Echo")
        channel, _ = service.accept()
        channel.sendall(answer)
        if not answer:
            channel.close()
        reply = peer.receive()
        assert reply["error"] == "org.ainos.Control.Unavailable"
        peer.send(STATUS)
        assert peer.receive() == {"parameters": {"text": ""}}


def test_a_service_that_is_not_there_is_reported(wires: Wires) -> None:
    with wires.peer() as peer:
        for _ in range(2):
            peer.send(f"{ECHO}.Echo")
        details = {"interface": ECHO, "reason": "echo cannot be reached: No such file or directory"}
        expected = {"error": "org.ainos.Control.Unavailable", "parameters": details}
        assert [peer.receive(), peer.receive()] == [expected, expected]


def test_a_unit_that_is_down_for_good_is_not_waited_for(wires: Wires) -> None:
    with wires.service("echo"), wires.peer() as peer:
        wires.down["echo"] = "echo is failed: exited with status 1"
        peer.send(f"{ECHO}.Echo")
        details = {"interface": ECHO, "reason": "echo is failed: exited with status 1"}
        expected = {"error": "org.ainos.Control.Unavailable", "parameters": details}
        assert peer.receive() == expected


def test_a_client_too_many_is_turned_away(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "connections", lambda uid: 1)
    with wires.peer() as first, wires.peer() as second:
        first.send(STATUS)
        assert "parameters" in first.receive()
        second.wait_closed()
        first.send(STATUS)
        assert "parameters" in first.receive()


def test_thousands_of_calls_that_fail_at_once_do_not_recurse(wires: Wires) -> None:
    with wires.peer() as peer:
        call = protocol.call(f"{ECHO}.E", {})
        count = 65536 // len(call)
        peer.socket.sendall(call * count)
        for _ in range(count):
            assert peer.receive()["error"] == "org.ainos.Control.Unavailable"


def test_a_silent_service_is_given_up(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "DEADLINE_SECONDS", 0.05)
    with wires.peer() as peer, wires.service("echo") as service:
        peer.send(f"{ECHO}.Echo")
        service.accept()
        parameters = peer.receive()["parameters"]
        assert isinstance(parameters, dict)
        assert parameters["reason"] == "the service did not answer in 0.05 s"


def test_a_client_that_leaves_takes_its_call_along(wires: Wires) -> None:
    with wires.service("echo") as service:
        with wires.peer() as peer:
            peer.send(f"{ECHO}.Watch", more=True)
            channel, _ = service.accept()
        wires.until(lambda: channel.recv(1) == b"", "the relay to hang up")


def test_a_client_is_dropped_for_one_bad_message_after_good_ones(wires: Wires) -> None:
    with wires.peer() as peer, wires.peer() as other:
        peer.send(STATUS)
        peer.socket.sendall(b'{"method":"x"}\0')
        peer.send(STATUS)
        assert peer.receive() == {"parameters": {"text": ""}}
        peer.wait_closed()
        other.send(STATUS)
        assert other.receive() == {"parameters": {"text": ""}}
    assert wires.calls == ["Status", "Status"]


def test_a_bad_message_behind_a_relayed_call_drops_the_client(wires: Wires) -> None:
    with wires.peer() as peer, wires.service("echo") as service:
        peer.send(f"{ECHO}.Echo")
        peer.socket.sendall(b'{"method":"x"}\0')
        channel, _ = service.accept()
        channel.sendall(protocol.reply({}))
        peer.wait_closed()
        assert peer.messages == [{"parameters": {}}]


def test_the_next_call_is_not_looked_at_before_the_answer_has_left(wires: Wires) -> None:
    wires.size = 3_000_000
    with wires.peer() as peer:
        for _ in range(3):
            peer.send(STATUS)
        wires.turns()
        assert wires.calls == ["Status"]
        for _ in range(3):
            assert peer.receive() == {"parameters": {"text": "x" * wires.size}}
    assert wires.calls == ["Status"] * 3


def test_a_reader_too_slow_for_a_stream_is_let_go(wires: Wires) -> None:
    with wires.peer() as peer, wires.service("echo") as service:
        peer.send(f"{ECHO}.Watch", more=True)
        channel, _ = service.accept()
        stream = bytearray(protocol.reply({"text": "x" * 1_000_000}, continues=True) * 20)

        def flood() -> bool:
            try:
                del stream[: channel.send(stream)]
            except BlockingIOError:
                return False
            except OSError:
                return True
            return False

        wires.until(flood, "the relay to hang up")
        peer.wait_closed()


def test_an_old_socket_in_the_way_is_replaced(sockets: Path) -> None:
    first = Wires(sockets, {})
    second = Wires(sockets, {})
    with second.peer() as peer:
        peer.send(STATUS)
        assert peer.receive() == {"parameters": {"text": ""}}
    assert first.calls == []
    first.close()
    second.close()


def test_numbers_and_nesting_at_the_edge_do_not_disturb(wires: Wires) -> None:
    with wires.peer() as peer, wires.service("echo") as service:
        deep: object = 1
        for _ in range(300):
            deep = [deep]
        peer.send(f"{ECHO}.Echo", deep=deep, large=10**4000, small=5e-324)
        channel, call = service.accept()
        assert call["parameters"] == {"deep": deep, "large": 10**4000, "small": 5e-324}
        channel.sendall(protocol.reply({"deep": deep}))
        assert peer.receive() == {"parameters": {"deep": deep}}


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """The limit lies above every open descriptor, and everything under it is taken."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_client_is_turned_away_when_no_descriptor_is_left(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees the connection end, and PID 1 does not turn round and round over it."""
    with wires.peer() as first:
        first.send(STATUS)
        assert "parameters" in first.receive()
        with wires.peer() as second, wires.peer() as third, no_descriptor_left():
            second.wait_closed()
            third.wait_closed()
            turned: list[int] = []
            monkeypatch.setattr(wires.control, "_turn_away", lambda: turned.append(1))
            wires.turns()
            assert turned == []
            first.send(STATUS)
            assert "parameters" in first.receive()
    with wires.peer() as fourth:
        fourth.send(STATUS)
        assert "parameters" in fourth.receive()


def test_a_client_that_is_gone_before_it_is_turned_away_disturbs_nobody(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    wires.control._turn_away()
    with wires.peer() as peer:
        peer.send(STATUS)
        assert "parameters" in peer.receive()


def test_whoever_takes_over_has_the_same_listener(sockets: Path) -> None:
    """A client that came while nobody was there is served."""
    first = Wires(sockets, {})
    path = sockets / "control"
    inode = path.stat().st_ino
    with first.peer() as waiting:
        waiting.send(STATUS)
        first.control._listener.detach()
        second = Wires(sockets, {}, first.journal.reopened())
        waiting._wires = second
        assert waiting.receive() == {"parameters": {"text": ""}}
    assert path.stat().st_ino == inode
    assert second.journal.records == first.journal.records
    os.close(first.control._reserve)
    second.close()
