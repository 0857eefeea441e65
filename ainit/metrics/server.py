"""One page over HTTP.

Server(listener, source.page).serve_forever()
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from http import HTTPStatus

from ..child import http
from ..errors import AinosError
from .exposition import CONTENT_TYPE

PATH = "/metrics"
CONNECTION_SECONDS = 15.0


class _Handler(http.Handler):
    server_version = "ainos-metrics"
    server: Server

    def answer(self) -> None:
        """Answer with the page."""
        if self.path.partition("?")[0] != PATH:
            self.refuse(HTTPStatus.NOT_FOUND, f"there is {PATH} only")
            return
        try:
            page = self.server.page()
        except AinosError as error:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        else:
            self.send(HTTPStatus.OK, page, CONTENT_TYPE)


class Server(http.Server):
    """Serves ``page()``."""

    def __init__(
        self,
        listener: socket.socket,
        page: Callable[[], bytes],
        *,
        connections: int = http.CONNECTIONS,
        lasting_s: float = CONNECTION_SECONDS,
    ) -> None:
        super().__init__(listener, _Handler, connections=connections, lasting_s=lasting_s)
        self.page = page
