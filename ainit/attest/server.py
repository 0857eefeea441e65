"""The verifier over HTTPS. Bodies are JSON, files are base64, other bytes are hexadecimal::

    POST /v1/nonce                                   → {"nonce"}
    POST /v1/challenge {"machine", "files"}          → {"challenge", "credential", "secret"}
    POST /v1/answer    {"challenge", "secret"}       → the verdict
    GET  /v1/machines                                → {"machines"}
    GET  /v1/machines/NAME                           → when and as what it was accepted last

An error is {"error"} with a status of HTTP. Who may ask at all, TLS decides. What a client says is
believed of no machine.
"""

from __future__ import annotations

import socket
import ssl
import sys
from dataclasses import asdict
from http import HTTPStatus

from ..child import http
from ..errors import AinosError, RefusedError, UnavailableError
from ..wire import codec
from .evidence import from_wire
from .verifier import Verifier

BODY_BYTES = 8 << 20
CONNECTION_SECONDS = 30.0
_MACHINES = "/v1/machines"


class _StatusError(Exception):
    """What the client is to know, and as which status."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(http.Handler):
    server_version = "ainos-verifier"
    methods = frozenset({"GET", "POST"})
    server: Server

    def answer(self) -> None:
        """One step of a conversation, or what is remembered."""
        try:
            record = self._step() if self.command == "POST" else self._remembered()
        except _StatusError as error:
            self.refuse(error.status, str(error))
        except (BlockingIOError, UnavailableError) as error:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except (ConnectionError, TimeoutError, ssl.SSLError):
            raise  # the client's, who is not there to be answered
        except OSError as error:
            print(f"no verdict: {error}", file=sys.stderr, flush=True)
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the verifier's own files fail it")
        except RefusedError as error:
            self.refuse(HTTPStatus.CONFLICT, str(error))
        except AinosError as error:
            self.refuse(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._say(HTTPStatus.OK, record)

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """In JSON, as every answer."""
        self._say(status, {"error": reason})

    def _say(self, status: HTTPStatus, record: object) -> None:
        self.send(status, codec.dumps(record).encode() + b"\n", "application/json")

    def _remembered(self) -> object:
        register = self.server.verifier.register
        if self.path == _MACHINES:
            return {"machines": register.names()}
        name = self.path.removeprefix(_MACHINES + "/")
        if name != self.path and (known := register.known(name)) is not None:
            return {key: value for key, value in asdict(known).items() if key != "quote"}
        raise _StatusError(HTTPStatus.NOT_FOUND, "there is no such thing")

    def _step(self) -> object:
        verifier = self.server.verifier
        match self.path, self._body():
            case "/v1/nonce", {}:
                return {"nonce": verifier.nonce().hex()}
            case "/v1/challenge", {"machine": str(machine), "files": files}:
                identity, asked = verifier.challenge(machine, from_wire(files))
                asked_for = {"credential": asked.credential.hex(), "secret": asked.wrapped.hex()}
                return {"challenge": identity, **asked_for}
            case "/v1/answer", {"challenge": str(identity), "secret": str(secret)}:
                return verifier.answer(identity, _bytes(secret)).as_json()
            case "/v1/nonce" | "/v1/challenge" | "/v1/answer", _:
                raise _StatusError(HTTPStatus.BAD_REQUEST, "the request lacks something")
        raise _StatusError(HTTPStatus.NOT_FOUND, "there is no such thing")

    def _body(self) -> object:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _StatusError(HTTPStatus.LENGTH_REQUIRED, "say how long the request is")
        if int(length) > BODY_BYTES:
            raise _StatusError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{BODY_BYTES} bytes are the most"
            )
        try:
            return codec.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise _StatusError(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from error


class Server(http.Server):
    """Serves a verifier."""

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, verifier: Verifier
    ) -> None:
        super().__init__(listener, _Handler, context=context, lasting_s=CONNECTION_SECONDS)
        self.verifier = verifier


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise _StatusError(HTTPStatus.BAD_REQUEST, "not hexadecimal") from error
