"""The machine protocol: answers and events come in any order, and silence has an end."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lib import qmp
from lib.qmp import Qmp, QmpError

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}
RESET = {"event": "RESET", "data": {"guest": False}}
OK: dict[str, Any] = {"return": {}}
Serve = Callable[..., Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a QEMU that answers each command with the next list of messages, then hangs up."""
    threads: list[threading.Thread] = []
    path = tmp_path / "qmp.sock"

    def start(*answers: list[dict[str, Any]]) -> Path:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def run() -> None:
            with listener, listener.accept()[0] as peer, peer.makefile("rwb") as lines:
                lines.write(json.dumps(GREETING).encode() + b"\n")
                lines.flush()
                for messages in answers:
                    lines.readline()
                    lines.writelines(json.dumps(message).encode() + b"\n" for message in messages)
                    lines.flush()

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return path

    yield start
    for thread in threads:
        thread.join(10)


def test_events_before_an_answer_are_kept(serve: Serve) -> None:
    with Qmp(serve([OK], [RESET, {"return": {"status": "running"}}])) as monitor:
        assert monitor.execute("query-status") == {"status": "running"}
        assert monitor.events == [RESET]


def test_events_behind_the_last_answer_are_taken_in(serve: Serve) -> None:
    shutdown = {"event": "SHUTDOWN", "data": {"reason": "guest-shutdown"}}
    with Qmp(serve([OK], [OK, RESET, shutdown])) as monitor:
        monitor.execute("cont")
        monitor.drain(10)
        assert monitor.events == [RESET, shutdown]


def test_a_refused_command_says_why(serve: Serve) -> None:
    error = {"error": {"class": "GenericError", "desc": "no such device"}}
    with (
        Qmp(serve([OK], [error])) as monitor,
        pytest.raises(QmpError, match="device_del: no such device"),
    ):
        monitor.execute("device_del", id="x")


def test_a_qemu_that_ends_is_an_error(serve: Serve) -> None:
    with pytest.raises(QmpError, match="closed its monitor"):
        Qmp(serve([]))


def test_a_qemu_that_says_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "COMMAND_DEADLINE_S", 0.0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "qmp.sock"))
        listener.listen()
        with pytest.raises(QmpError, match="does not answer"):
            Qmp(tmp_path / "qmp.sock")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(QmpError, match="No such file"):
        Qmp(tmp_path / "qmp.sock")
