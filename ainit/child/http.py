"""HTTP/1.1 on sockets that are open already, with or without TLS. Every connection is one request,
lasts a bounded time, and there is a bounded number of them; more are sent away. TLS shakes hands in
the connection's own thread.

    class Handler(http.Handler):
        def answer(self) -> None:
            self.send(HTTPStatus.OK, b"[]", "application/json")

    Server(listener, Handler).serve_forever()
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn

CONNECTIONS = 8
SILENCE_SECONDS = 5.0  # between two bytes of a client
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class Handler(BaseHTTPRequestHandler):
    """One connection. Subclasses say which ``methods`` they know (None: every one), and have
    ``answer``, which calls ``send``.
    """

    methods: frozenset[str] | None = frozenset({"GET", "HEAD"})

    protocol_version = "HTTP/1.1"
    server_version = "ainos"
    sys_version = ""
    timeout = SILENCE_SECONDS
    server: Server

    def __getattr__(self, name: str) -> object:
        """What the base class looks for: ``do_`` and the method."""
        if name.startswith("do_") and (self.methods is None or name[3:] in self.methods):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        """Answer the request: ``self.command``, ``self.path``, ``self.headers``, ``self.rfile``."""
        raise NotImplementedError

    def setup(self) -> None:
        """Do TLS's handshake; whoever the context does not want gets no further."""
        self.request.settimeout(SILENCE_SECONDS)
        self.request = self.server.secured(self.request)
        super().setup()

    def handle(self) -> None:
        """One request a connection."""
        self.close_connection = True
        self.handle_one_request()

    def finish(self) -> None:
        """Say goodbye as TLS does, so that the client knows the answer to be whole."""
        super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            try:
                self.request.unwrap()
            except OSError:
                pass  # it is gone, or says nothing

    def send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        """The whole answer: ``kind`` is its media type."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Say in a line why not; subclasses whose answers have a form of their own give it that."""
        self.send(status, f"{reason}\n".encode(), "text/plain")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong with a request."""
        self.refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """A request is no event."""


class Server(ThreadingMixIn, BaseServer):
    """Serves a listening socket, a thread each connection, of which each may last ``lasting_s``."""

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        handler: type[Handler],
        *,
        context: ssl.SSLContext | None = None,
        connections: int = CONNECTIONS,
        lasting_s: float,
    ) -> None:
        super().__init__(listener.getsockname(), handler)
        listener.setblocking(False)  # a client that is gone again does not hold up the others
        self._listener = listener
        self._context = context
        self._connections = connections
        self._lasting = lasting_s
        # By the socket that was accepted: the one that is spoken through, and until when.
        self._open: dict[int, tuple[socket.socket, float]] = {}
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._listener.fileno()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection."""
        channel, address = self._listener.accept()
        channel.setblocking(True)
        return channel, address or ("unix", 0)

    def secured(self, channel: socket.socket) -> socket.socket:
        """The channel after the handshake, if there is to be one. Raises OSError."""
        if self._context is None:
            return channel
        secured = self._context.wrap_socket(
            channel, server_side=True, do_handshake_on_connect=False
        )
        with self._lock:
            _, until = self._open[id(channel)]
            self._open[id(channel)] = secured, until
        secured.do_handshake()
        return secured

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Give a connection its thread, or send it away."""
        self.service_actions()
        with self._lock:
            is_busy = len(self._open) >= self._connections
            if not is_busy:
                self._open[id(request)] = request, time.monotonic() + self._lasting
        if is_busy:
            self._send_away(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)
            raise

    def _send_away(self, request: socket.socket) -> None:
        if self._context is None:
            request.settimeout(0.0)
            request.send(_BUSY)  # a new socket has room for that
        self.shutdown_request(request)

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
            pass  # it is gone, or TLS has it
        request.close()

    def service_actions(self) -> None:
        """Cut the connections that last too long; ``serve_forever`` calls this."""
        now = time.monotonic()
        with self._lock:
            late = [channel for channel, until in self._open.values() if now >= until]
        for channel in late:
            try:
                # Its thread wakes up and ends. TLS's own would have it read on without TLS.
                socket.socket.shutdown(channel, socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what broke a connection, in one line, unless it was its client."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"fault in a request: {error!r}", file=sys.stderr, flush=True)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            channel, _ = self._open.pop(id(request), (request, 0.0))
        channel.close()
