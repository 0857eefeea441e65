"""The proxy on a pseudo-terminal, which hangs up and comes back as a virtio-serial port does."""

from __future__ import annotations

import errno
import os
import select
import socket
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from ainit.bridge import proxy as module
from ainit.bridge import shell
from ainit.bridge.proxy import Peer, Proxy
from tests.support.wait import wait_for


@pytest.fixture(autouse=True)
def port_without_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal answers EIO where a port answers nothing; see port_fops_read in the kernel."""
    read = module._read

    def port_read(descriptor: int) -> bytes:
        try:
            return read(descriptor)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""

    monkeypatch.setattr(module, "_read", port_read)


class Rig:
    """A port, hosts that connect to it, and the peers that the proxy asked for."""

    def __init__(self) -> None:
        self.port, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        self._name = os.ttyname(self._slave)
        os.close(self._slave)
        os.set_blocking(self.port, False)
        self.peers: list[socket.socket] = []
        self._sockets: list[socket.socket] = []
        self.proxy = Proxy(self.port, self.connect)

    def connect(self) -> Peer:
        near, far = socket.socketpair()
        far.setblocking(False)
        self.peers.append(far)
        self._sockets += [near, far]
        return Peer(near.fileno(), near.close)

    def host(self) -> int:
        descriptor = os.open(self._name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(descriptor, termios.TCSANOW)
        return descriptor

    def settle(self) -> int:
        """Turn until there is nothing to do; how often there was."""
        turns = 0
        while self.proxy.turn(0):
            turns += 1
            assert turns < 1000, "a busy loop"
        return turns

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Turn until ``condition`` holds: a terminal passes bytes on when it likes."""

        def turned() -> object:
            self.settle()
            return condition()

        wait_for(turned, what)

    def arrives(self, number: int, data: bytes) -> None:
        """Turn until the peer ``number`` has got exactly ``data``."""
        got = bytearray()

        def complete() -> bool:
            if number < len(self.peers):
                got.extend(receive(self.peers[number]))
            return len(got) >= len(data)

        self.until(complete, f"{data!r} at peer {number}")
        assert got == data

    def close(self) -> None:
        self.proxy.close()
        os.close(self.port)
        for channel in self._sockets:
            channel.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def read(descriptor: int) -> bytes:
    with suppress(BlockingIOError):
        return os.read(descriptor, 1 << 16)
    return b""


def receive(peer: socket.socket) -> bytes:
    with suppress(BlockingIOError):
        return peer.recv(1 << 16)
    return b""


def test_without_a_host_there_is_nothing_to_do(rig: Rig) -> None:
    rig.until(lambda: rig.settle() == 0, "rest")
    assert not rig.proxy.is_connected
    assert rig.peers == []


def test_bytes_go_both_ways(rig: Rig) -> None:
    rig.settle()
    host = rig.host()
    os.write(host, b"call\0")
    rig.arrives(0, b"call\0")
    rig.peers[0].send(b"reply\0")
    answer = bytearray()

    def answered() -> bool:
        answer.extend(read(host))
        return answer == b"reply\0"

    rig.until(answered, "the reply")
    rig.until(lambda: rig.settle() == 0, "rest")
    os.close(host)


def test_the_next_host_starts_clean(rig: Rig) -> None:
    first = rig.host()
    os.write(first, b'{"method": half a mess')
    rig.arrives(0, b'{"method": half a mess')
    os.close(first)
    rig.until(lambda: not rig.proxy.is_connected, "the end of the first session")
    assert rig.peers[0].recv(10) == b""
    rig.until(lambda: rig.settle() == 0, "rest")
    second = rig.host()
    os.write(second, b"call\0")
    rig.arrives(1, b"call\0")
    assert read(second) == b""
    os.close(second)


def test_a_host_that_follows_at_once_gets_its_answer(rig: Rig) -> None:
    """However the news of the change and the new host's call overtake each other."""
    for number in range(20):
        host = rig.host()
        os.write(host, b"call %d\0" % number)
        answer = bytearray()

        def answered(host: int = host, answer: bytearray = answer) -> bool:
            for peer in rig.peers:
                if data := receive(peer):
                    peer.send(data)
            answer.extend(read(host))
            return answer.endswith(b"\0")

        rig.until(answered, f"answer {number}")
        assert answer == b"call %d\0" % number
        os.close(host)


