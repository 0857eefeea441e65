"""Files from a server: in ranges, on one connection, and not from one that does otherwise."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ainit.child.source import UNLIMITED, Limits, Pace, open_source, small
from ainit.child.web import Web
from ainit.errors import ConfigError, DeadlineError, RefusedError, UnavailableError
from tests.support.keylime import authority
from tests.unit.child.test_source import Clock

CONTENT = bytes(range(256)) * 64


class Handler(BaseHTTPRequestHandler):
    """Serves one file, as ``/base/file``; what else a path asks for is in ``odd``."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_HEAD(self) -> None:
        """The length."""
        self.do_GET()

    def do_GET(self) -> None:
        """The file, or a range of it."""
        self.server.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}")
        self.server.peers.add(self.client_address)
        odd = self.server.odd.get(self.path.rpartition("/")[2])
        if odd is not None:
            odd(self)
            return
        start, end = self.range()
        if start >= len(CONTENT):
            self.answer(416, b"")
            return
        data = CONTENT[start:end]
        extra = {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{len(CONTENT)}"}
        self.answer(206 if "Range" in self.headers else 200, data, **extra)

    def do_CONNECT(self) -> None:
        """A tunnel to where it is asked for; headers without end for what has a name."""
        self.send_response(200)
        self.close_connection = True
        host, _, port = self.path.rpartition(":")
        if host == "127.0.0.1":
            self.end_headers()
            with socket.create_connection((host, int(port))) as other, suppress(OSError):
                relay = threading.Thread(target=relayed, args=(other, self.connection))
                relay.start()
                relayed(self.connection, other)
                relay.join()
            return
        self.flush_headers()
        with suppress(ConnectionError):
            while True:
                self.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")

    def range(self) -> tuple[int, int]:
        """What was asked for."""
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return int(first), int(last) + 1 if last else len(CONTENT)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **given}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A request is no event."""


def relayed(source: socket.socket, sink: socket.socket) -> None:
    """Everything from one to the other, its end too."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class Server(ThreadingHTTPServer):
    """Says what it was asked, and on how many connections."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.peers: set[object] = set()
        self.odd: dict[str, Callable[[Any], None]] = {}
        self.scheme = "http" if context is None else "https"
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that goes away is no error here."""

    @property
    def address(self) -> str:
        """Where its files are."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}/base"


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=partial(server.serve_forever, 0.01))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as made:
        yield made


def whole(server: Server, name: str = "file", limits: Limits = UNLIMITED, start: int = 0) -> bytes:
    """The file as it comes."""
    with open_source(server.address, limits) as source:
        return b"".join(source.read(name, start))


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, None), (5, None), (0, 10), (5, 10), (16380, 99999), (99999, None), (7, 7)],
)
def test_ranges(server: Server, start: int, end: int | None) -> None:
    with open_source(server.address) as source:
        assert b"".join(source.read("file", start, end)) == CONTENT[start:end]
        assert source.size("file") == len(CONTENT)


def test_many_ranges_take_one_connection(server: Server) -> None:
    with open_source(server.address) as source:
        for at in range(0, 3000, 30):
            assert b"".join(source.read("file", at, at + 30)) == CONTENT[at : at + 30]
        assert source.size("file") == len(CONTENT)
    assert len(server.requests) == 101
    assert len(server.peers) == 1


def test_what_is_not_read_to_its_end_does_not_get_into_the_next(server: Server) -> None:
    with open_source(server.address) as source:
        chunks = source.read("file")
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
        assert b"".join(source.read("file", 3, 5)) == CONTENT[3:5]


def test_a_connection_that_was_closed_meanwhile_is_made_anew(server: Server) -> None:
    def last(handler: Handler) -> None:
        handler.answer(200, b"bye")
        handler.close_connection = True  # without having said so

    server.odd["last"] = last
    with open_source(server.address) as source:
        assert b"".join(source.read("last")) == b"bye"
        assert b"".join(source.read("file", 3, 5)) == CONTENT[3:5]
    assert len(server.peers) == 2


def test_names_are_parts_of_addresses(server: Server) -> None:
    whole(server, "%2e%2e%2Frole/a b?c#d")
    assert server.requests == ["GET /base/%2e%2e%2Frole/a%20b%3Fc%23d "]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there(server: Server, status: int) -> None:
    server.odd["none"] = lambda handler: handler.answer(status, b"")
    with pytest.raises(FileNotFoundError, match=str(status)):
        whole(server, "none")
    with open_source(server.address) as source:
        assert small(source, "none", 10) == b""


@pytest.mark.parametrize(
    ("status", "error"), [(400, RefusedError), (401, RefusedError), (500, UnavailableError),
                          (503, UnavailableError), (429, UnavailableError)],
)  # fmt: skip
def test_whether_trying_again_may_help(server: Server, status: int, error: type[Exception]) -> None:
    server.odd["bad"] = lambda handler: handler.answer(status, b"no")
    with pytest.raises(error, match=rf"base/bad: {status} "):
        whole(server, "bad")


def test_a_server_that_stops_in_the_middle(server: Server) -> None:
    def stop(handler: Handler) -> None:
        handler.answer(200, b"half", Content_Length="8")
        handler.close_connection = True

    server.odd["half"] = stop
    with open_source(server.address) as source:
        chunks = source.read("half")
        assert next(chunks) == b"half"
        with pytest.raises(UnavailableError, match="stopped in the middle"):
            next(chunks)


def test_a_server_that_cannot_go_on(server: Server) -> None:
    server.odd["old"] = lambda handler: handler.answer(200, CONTENT)
    with pytest.raises(RefusedError, match="cannot go on from byte 5"):
        whole(server, "old", start=5)


@pytest.mark.parametrize("said", ["bytes 4-9/10", "bytes */10", "", "lines 5-9/10"])
def test_a_server_that_sends_another_range(server: Server, said: str) -> None:
    server.odd["other"] = lambda handler: handler.answer(206, b"x" * 5, Content_Range=said)
    with pytest.raises(RefusedError, match="another range"):
        whole(server, "other", start=5)


def test_no_more_is_taken_than_was_asked_for(server: Server) -> None:
    server.odd["much"] = lambda handler: handler.answer(200, CONTENT)
    with open_source(server.address) as source:
        assert b"".join(source.read("much", 0, 7)) == CONTENT[:7]
        assert b"".join(source.read("file", 0, 7)) == CONTENT[:7]


def test_a_server_that_is_silent(server: Server) -> None:
    done = threading.Event()

    def quiet(_: Handler) -> None:
        done.wait(60)

    server.odd["quiet"] = quiet
    try:
        with pytest.raises(UnavailableError, match="the server is silent"):
            whole(server, "quiet", Limits(silence_s=0.05))
    finally:
        done.set()


@pytest.mark.parametrize("part", ["header", "body"])
def test_a_server_that_sends_next_to_nothing(server: Server, part: str) -> None:
    """Each byte takes 29 seconds, which is no silence, wherever it comes."""

    def drip(handler: Handler) -> None:
        if part == "header":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        try:
            while True:
                handler.wfile.write(b"x")
        except OSError:
            handler.close_connection = True

    class Drop(Pace):
        """By a clock that goes on by 29 seconds whenever a byte comes."""

        def took(self, wait: Callable[[], int]) -> int:
            def slow() -> int:
                clock.now += 29
                return min(wait(), 1)

            return super().took(slow)

    clock = Clock()
    limits = Limits(silence_s=30)
    pace = Drop(limits, clock.monotonic, clock.sleep)
    server.odd["drip"] = drip
    with (
        Web(server.address, limits, pace) as web,
        pytest.raises(DeadlineError, match="less than 1024 bytes a second"),
    ):
        b"".join(web.read("drip"))


def moved(place: str) -> Callable[[Handler], None]:
    return lambda handler: handler.answer(302, b"elsewhere", Location=place)


def test_a_file_that_was_moved(server: Server) -> None:
    server.odd |= {"old": moved("older"), "older": moved(f"{server.address}/file")}
    assert whole(server, "old", start=9) == CONTENT[9:]


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x"])
def test_no_file_is_moved_to_no_server(server: Server, place: str) -> None:
    server.odd["old"] = moved(place)
    with pytest.raises(RefusedError, match="is no place to go"):
        whole(server, "old")


def test_a_file_that_is_moved_without_end(server: Server) -> None:
    server.odd["old"] = moved("old")
    with pytest.raises(RefusedError, match="moved more than 5 times"):
        whole(server, "old")
    assert len(server.requests) == 6


def test_a_proxy_is_asked_for_the_whole_address(server: Server) -> None:
    proxy = server.address.removesuffix("base")
    with open_source("http://updates.example/base", Limits(proxy=proxy)) as source:
        assert b"".join(source.read("file", 0, 5)) == CONTENT[:5]
    assert server.requests == ["GET http://updates.example/base/file bytes=0-4"]


def test_a_proxy_that_never_ends_what_it_says(server: Server) -> None:
    proxy = server.address.removesuffix("base")
    with (
        open_source("https://updates.example/base", Limits(proxy=proxy)) as source,
        pytest.raises(UnavailableError, match="does not come to an end"),
    ):
        b"".join(source.read("file"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tls")
    authority(place)
    return place


@pytest.fixture
def secure(keys: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.crt", keys / "server.key")
    with running(Server(context)) as made:
        yield made


def test_tls_with_the_authorities_that_are_given(secure: Server, keys: Path) -> None:
    ours = Limits(authorities=(keys / "ca.crt").read_text())
    assert whole(secure, limits=ours) == CONTENT
    with pytest.raises(UnavailableError, match="its certificate is not accepted"):
        whole(secure)
    secure.odd["down"] = moved(secure.address.replace("https", "http") + "/file")
    with pytest.raises(RefusedError, match="is no place to go"):
        whole(secure, "down", ours)
    with pytest.raises(ConfigError, match="no certificates"):
        whole(secure, limits=Limits(authorities="none"))


def test_tls_through_a_proxy(server: Server, secure: Server, keys: Path) -> None:
    proxy = server.address.removesuffix("base")
    ours = Limits(authorities=(keys / "ca.crt").read_text(), proxy=proxy)
    assert whole(secure, limits=ours) == CONTENT
    assert server.requests == []


def test_a_machine_whose_clock_is_wrong_need_not_look_at_dates(
    secure: Server, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL has no clock to turn back: what is set is that it does not look at one."""
    made: list[ssl.SSLContext] = []
    real = ssl.SSLContext.load_verify_locations

    def kept(context: ssl.SSLContext, *words: Any, **named: Any) -> None:
        made.append(context)
        real(context, *words, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", kept)
    given = (keys / "ca.crt").read_text()
    assert whole(secure, limits=Limits(authorities=given, dated=False)) == CONTENT
    assert whole(secure, limits=Limits(authorities=given)) == CONTENT
    no_check_time = 0x200000  # X509_V_FLAG_NO_CHECK_TIME
    assert [bool(context.verify_flags & no_check_time) for context in made] == [True, False]
