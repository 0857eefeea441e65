"""HTTP/1.1 over TLS for the agent. A connection is one request without a body, lasts a bounded
time, and there is a bounded number of them. The handshake is done in the connection's thread.

    Server(listener, context, agent).serve_forever()
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

from ..errors import AinosError
from . import protocol
from .agent import Agent
from .protocol import RequestError

CONNECTIONS = 8
SILENCE_SECONDS = 5.0  # between two bytes of a client
CONNECTION_SECONDS = 30.0  # a TPM chip needs seconds for its primary keys
TARGET_CHARACTERS = 1024


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "ainos-keylime"
    sys_version = ""
    timeout = SILENCE_SECONDS
    server: Server

    def setup(self) -> None:
        """Do the handshake; whoever shows no certificate of the authority gets no further."""
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
        try:
            self.request.unwrap()
        except OSError:
            pass  # it is gone, or says nothing
        self.request.close()

    def __getattr__(self, name: str) -> object:
        """Every method of HTTP is answered in one place."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        try:
            if len(self.path) > TARGET_CHARACTERS:
                raise RequestError(HTTPStatus.REQUEST_URI_TOO_LONG, "the target is too long")
            request = protocol.parse_request(self.command, self.path)
            body = protocol.answer(self.server.agent.answer(request))
        except RequestError as error:
            self._refuse(error.status, str(error))
        except (AinosError, OSError) as error:
            print(f"no quote: {error}", file=sys.stderr, flush=True)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the TPM gave no quote")
        else:
            self._send(HTTPStatus.OK, body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong with a request."""
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, protocol.answer({}, status, reason))

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """A request is no event."""


class Server(ThreadingMixIn, BaseServer):
    """Serves an agent on a listening socket, a thread each connection."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, agent: Agent) -> None:
        super().__init__(listener.getsockname(), _Handler)
        listener.setblocking(False)
        self._listener = listener
        self._context = context
        self.agent = agent
        self._open: dict[int, tuple[socket.socket, float]] = {}
        self._connections = 0
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._listener.fileno()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection; TLS begins in its thread."""
        channel, address = self._listener.accept()
        channel.setblocking(True)
        return channel, address

    def secured(self, channel: socket.socket) -> ssl.SSLSocket:
        """The channel after the handshake. Raises OSError (ssl.SSLError is one)."""
        secured = self._context.wrap_socket(
            channel, server_side=True, do_handshake_on_connect=False
        )
        with self._lock:
            until = time.monotonic() + CONNECTION_SECONDS
            self._open[threading.get_ident()] = secured, until
        secured.do_handshake()
        return secured

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Give a connection its thread, or end it when there are too many."""
        self.service_actions()
        with self._lock:
            is_busy = self._connections >= CONNECTIONS
            self._connections += not is_busy
        if is_busy:
            request.close()
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            with self._lock:
                self._connections -= 1
            raise

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Run in the thread of the connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                channel, _ = self._open.pop(threading.get_ident(), (request, 0.0))
                self._connections -= 1
            channel.close()

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """End a connection."""
        request.close()

    def service_actions(self) -> None:
        """Cut the connections that last too long; ``serve_forever`` calls this."""
        now = time.monotonic()
        with self._lock:
            late = [channel for channel, until in self._open.values() if now >= until]
        for channel in late:
            try:
                channel.shutdown(socket.SHUT_RDWR)  # its thread wakes up and ends
            except OSError:
                pass

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what broke a connection, in one line, unless it was its client."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"fault in a request: {error!r}", file=sys.stderr, flush=True)
