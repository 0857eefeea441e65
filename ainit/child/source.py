"""Where files come from: a directory, a USB disk or an HTTP(S) server, read whole or in ranges.

Nothing is believed because of where it comes from: whoever reads compares with what was signed, and
counts. What is held to here is time: a source is given up that is silent, or sends next to nothing.

    with open_source("https://updates.example/ainos", Limits(rate=1 << 20)) as source:
        start = b"".join(source.read("targets/root.erofs", 0, 4096))
"""

from __future__ import annotations

import os
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ..errors import DeadlineError, RefusedError
from . import disk
from .given import opened

USB = "usb:"
CHUNK = 1 << 18  # bytes that are read at once


@dataclass(frozen=True, slots=True)
class Limits:
    """How a server is read. ``rate`` is bytes a second at most, 0 for any; ``proxy`` an ``http:``
    address; ``authorities`` certificates of those that vouch for servers (PEM), else OpenSSL's own.
    A server may be silent for ``silence_s``, and over ``least_over_s`` of waiting has to send
    ``least`` bytes a second. Where not ``dated``, a certificate's time is not looked at: for a
    machine whose clock is known to be wrong, and content that is signed by others.
    """

    rate: int = 0
    proxy: str = ""
    authorities: str = ""
    silence_s: float = 30.0
    least: int = 1024
    least_over_s: float = 60.0
    dated: bool = True


UNLIMITED = Limits()


class Source(Protocol):
    """Files by names relative to it, as in an address: ``%`` begins an escape.

    Methods raise FileNotFoundError where there is no such file, RefusedError with another reason
    in words, UnavailableError where trying later may help, and OSError.
    """

    def size(self, name: str) -> int:
        """The length of a file in bytes."""
        ...

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``end`` in pieces, never more; fewer where it ends."""
        ...


class Directory:
    """A directory of this machine, such as a disk that was mounted. Links are not followed."""

    def __init__(self, path: str) -> None:
        self._path = path

    def size(self, name: str) -> int:
        """See Source."""
        with opened(self._place(name)) as descriptor:
            return os.fstat(descriptor).st_size

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See Source."""
        with opened(self._place(name)) as descriptor:
            while chunk := os.pread(descriptor, _wanted(start, end), start):
                start += len(chunk)
                yield chunk

    def _place(self, name: str) -> str:
        plain = urllib.parse.unquote(name)
        if ".." in plain.split("/") or "\0" in plain:
            raise RefusedError(f"{name} leads out of the directory")
        return f"{self._path}/{plain}"


def small(source: Source, name: str, limit: int) -> bytes:
    """A small file; empty when there is none. Raises RefusedError when it is too long."""
    content = b""
    try:
        for chunk in source.read(name):
            content += chunk
            if len(content) > limit:
                raise RefusedError(f"{name} is longer than {limit} bytes")
    except FileNotFoundError:
        return b""
    return content


class Pace:
    """Keeps what comes between the least and the highest rate."""

    def __init__(
        self,
        limits: Limits,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._sleep = sleep
        self._came, self._waited = 0, 0.0
        self._due = monotonic()

    def begin(self) -> None:
        """Another answer begins."""
        self._came, self._waited = 0, 0.0

    def took(self, wait: Callable[[], int]) -> int:
        """Wait for bytes, and return how many came. Raises DeadlineError when they are too few."""
        before = self._monotonic()
        count = wait()
        now = self._monotonic()
        self._came += count
        self._waited += now - before
        if self._waited >= self._limits.least_over_s:
            if self._came < self._limits.least * self._waited:
                raise DeadlineError(
                    f"the server sends less than {self._limits.least} bytes a second"
                )
            self.begin()
        if self._limits.rate:
            self._due = max(self._due, before) + count / self._limits.rate
            if self._due > now:
                self._sleep(self._due - now)
        return count


@contextmanager
def open_source(address: str, limits: Limits = UNLIMITED) -> Iterator[Source]:
    """The source that a path or an address names. Raises RefusedError for another text, or when the
    disk is not there; ConfigError for certificates that are none.
    """
    scheme = urllib.parse.urlsplit(address).scheme
    if scheme in ("http", "https"):
        from .web import Web  # what it imports takes a while, and a directory needs none of it

        with Web(address, limits, Pace(limits)) as web:
            yield web
    elif address.startswith("/"):
        yield Directory(address)
    elif address.startswith(USB):
        label, _, path = address.removeprefix(USB).partition("/")
        with disk.mounted(label) as root:
            yield Directory(disk.inside(root, path))
    else:
        raise RefusedError(
            f"{address} is neither a directory (/...), nor {USB}LABEL/PATH, nor an http:// or"
            " https:// address"
        )


def _wanted(start: int, end: int | None) -> int:
    return CHUNK if end is None else max(0, min(CHUNK, end - start))
