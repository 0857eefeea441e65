"""What the GPU service hears from the rest of the machine, and tells it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux import files
from ainit.sched import outside
from ainit.wire import interface_text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"gpu": {"expected": 8}}', 8),
        ('{"gpu": {}}', None),
        ('{"hostname": "ainos"}', None),
        ("[]", None),
        ("scribble", None),
        (None, None),
    ],
)
def test_how_many_gpus_there_should_be(tmp_path: Path, text: str | None, number: int) -> None:
    path = tmp_path / "machine.json"
    if text is not None:
        path.write_text(text)
    assert outside.expected(str(path)) == number


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def test_findings_are_told_in_one_line_and_taken_back(heard: socket.socket) -> None:
    outside.say(["GPU 1: lost", "1 of 2 GPUs are there"])
    assert heard.recv(4096) == b"X_AINOS_FINDINGS=GPU 1: lost; 1 of 2 GPUs are there"
    outside.say([])
    assert heard.recv(4096) == b"X_AINOS_FINDINGS="


def test_a_pid_1_that_is_away_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    outside.say(["GPU 1: lost"])
    assert "PID 1 is not told" in capsys.readouterr().out


def test_the_call_to_pid_1_is_one_that_it_has() -> None:
    assert "method Revoke(name: string, uuid: string, reason: string)" in interface_text(
        "org.ainos.Control"
    )


def test_the_bus_is_read_when_it_is_there_and_whenever_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, ...]] = []
    path = tmp_path / "bus" / "gpus.json"
    bus = outside.Bus(told.append, str(path))
    bus.look()
    assert told == []
    files.replace(str(path), b'{"gpus": ["0000:41:00.0"], "switches": []}')
    assert os.get_blocking(bus.fileno()) is False
    bus.look()
    files.replace(str(path), b"scribble")
    bus.look()
    assert told == [("0000:41:00.0",)]
    assert "cannot be read" in capsys.readouterr().out
    bus.close()
