"""A directory on an HTTP or HTTPS server, through a proxy or not, in ranges, on few connections.

A connection is used again while answers are read to their end: a thousand ranges need one. Every
byte, those of the header too, goes through `source.Pace`. Leaves out what machines do not need of a
file server: cookies, passwords, compression.

    with Web("https://updates.example/ainos", limits, Pace(limits)) as web:
        b"".join(web.read("targets/root.erofs", 4096, 8192))
"""

from __future__ import annotations

import errno
import http.client
import io
import re
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self

from ..errors import RefusedError, UnavailableError
from . import tls
from .source import CHUNK, Limits, Pace

REDIRECTS = 5
_TUNNEL_BYTES = 1 << 16  # of what a proxy says before there is a tunnel
_MOVED = (301, 302, 303, 307, 308)
# 403 is what object stores say of a file that is not there.
_MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.FORBIDDEN)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")
_BROKEN = (http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError)


class Web:
    """See source.Source. ``url`` is the directory; ``pace`` is told of all that comes."""

    def __init__(self, url: str, limits: Limits, pace: Pace) -> None:
        self._url = url.rstrip("/") + "/"
        self._limits = limits
        self._pace = pace
        self._context: ssl.SSLContext | None = None
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for origin in list(self._open):
            self._drop(origin)

    def size(self, name: str) -> int:
        """See source.Source."""
        origin, answer = self._ask(name, "HEAD", {})
        answer.read()
        if answer.will_close:
            self._drop(origin, answer)
        length = answer.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(f"{self._url}{name}: the server does not say how long it is")
        return int(length)

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See source.Source."""
        if end is not None and end <= start:
            return
        last = "" if end is None else str(end - 1)
        wanted = {"Range": f"bytes={start}-{last}"} if start or end is not None else {}
        origin, answer = self._ask(name, "GET", wanted)
        whole = False
        try:
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # the file ends before that
            self._check(name, answer, start)
            left = None if end is None else end - start
            while left is None or left > 0:
                chunk = answer.read1(CHUNK if left is None else min(left, CHUNK))
                if not chunk:
                    break
                left = None if left is None else left - len(chunk)
                yield chunk
            if answer.length and (left is None or left > 0):
                raise UnavailableError(f"{self._url}{name}: the server stopped in the middle")
            whole = answer.isclosed() or answer.length == 0
        except _BROKEN as error:
            raise UnavailableError(_words(self._url + name, error)) from error
        finally:
            if not whole or answer.will_close:
                self._drop(origin)
            answer.close()

    def _check(self, name: str, answer: http.client.HTTPResponse, start: int) -> None:
        """That what comes begins where it was asked to."""
        if answer.status == HTTPStatus.PARTIAL_CONTENT:
            said = _RANGE.match(answer.headers.get("Content-Range", ""))
            if said is None or int(said[1]) != start:
                raise RefusedError(f"{self._url}{name}: the server sends another range")
        elif start:
            raise RefusedError(f"{self._url}{name}: the server cannot go on from byte {start}")

    def _ask(
        self, name: str, method: str, headers: dict[str, str]
    ) -> tuple[tuple[str, str], http.client.HTTPResponse]:
        """The answer whose body comes, and the connection that it comes on."""
        # What is escaped already stays so: names are parts of addresses.
        url = self._url + urllib.parse.quote(name, safe="/%:@!$&'()*+,;=~")
        for _ in range(REDIRECTS + 1):
            parts = urllib.parse.urlsplit(url)
            origin = (parts.scheme, parts.netloc)
            try:
                answer = self._send(origin, method, parts, headers)
            except (*_BROKEN, OSError) as error:
                self._drop(origin)
                raise UnavailableError(_words(url, error)) from error
            except BaseException:
                self._drop(origin)
                raise
            if answer.status not in _MOVED:
                break
            self._drop(origin, answer)  # its body is of no use
            onward = urllib.parse.urljoin(url, answer.headers.get("Location", ""))
            if not onward.startswith(("https:", f"{parts.scheme}:")):
                raise RefusedError(f"{url} leads to {onward}, which is no place to go")
            url = onward
        else:
            raise RefusedError(f"{self._url}{name}: moved more than {REDIRECTS} times")
        if answer.status in _MISSING:
            self._drop(origin, answer)
            raise FileNotFoundError(errno.ENOENT, f"{answer.status} {answer.reason}", url)
        if answer.status >= HTTPStatus.BAD_REQUEST and answer.status != 416:
            self._drop(origin, answer)
            later = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == 429
            kind = UnavailableError if later else RefusedError
            raise kind(f"{url}: {answer.status} {answer.reason}")
        return origin, answer

    def _send(
        self,
        origin: tuple[str, str],
        method: str,
        parts: urllib.parse.SplitResult,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        """Ask once; anew where a connection that was kept has been closed meanwhile."""
        through_proxy = self._limits.proxy and parts.scheme == "http"
        path = urllib.parse.urlunsplit(
            (*(parts[:2] if through_proxy else ("", "")), parts.path or "/", parts.query, "")
        )
        headers = {"Accept-Encoding": "identity", "Host": parts.netloc, **headers}
        if (kept := self._open.get(origin)) is not None:
            try:
                return self._answer(kept, method, path, headers)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self._drop(origin)
        made = self._open[origin] = self._connected(origin)
        return self._answer(made, method, path, headers)

    def _answer(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: dict[str, str],
    ) -> http.client.HTTPResponse:
        self._pace.begin()
        connection.request(method, path, headers=headers)
        return connection.getresponse()

    def _connected(self, origin: tuple[str, str]) -> http.client.HTTPConnection:
        scheme, place = origin
        proxy = urllib.parse.urlsplit(self._limits.proxy).netloc
        made: http.client.HTTPConnection
        if scheme == "https":
            if self._context is None:
                self._context = tls.public(self._limits.authorities, dated=self._limits.dated)
            made = http.client.HTTPSConnection(
                proxy or place, timeout=self._limits.silence_s, context=self._context
            )
            if proxy:
                made.set_tunnel(place)
                made.response_class = partial(_Tunnelled, self._pace)  # type: ignore[assignment]
        else:
            made = http.client.HTTPConnection(proxy or place, timeout=self._limits.silence_s)
        try:
            made.connect()
        except BaseException:
            made.close()
            raise
        made.response_class = http.client.HTTPResponse
        made.sock = _Channel(made.sock, self._pace)
        return made

    def _drop(
        self, origin: tuple[str, str], answer: http.client.HTTPResponse | None = None
    ) -> None:
        connection = self._open.pop(origin, None)
        if connection is not None:
            connection.close()
        if answer is not None:
            answer.close()


class _Channel:
    """What http.client asks of a socket; whatever is read of it is paced."""

    def __init__(self, channel: socket.socket, pace: Pace) -> None:
        self._channel = channel
        self._pace = pace
        self.sendall = channel.sendall
        self.close = channel.close

    def makefile(self, _: str) -> io.BufferedReader:
        """For reading only; `http.client` closes it and the socket each for itself."""
        return io.BufferedReader(_Reading(self._channel.makefile("rb", buffering=0), self._pace))


class _Tunnelled(http.client.HTTPResponse):
    """What a proxy answers to CONNECT, of which `http.client` would read headers without end."""

    def __init__(self, pace: Pace, channel: socket.socket, method: str | None = None) -> None:
        super().__init__(channel, method=method)
        self.fp.close()
        raw = channel.makefile("rb", buffering=0)
        self.fp = io.BufferedReader(_Reading(raw, pace, _TUNNEL_BYTES))


class _Reading(io.RawIOBase):
    """A stream that is paced, and ends after so many bytes."""

    def __init__(self, raw: io.RawIOBase, pace: Pace, left: int | None = None) -> None:
        self._raw = raw
        self._pace = pace
        self._left = left

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Wait for what comes next; 0 at the end."""
        count = self._pace.took(lambda: self._raw.readinto(buffer) or 0)
        if self._left is not None:
            self._left -= count
            if self._left < 0:
                raise http.client.HTTPException("its proxy does not come to an end")
        return count

    def close(self) -> None:
        """Close the stream, not its socket."""
        self._raw.close()
        super().close()


def _words(url: str, error: Exception) -> str:
    """What is wrong with a server, for whoever operates the machine."""
    match error:
        case ssl.SSLCertVerificationError():
            hint = (
                "; the clock of this machine may be wrong" if error.verify_code in (9, 10) else ""
            )
            return f"{url}: its certificate is not accepted: {error.verify_message}{hint}"
        case ssl.SSLError():
            return f"{url}: no TLS: {error.reason or error}"
        case TimeoutError():
            return f"{url}: the server is silent"
        case OSError() if error.strerror:
            return f"{url}: {error.strerror}"
        case _:
            return f"{url}: the server stopped answering ({error!r})"
