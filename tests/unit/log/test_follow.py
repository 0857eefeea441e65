"""The stream of replies: over broken connections, to its end, and not for ever without PID 1."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ainit.errors import UnavailableError
from ainit.log import follow
from ainit.log.follow import Follower
from ainit.wire import protocol
from ainit.wire.protocol import Inbox, Message

ERROR = protocol.error("org.ainos.Control.Refused", {"reason": "no"})


def reply(number: int) -> bytes:
    return protocol.reply({"cursors": {"u": number}}, continues=True)


class Pid1:
    """Accepts one connection for each of ``answers``, gives it the answer, and hangs up."""

    def __init__(self, path: Path, answers: list[bytes]) -> None:
        self.path = str(path)
        self.calls: list[Message] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            channel, _ = self._listener.accept()
            with channel:
                self.calls += Inbox().feed(channel.recv(65536))
                channel.sendall(answer)
        self._listener.close()

    def close(self) -> None:
        self._thread.join(60)


@pytest.fixture
def serve(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pid1]]:
    monkeypatch.setattr(follow, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.0)
    made: list[Pid1] = []

    def start(*answers: bytes) -> Pid1:
        made.append(Pid1(sockets / "control", list(answers)))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 60.0)


def test_a_new_connection_goes_on_from_the_cursors(
    serve: Callable[..., Pid1], patient: None
) -> None:
    pid1 = serve(reply(1) + reply(2), b"", reply(3))
    cursors: dict[str, int] = {}
    found = []
    for message in Follower(pid1.path, cursors).replies(lambda: None):
        assert message is not None
        assert isinstance(message["cursors"], dict)
        cursors |= message["cursors"]
        found.append(cursors["u"])
        if found[-1] == 3:
            break
    assert found == [1, 2, 3]
    asked = [call["parameters"] for call in pid1.calls]
    always = {"follow": True, "persistent": True}
    assert asked == [{**always, "cursors": at} for at in ({}, {"u": 2}, {"u": 2})]


@pytest.mark.parametrize("answer", [b"", ERROR, b"no JSON\0", b'{"parameters":1}\0'])
def test_without_a_pid_1_that_answers_it_ends(serve: Callable[..., Pid1], answer: bytes) -> None:
    pid1 = serve(answer)
    with pytest.raises(UnavailableError, match="control"):
        list(Follower(pid1.path, {}).replies(lambda: None))


def test_without_a_socket_it_ends(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(UnavailableError, match="No such file"):
        list(Follower(str(sockets / "control"), {}).replies(lambda: None))


def test_a_wait_that_is_over_is_told(serve: Callable[..., Pid1], sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sockets / "quiet"))
        listener.listen()
        assert next(Follower(str(sockets / "quiet"), {}).replies(lambda: 0.0)) is None


def test_it_ends_when_told_to_after_what_is_there(sockets: Path, patient: None) -> None:
    reader, writer = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sockets / "control"))
        listener.listen()
        replies = Follower(str(sockets / "control"), {}, reader).replies(lambda: None)
        accepted: list[socket.socket] = []

        def answer() -> None:
            accepted.append(listener.accept()[0])
            accepted[0].sendall(reply(7))
            os.write(writer, b".")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert list(replies) == [{"cursors": {"u": 7}}]
        thread.join(60)
        accepted[0].close()
    os.close(reader)
    os.close(writer)
