"""The service as a process, with the sockets that PID 1 hands over."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ainit.child import accounts
from ainit.metrics import __main__ as command
from tests.support.accounts import account, in_pages
from tests.support.control import Answer, ControlServer
from tests.support.exposition import labels, parse
from tests.support.replies import STATUS

ROOT = Path(__file__).resolve().parents[3]
# The descriptors become 3 and 4, and LISTEN_PID the process that becomes the service.
HAND_OVER = """\
import fcntl, os, sys
lifted = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for target, number in enumerate(lifted, start=3):
    os.dup2(number, target)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "ainit.metrics", "control"])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ainos-") as name:
        yield Path(name)


def test_the_page_is_served_on_every_socket_once_it_is_ready(folder: Path) -> None:
    answers: dict[str, Answer] = {
        "org.ainos.Control.Status": STATUS,
        accounts.METHOD: in_pages([account("gpu", pids=5)]),
    }
    with ExitStack() as stack:
        stack.enter_context(ControlServer(folder / "control", answers))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(folder / "metrics.sock"))
        unix.listen()
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ready = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        ready.bind(str(folder / "notify"))
        ready.settimeout(60)
        numbers = (unix.fileno(), tcp.fileno())
        service = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, *map(str, numbers)],
                cwd=folder,
                env={"NOTIFY_SOCKET": str(folder / "notify"), "PYTHONPATH": str(ROOT)},
                pass_fds=numbers,
            )
        )
        stack.callback(service.kill)
        assert ready.recv(100) == b"READY=1"
        connection = http.client.HTTPConnection("127.0.0.1", tcp.getsockname()[1], timeout=60)
        stack.callback(connection.close)
        connection.request("GET", "/metrics")
        page = parse(connection.getresponse().read().decode())
        assert page["ainos_unit_pids"].samples == {labels(unit="gpu"): 5.0}
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(60)
            channel.connect(str(folder / "metrics.sock"))
            channel.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert channel.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_sockets_for_another_process_are_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getppid()))
    (listener,) = command.listeners(str(folder / "own"))
    with listener:
        assert listener.getsockname() == str(folder / "own")


def test_no_place_for_a_socket_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    monkeypatch.setattr(command, "SOCKET", str(folder / "none/metrics.sock"))
    assert command.main([]) == 1
    assert capsys.readouterr().err.startswith("metrics: [Errno 2] ")