def test_what_a_look_at_the_port_takes_in_is_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel then announces it to nobody: the look came before the interrupt."""
    host = rig.host()
    look = module._look
    late = [b"late"]

    def taking(port: int) -> int:
        if late:
            os.write(host, late.pop())
            wait_for(lambda: look(port) & select.POLLIN, "data on the port")
            assert port in [descriptor for descriptor, _ in rig.proxy._poll.poll(0)]
        return look(port)

    monkeypatch.setattr(module, "_look", taking)
    os.write(host, b"early ")
    rig.arrives(0, b"early late")
    os.close(host)


def test_an_answer_that_comes_too_late_reaches_nobody(rig: Rig) -> None:
    first = rig.host()
    os.write(first, b"call\0")
    rig.arrives(0, b"call\0")
    os.close(first)
    rig.until(lambda: not rig.proxy.is_connected, "the end of the session")
    with pytest.raises(BrokenPipeError):
        rig.peers[0].send(b"late\0")


def test_what_a_host_sent_before_it_went_still_arrives(rig: Rig) -> None:
    host = rig.host()
    os.write(host, b"reboot\0")
    os.close(host)
    received = bytearray()

    def complete() -> bool:
        for peer in rig.peers:
            received.extend(receive(peer))
        return received == b"reboot\0"

    rig.until(complete, "the last call")


def test_a_peer_that_closes_is_replaced_at_the_next_call(rig: Rig) -> None:
    host = rig.host()
    os.write(host, b"wrong\0")
    rig.arrives(0, b"wrong\0")
    rig.peers[0].close()
    rig.until(lambda: not rig.proxy.is_connected, "the end of the session")
    os.write(host, b"call\0")
    rig.arrives(1, b"call\0")
    os.close(host)


def test_a_host_that_does_not_read_holds_the_peer_back_and_loses_nothing(rig: Rig) -> None:
    host = rig.host()
    os.write(host, b"call\0")
    rig.arrives(0, b"call\0")
    sent = bytes(range(256)) * 4096
    rest = memoryview(sent)
    for _ in range(100):
        with suppress(BlockingIOError):
            rest = rest[rig.peers[0].send(rest) :]
        rig.settle()
    assert rest, "the peer was never held back"
    received = bytearray()

    def more() -> bool:
        nonlocal rest
        received.extend(read(host))
        with suppress(BlockingIOError):
            rest = rest[rig.peers[0].send(rest) :]
        # A terminal tells nobody that there is room again, a port does.
        rig.proxy._flush()
        rig.settle()
        return len(received) == len(sent)

    wait_for(more, "everything")
    assert received == sent
    os.close(host)


def test_a_peer_that_takes_nothing_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WRITE_SECONDS", 0)
    host = rig.host()

    def given_up() -> bool:
        with suppress(BlockingIOError):
            os.write(host, bytes(4096))
        return len(rig.peers) > 1

    rig.until(given_up, "a second session")
    os.close(host)


def children() -> str:
    """The children of this thread, dead ones that nobody reaped included (proc(5))."""
    with open("/proc/thread-self/children", encoding="ascii") as file:
        return file.read()


def test_a_shell_comes_with_its_host_and_goes_with_it() -> None:
    before = children()
    peer = shell.start(("/bin/sh", "-i"))
    os.set_blocking(peer.descriptor, False)
    os.write(peer.descriptor, b"echo $((6 * 7)); tty\n")
    seen = bytearray()

    def answer() -> bool:
        seen.extend(read(peer.descriptor))
        return b"42\r\n/dev/pts/" in seen

    wait_for(answer, "the answer of the shell")
    peer.close()
    assert children() == before


def test_a_shell_that_cannot_start_is_the_end_of_its_session(rig: Rig) -> None:
    proxy = Proxy(rig.port, lambda: shell.start(("/nonexistent",)))
    host = rig.host()
    os.write(host, b"x")

    def ended() -> bool:
        met = proxy.turn(0)
        return met and not proxy.is_connected

    wait_for(ended, "the end of the session")
    proxy.close()
    os.close(host)
