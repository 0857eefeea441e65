"""The line to a machine: one question, an answer whenever it comes, and no second one behind it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lib import control_line
from lib.control_line import ControlLine

from ainit.child.client import VarlinkError
from ainit.errors import DeadlineError, UnavailableError


class Guest:
    """The other end: keeps what was asked, answers when told to."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._peer: socket.socket | None = None

    def hear(self) -> None:
        """Take the next question in."""
        if self._peer is None:
            self._peer = self._listener.accept()[0]
        data = b""
        while not data.endswith(b"\0"):
            data += self._peer.recv(1)
        self.asked.append(json.loads(data[:-1])["method"])

    def answer(self, message: dict[str, object]) -> None:
        assert self._peer is not None
        self._peer.sendall(json.dumps(message).encode() + b"\0")

    def hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def close(self) -> None:
        self.hang_up()
        self._listener.close()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(tmp_path / "control.sock")
    yield guest
    guest.close()


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlLine]:
    monkeypatch.setattr(control_line, "LOOK_S", 0.01)
    monkeypatch.setattr(control_line, "GONE_S", 0.01)
    line = ControlLine(tmp_path / "control.sock")
    yield line
    line.close()


def after(count: int, act: Callable[[], None]) -> Callable[[], bool]:
    """An ``is_alive`` that does something when it is asked for the ``count``-th time."""
    looks = iter(range(1, 1 << 30))

    def is_alive() -> bool:
        if next(looks) == count:
            act()
        return True

    return is_alive


def test_an_answer_that_takes_long_is_waited_for_and_asked_for_once(
    guest: Guest, line: ControlLine
) -> None:
    def wake_up() -> None:
        guest.hear()
        guest.answer({"parameters": {"vendor": "AINOS"}})

    assert line.wait(600, after(4, wake_up))
    assert guest.asked == ["org.varlink.service.GetInfo"]


def test_a_guest_that_hangs_up_is_asked_again(guest: Guest, line: ControlLine) -> None:
    def restart() -> None:
        guest.hear()
        guest.hang_up()
        threading.Thread(target=come_back, daemon=True).start()

    def come_back() -> None:
        guest.hear()
        guest.answer({"parameters": {}})

    assert line.wait(600, after(2, restart))
    assert guest.asked == ["org.varlink.service.GetInfo"] * 2


def test_a_machine_that_is_not_alive_is_not_waited_for(guest: Guest, line: ControlLine) -> None:
    alive = iter([True, True, False])
    assert not line.wait(600, lambda: next(alive))


def test_the_deadline_holds(guest: Guest, line: ControlLine) -> None:
    assert not line.wait(0.05, lambda: True)


def test_after_a_lost_answer_the_line_is_a_new_one(guest: Guest, line: ControlLine) -> None:
    """The answer to the first question must not become the answer to the second."""
    with pytest.raises(DeadlineError), line.client(0.01) as client:
        client.call("org.ainos.Control.Status")
    guest.hear()
    guest.hang_up()
    with line.client(60) as client:
        client.request("org.ainos.Control.Measurements")
        guest.hear()
        guest.answer({"parameters": {"records": []}})
        assert client.reply() == {"records": []}


def test_the_guest_has_time_to_see_that_a_client_is_gone(guest: Guest, tmp_path: Path) -> None:
    """Or the next client would get what the last one left behind, such as a stream without end."""
    pauses: list[float] = []
    line = ControlLine(tmp_path / "control.sock", sleep=pauses.append)
    with line.client(60):
        assert pauses == [0.0]
    line.close()
    with line.client(60):
        assert 0.0 < pauses[1] <= control_line.GONE_S
    with line.client(60):
        assert len(pauses) == 2
    line.close()


def test_an_error_reply_leaves_the_line_as_it_is(guest: Guest, line: ControlLine) -> None:
    def fail() -> None:
        with line.client(60) as client:
            client.request("org.ainos.Control.Start")
            guest.hear()
            guest.answer({"error": "org.ainos.Control.NoSuchUnit", "parameters": {}})
            client.reply()

    with line.client(60) as before, pytest.raises(VarlinkError):
        fail()
    with line.client(60) as again:
        assert again is before


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError), ControlLine(tmp_path / "none").client(1):
        pass
