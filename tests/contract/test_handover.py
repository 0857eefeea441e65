"""Descriptors that a child makes reach a service before the child is another program."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ainit.child import handed
from ainit.constants import HANDED_DESCRIPTORS
from ainit.errors import AinosError
from ainit.linux import namespaces, native, process
from ainit.sandbox.compose import Sandbox
from ainit.sandbox.handover import connect, hand_over
from ainit.sandbox.operation import Operation
from tests.support import descriptors

USER = 61184
CHANNEL, FIRST = 3, 4  # no descriptor is inherited: the channel's number, and the first free one
SHOWS = ["/usr/bin/python3", "-I", "-S", "-c", "import os; print(*os.listdir('/proc/self/fd'))"]
WAITS = ["/usr/bin/python3", "-I", "-S", "-c", "input()"]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.bind(str(tmp_path / "service"))
        made.listen()
        yield made


def listening(count: int) -> Operation:
    """TCP sockets in a network of the child's own, one a port from 1000 on."""
    calls: list[tuple[object, ...]] = [(native.UNSHARE, namespaces.NEW_NET)]
    for number in range(count):
        address = (socket.AF_INET).to_bytes(2, "little") + (1000 + number).to_bytes(2) + bytes(12)
        calls += (
            (native.SOCKET, socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, 0),
            (native.BIND, FIRST + number, address, 16),
            (native.LISTEN, FIRST + number, 8),
        )
    return Operation("net", "sockets", tuple(calls))  # type: ignore[arg-type]


def start(
    channel: int, first: Sequence[Operation], last: Sequence[Operation] = (), *, flags: int = 0
) -> tuple[int, int]:
    """Its pid, and where its output is read."""
    reader, writer = os.pipe()
    sandbox = Sandbox(flags, first, last, [channel])
    try:
        return process.spawn(
            process.Child(SHOWS, {}, output=writer, user=USER, sandbox=sandbox)
        ), reader
    finally:
        os.close(writer)
        os.close(channel)


def end(started: tuple[int, int]) -> tuple[int, str]:
    """The exit status, and what was said."""
    pid, reader = started
    with open(reader, "rb") as output:
        said = output.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def accepted(listener: socket.socket) -> socket.socket:
    listener.settimeout(20)
    connection = listener.accept()[0]
    connection.settimeout(20)
    return connection


@pytest.mark.parametrize("count", [1, 3, HANDED_DESCRIPTORS])
def test_they_arrive_with_their_record_and_whose_they_are(
    listener: socket.socket, count: int
) -> None:
    before = descriptors.at_first()
    made = range(FIRST, FIRST + count)
    steps = [listening(count), hand_over("net", "handed over", CHANNEL, made, b'{"agent": "a"}')]
    started = start(connect(listener.getsockname()), steps, flags=namespaces.NEW_PID)
    with accepted(listener) as connection:
        assert handed.is_of_superuser(connection)
        message = handed.receive(connection)
        assert message is not None
        assert message.record == b'{"agent": "a"}'
        sockets = [socket.socket(fileno=number) for number in message.descriptors]
        assert [each.getsockname()[1] for each in sockets] == [*range(1000, 1000 + count)]
        with open(f"/proc/self/fdinfo/{message.process}", encoding="ascii") as file:
            assert f"Pid:\t{started[0]}\n" in file.read()
        # The child is the one that says so, and has nothing of this left.
        assert end(started) == (0, "0 1 2 3\n")  # 3 is the directory that it reads
        assert select.select([message.process], [], [], 20)[0]
        assert handed.receive(connection) is None
        for each in sockets:
            each.close()
        os.close(message.process)
    assert descriptors.now() == before


def test_a_step_that_is_done_as_the_user_hands_over_too(listener: socket.socket) -> None:
    """As a filter of system calls does, whose descriptor is there when nothing else is."""
    step = hand_over("seccomp", "handed over", CHANNEL, [1], b"output")
    started = start(connect(listener.getsockname()), [], [step])
    with accepted(listener) as connection:
        message = handed.receive(connection)
        assert message is not None
        os.write(message.descriptors[0], b"heard\n")
        message.close()
        assert end(started) == (0, "heard\n0 1 2 3\n")


def test_a_record_goes_without_descriptors(listener: socket.socket) -> None:
    started = start(
        connect(listener.getsockname()), [hand_over("net", "handed over", CHANNEL, [], b"alone")]
    )
    with accepted(listener) as connection:
        message = handed.receive(connection)
        assert message is not None
        assert (message.record, message.descriptors) == (b"alone", [])
        message.close()
    assert end(started)[0] == 0


def test_what_cannot_be_handed_over_ends_the_start(listener: socket.socket) -> None:
    path = listener.getsockname()
    none = hand_over("net", "its sockets are handed over", CHANNEL, [99], b"x")
    status, said = end(start(connect(path), [none]))
    assert (status, said) == (
        203,
        "cannot start /usr/bin/python3: its sockets are handed over: Bad file descriptor\n",
    )
    accepted(listener).close()
    channel = connect(path)
    accepted(listener).close()  # nobody will read it
    status, said = end(start(channel, [hand_over("net", "handed over", CHANNEL, [], b"x")]))
    assert (status, said) == (
        203,
        "cannot start /usr/bin/python3: handed over: Broken pipe\n",
    )


def test_a_message_that_holds_too_much_leaves_nothing_open(listener: socket.socket) -> None:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with sender:
        sender.connect(listener.getsockname())
        with accepted(listener) as connection, open("/dev/null", "rb") as file:
            before = descriptors.at_first()
            socket.send_fds(sender, [b"whose is this"], [file.fileno()])  # it carries no pidfd
            with pytest.raises(AinosError, match="gone"):
                handed.receive(connection)
            socket.send_fds(sender, [b"x" * (64 << 10)], [file.fileno()])
            with pytest.raises(AinosError, match="more than one message"):
                handed.receive(connection)
            assert descriptors.now() == before


def test_a_child_that_is_gone_hands_nothing_over(listener: socket.socket) -> None:
    steps = [hand_over("net", "handed over", CHANNEL, [0], b"late")]
    assert end(start(connect(listener.getsockname()), steps))[0] == 0
    before = descriptors.at_first()
    with accepted(listener) as connection:
        try:
            message = handed.receive(connection)
        except AinosError:
            message = None  # as kernels before 6.16 say it
        if message is not None:
            assert select.select([message.process], [], [], 0)[0]  # it says so at once
            message.close()
    assert descriptors.now() == before
