"""Scrapes over real sockets: requests, refusals, slow clients, too many clients."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ainit.errors import DeadlineError
from ainit.metrics import __main__ as command
from ainit.metrics.server import Server
from tests.support.wait import wait_for

Serve = Callable[..., Server]
PAGE = b"# HELP a Help.\n# TYPE a gauge\na 1\n"


class Connection(http.client.HTTPConnection):
    """A client of a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = connect(self._path)


def connect(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(60)
    channel.connect(path)
    return channel


@pytest.fixture
def path() -> Iterator[str]:
    with TemporaryDirectory(prefix="ainos-") as folder:
        yield str(Path(folder, "metrics.sock"))


@pytest.fixture
def serve(path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    with ExitStack() as stack:

        def serve_(page: Callable[[], bytes] = lambda: PAGE, **bounds: float) -> Server:
            (listener,) = command.listeners(path)
            stack.callback(listener.close)
            server = Server(listener, page, **bounds)  # type: ignore[arg-type]
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield serve_


def ask(path: str, target: str = "/metrics", method: str = "GET") -> tuple[int, bytes, str]:
    connection = Connection(path)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers["Content-Type"]
    finally:
        connection.close()


def test_a_scrape(serve: Serve, path: str) -> None:
    serve()
    assert ask(path) == (200, PAGE, "text/plain; version=0.0.4; charset=utf-8")
    assert ask(path, "/metrics?format=any")[:2] == (200, PAGE)
    assert ask(path, method="HEAD")[:2] == (200, b"")


def test_other_requests_are_refused(serve: Serve, path: str) -> None:
    serve()
    assert ask(path, "/")[0] == 404
    assert ask(path, method="POST")[0] == 501


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET " + b"x" * 70000, b"\xff\xfe\r\n\r\n"]
)
def test_nonsense_ends_its_connection_only(serve: Serve, path: str, request_: bytes) -> None:
    server = serve()
    with connect(path) as channel:
        channel.sendall(request_)
        channel.shutdown(socket.SHUT_WR)
        assert channel.recv(4096).startswith((b"HTTP/1.1 4", b"<!DOCTYPE", b""))
    wait_for(lambda: not server._open, "the connection to be closed")
    assert ask(path)[0] == 200


def test_pid_1_that_does_not_answer_is_told(serve: Serve, path: str) -> None:
    def page() -> bytes:
        raise DeadlineError("no answer in 5 s")

    serve(page)
    assert ask(path)[:2] == (503, b"no answer in 5 s\n")


def test_a_fault_ends_one_scrape_and_is_told_in_one_line(
    serve: Serve, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pages = iter((ValueError("odd"), None))

    def page() -> bytes:
        if (error := next(pages)) is not None:
            raise error
        return PAGE

    serve(page)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(path)
    assert ask(path)[0] == 200
    assert capfd.readouterr().err == "fault in a request: ValueError('odd')\n"


def test_more_clients_than_there_may_be_are_told_to_come_back(serve: Serve, path: str) -> None:
    server = serve(connections=2)
    with connect(path), connect(path):
        wait_for(lambda: len(server._open) == 2, "two connections")
        assert ask_raw(path).startswith(b"HTTP/1.1 503 ")
    wait_for(lambda: not server._open, "the connections to be closed")
    assert ask(path)[0] == 200


def ask_raw(path: str) -> bytes:
    with connect(path) as channel:
        return channel.recv(4096)


def test_who_takes_too_long_is_cut_off(
    serve: Serve, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not keep a connection."""
    monkeypatch.setattr("ainit.metrics.server._Handler.timeout", 600.0)
    server = serve(lasting_s=0.05)
    with connect(path) as channel:
        channel.sendall(b"GET /metr")
        assert channel.recv(4096) == b""
    wait_for(lambda: not server._open, "the connection to be closed")


def test_who_leaves_before_the_answer_is_no_fault(
    serve: Serve, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = threading.Event()

    def page() -> bytes:
        gone.wait(60)
        return b"x" * (4 << 20)

    server = serve(page)
    with connect(path) as channel:
        channel.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        wait_for(lambda: server._open, "the connection")
    gone.set()
    wait_for(lambda: not server._open, "the connection to be closed")
    assert capfd.readouterr().err == ""


def test_a_thread_that_cannot_start_costs_no_place(
    serve: Serve, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(connections=1)
    start = threading.Thread.start
    failures = iter((True, False))

    def fail_once(thread: threading.Thread) -> None:
        if next(failures):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)
    assert ask_raw(path) == b""
    assert ask(path)[0] == 200
    wait_for(lambda: not server._open, "the connection to be closed")


def test_a_socket_of_its_own_takes_the_place_of_an_old_one(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    for _ in range(2):
        (listener,) = command.listeners(path)
        with listener, connect(path):
            pass
    assert Path(path).stat().st_mode & 0o777 == 0o666
