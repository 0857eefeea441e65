"""Bring a model from a directory, a USB disk or an HTTP(S) server into the store's folder of
deliveries.

A source holds what a delivery holds: record.json, model.sig, and the model's files. The first two
come first and are judged before a file is fetched, for it may be large. What came so far stays in
``incoming/.NAME.part`` and is gone on with, unless the first two are others by then. Only what the
record lists is fetched. Nothing is believed because of where it comes from: the store verifies the
whole delivery.

    with open_source("https://models.example/speech/") as source:
        name = fetch(source, root, judge, tell)
"""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from ..errors import RefusedError
from ..linux import files
from . import disk
from .reading import opened, small
from .records import RECORD_BYTES_MAX, RECORD_FILE, SIGNATURE_FILE, Admitted, Record
from .signature import BUNDLE_BYTES_MAX

USB = "usb:"
DEADLINE_SECONDS = 30.0  # without a byte
SPARE_BYTES = 64 << 20  # what a delivery leaves free on the disk
_CHUNK = 1 << 20
_LIMITS = ((RECORD_FILE, RECORD_BYTES_MAX), (SIGNATURE_FILE, BUNDLE_BYTES_MAX))

Judge = Callable[[Record, Admitted], object]  # raises RefusedError
Tell = Callable[[int, int], None]  # bytes so far, bytes in all


class Source(Protocol):
    """Where files come from. Methods raise RefusedError with the reason in words, or OSError."""

    def small(self, name: str, limit: int) -> bytes:
        """A small file; empty when there is none."""
        ...

    def size(self, name: str) -> int:
        """The length of a file in bytes."""
        ...

    def read(self, name: str, start: int) -> Iterator[bytes]:
        """A file from byte ``start`` on, in pieces."""
        ...


class Directory:
    """A directory of this machine, such as a disk that was mounted."""

    def __init__(self, path: str) -> None:
        self._path = path

    def small(self, name: str, limit: int) -> bytes:
        """See Source."""
        return small(f"{self._path}/{name}", limit)

    def size(self, name: str) -> int:
        """See Source."""
        with opened(f"{self._path}/{name}") as descriptor:
            return os.fstat(descriptor).st_size

    def read(self, name: str, start: int) -> Iterator[bytes]:
        """See Source."""
        with opened(f"{self._path}/{name}") as descriptor:
            os.lseek(descriptor, start, os.SEEK_SET)
            while chunk := os.read(descriptor, _CHUNK):
                yield chunk


class Web:
    """A directory on an HTTP or HTTPS server."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/"

    def small(self, name: str, limit: int) -> bytes:
        """See Source."""
        try:
            with self._get(name) as answer:
                content = answer.read(limit + 1)
        except FileNotFoundError:
            return b""
        if len(content) > limit:
            raise RefusedError(f"{name} is longer than {limit} bytes")
        return content

    def size(self, name: str) -> int:
        """See Source."""
        with self._get(name, method="HEAD") as answer:
            length = answer.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(f"{self._url}{name}: the server does not say how long it is")
        return int(length)

    def read(self, name: str, start: int) -> Iterator[bytes]:
        """See Source."""
        with self._get(name, start) as answer:
            if start and answer.status != http.client.PARTIAL_CONTENT:
                raise RefusedError(f"{self._url}{name}: the server cannot go on from byte {start}")
            while chunk := answer.read(_CHUNK):
                yield chunk

    @contextmanager
    def _get(
        self, name: str, start: int = 0, method: str = "GET"
    ) -> Iterator[http.client.HTTPResponse]:
        url = self._url + urllib.parse.quote(name)
        request = urllib.request.Request(url, method=method)
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.NOT_FOUND:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from error
            raise RefusedError(f"{url}: {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise RefusedError(f"{url}: {error.reason}") from error
        except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
            raise RefusedError(f"{url}: the server stopped answering ({error!r})") from error


@contextmanager
def open_source(source: str) -> Iterator[Source]:
    """The source that a path or an address names. Raises RefusedError for another text, or when the
    disk is not there.
    """
    scheme = urllib.parse.urlsplit(source).scheme
    if scheme in ("http", "https"):
        yield Web(source)
    elif source.startswith("/"):
        yield Directory(source)
    elif source.startswith(USB):
        label, _, path = source.removeprefix(USB).partition("/")
        with disk.mounted(label) as root:
            yield Directory(disk.inside(root, path))
    else:
        raise RefusedError(
            f"{source} is neither a directory (/...), nor {USB}LABEL/PATH, nor an http:// or"
            " https:// address"
        )


def fetch(source: Source, root: str, judge: Judge, tell: Tell) -> str:
    """Complete a delivery in ``root``; returns the model's name.

    Raises RefusedError when the delivery is not worth fetching, and OSError.
    """
    first = {name: source.small(name, limit) for name, limit in _LIMITS}
    record = Record.parse(first[RECORD_FILE], Record.name_in(first[RECORD_FILE]))
    note = Admitted("", first[RECORD_FILE].decode(), first[SIGNATURE_FILE].decode())
    judge(record, note)
    part = f"{root}/incoming/.{record.name}.part"
    _begin(part, first)
    _continue(source, record.files, part, tell)
    target = f"{root}/incoming/{record.name}"
    shutil.rmtree(target, ignore_errors=True)
    os.rename(part, target)
    files.sync_directory(f"{root}/incoming")
    return record.name


def _begin(part: str, first: dict[str, bytes]) -> None:
    """Go on with what came so far, if it is of the same delivery."""
    if any(small(f"{part}/{name}", limit) != first[name] for name, limit in _LIMITS):
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part, mode=0o755)
        for name, content in first.items():
            files.replace(f"{part}/{name}", content)


def _continue(source: Source, names: Collection[str], part: str, tell: Tell) -> None:
    """Fetch what is missing of the model's files, one after the other."""
    sizes = {name: source.size(name) for name in names}
    have = {name: _have(f"{part}/{name}", sizes[name]) for name in names}
    total, done = sum(sizes.values()), sum(have.values())
    _check_room(part, total - done)
    tell(done, total)
    for name in names:
        with open(f"{part}/{name}", "ab") as file:
            for chunk in source.read(name, have[name]) if have[name] < sizes[name] else ():
                done += file.write(chunk)
                tell(done, total)
            file.flush()
            os.fsync(file.fileno())
            if (came := file.tell()) != sizes[name]:
                raise RefusedError(
                    f"{name} has {came} bytes, not the {sizes[name]} that the source promised"
                )


def _have(path: str, size: int) -> int:
    """How much of a file is there; what is longer than the whole begins anew."""
    with open(path, "ab") as file:
        if file.tell() > size:
            file.truncate(0)
        return os.fstat(file.fileno()).st_size


def _check_room(directory: str, wanted: int) -> None:
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if wanted + SPARE_BYTES > free:
        raise RefusedError(
            f"no room: {wanted >> 20} MiB to fetch, {free >> 20} MiB free on the state partition"
            " (`ainitctl models remove` and `ainitctl models gc` make room)"
        )
