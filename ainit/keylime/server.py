"""HTTP over TLS for the agent: requests without a body, by verifiers that show a certificate.

Server(listener, context, agent).serve_forever()
"""

from __future__ import annotations

import socket
import ssl
import sys
from http import HTTPStatus

from ..child import http
from ..errors import AinosError
from . import protocol
from .agent import Agent
from .protocol import RequestError

CONNECTION_SECONDS = 30.0  # a TPM chip needs seconds for its primary keys
TARGET_CHARACTERS = 1024


class _Handler(http.Handler):
    server_version = "ainos-keylime"
    methods = None
    server: Server

    def answer(self) -> None:
        """Answer what the protocol knows, and say of the rest what is wrong with it."""
        try:
            if len(self.path) > TARGET_CHARACTERS:
                raise RequestError(HTTPStatus.REQUEST_URI_TOO_LONG, "the target is too long")
            request = protocol.parse_request(self.command, self.path)
            body = protocol.answer(self.server.agent.answer(request))
        except RequestError as error:
            self.refuse(error.status, str(error))
        except (AinosError, OSError) as error:
            print(f"no quote: {error}", file=sys.stderr, flush=True)
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the TPM gave no quote")
        else:
            self.send(HTTPStatus.OK, body, "application/json")

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """The protocol's own form."""
        self.send(status, protocol.answer({}, status, reason), "application/json")


class Server(http.Server):
    """Serves an agent."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext, agent: Agent) -> None:
        super().__init__(listener, _Handler, context=context, lasting_s=CONNECTION_SECONDS)
        self.agent = agent
