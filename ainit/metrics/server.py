"""HTTP/1.1 for one page, on sockets that are open already. Every connection is one request, lasts a
bounded time, and there is a bounded number of them; more are told to come back.

    Server(listener, source.page).serve_forever()
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn

from ..errors import AinosError
from .exposition import CONTENT_TYPE

PATH = "/metrics"
CONNECTIONS = 8
SILENCE_SECONDS = 5.0  # between two bytes of a client
CONNECTION_SECONDS = 15.0
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ainos-metrics"
    sys_version = ""
    timeout = SILENCE_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Answer with the page."""
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, f"there is {PATH} only\n".encode(), "text/plain")
            return
        try:
            page = self.server.page()
        except AinosError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode(), "text/plain")
        else:
            self._answer(HTTPStatus.OK, page, CONTENT_TYPE)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """A scrape is no event."""


class Server(ThreadingMixIn, BaseServer):
    """Serves ``page()`` on a listening socket, a thread each connection."""

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        page: Callable[[], bytes],
        *,
        connections: int = CONNECTIONS,
        lasting_s: float = CONNECTION_SECONDS,
    ) -> None:
        super().__init__(listener.getsockname(), _Handler)
        listener.setblocking(False)  # a client that is gone again does not hold up the others
        self._listener = listener
        self.page = page
        self._connections = connections
        self._lasting = lasting_s
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._listener.fileno()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection."""
        channel, address = self._listener.accept()
        channel.setblocking(True)
        return channel, address or ("unix", 0)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Give a connection its thread, or send it away."""
        self.service_actions()
        with self._lock:
            is_busy = len(self._open) >= self._connections
            if not is_busy:
                self._open[request] = time.monotonic() + self._lasting
        if is_busy:
            request.settimeout(0.0)
            request.send(_BUSY)  # a new socket has room for that
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)
            raise

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Run in the thread of the connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """End a connection."""
        try:
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone
        request.close()

    def service_actions(self) -> None:
        """Cut the connections that last too long; ``serve_forever`` calls this."""
        now = time.monotonic()
        with self._lock:
            for channel, until in self._open.items():
                if now >= until:
                    try:
                        channel.shutdown(socket.SHUT_RDWR)  # its thread wakes up and ends
                    except OSError:
                        pass

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what broke a connection, in one line, unless it was its client."""
        error = sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"fault in a scrape: {error!r}", file=sys.stderr, flush=True)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)
