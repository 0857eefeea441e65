"""A file of known length, brought from a source to the disk; what came so far is kept and gone on
with, after an error as after a power cut.

Leaves out what the bytes must be: ``check`` is given the file on the disk, and raises RefusedError.
Ranges, rates, proxies and deadlines are the source's, see ``ainit.child.source``.

    with open_source("https://updates.example/ainos", Limits(rate=1 << 20)) as source:
        complete(source, "targets/root.erofs", "/staging/root.erofs", 50606080, check, tell)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from ..child.source import Limits, Source, open_source
from ..errors import RefusedError, UnavailableError
from ..linux.files import sync_directory

__all__ = ("Limits", "Source", "complete", "open_source", "ranges", "small")

SPARE_BYTES = 16 << 20  # what is left free on the disk
MERGED_BYTES = 4 << 20  # ranges that touch are asked for together, up to so much

Check = Callable[[BinaryIO], None]
Tell = Callable[[int, int], None]  # bytes so far, bytes in all


def complete(source: Source, name: str, path: str, size: int, check: Check, tell: Tell) -> None:
    """Bring ``name`` to ``path``; in between it is ``path.part``. Does nothing for a file that is
    there and passes the check.

    Raises RefusedError for other bytes than the check wants, which are then gone; UnavailableError
    and OSError, and then what came is kept.
    """
    with suppress(FileNotFoundError, RefusedError), open(path, "rb") as file:
        check(file)
        tell(size, size)
        return
    part = f"{path}.part"
    os.makedirs(os.path.dirname(part), exist_ok=True)
    begun = _bring(source, name, part, size, tell)
    try:
        _judge(part, check)
    except RefusedError:
        os.unlink(part)
        if not begun:
            raise
        # What was there may have been of another file.
        _bring(source, name, part, size, tell)
        try:
            _judge(part, check)
        except RefusedError:
            os.unlink(part)
            raise
    os.rename(part, path)
    sync_directory(os.path.dirname(path))


def ranges(source: Source, name: str, wanted: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of each range (offset and size, in bytes), whole and in that order.

    Raises UnavailableError when the file ends before, and what the source raises.
    """
    for group in _touching(wanted):
        first, (last, length) = group[0][0], group[-1]
        chunks = source.read(name, first, last + length)
        held = bytearray()
        for _, size in group:
            while len(held) < size:
                chunk = next(chunks, b"")
                if not chunk:
                    raise UnavailableError(f"{name} ends before byte {last + length}")
                held += chunk
            yield bytes(held[:size])
            del held[:size]


def _touching(wanted: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    group: list[tuple[int, int]] = []
    for offset, size in wanted:
        if group and (
            offset != group[-1][0] + group[-1][1] or offset + size - group[0][0] > MERGED_BYTES
        ):
            yield group
            group = []
        group.append((offset, size))
    if group:
        yield group


def small(source: Source, name: str, size: int) -> bytes:
    """A small file of known length; at most so many bytes. Raises RefusedError when more come."""
    content = b""
    for chunk in source.read(name, 0, size):
        content += chunk
        if len(content) > size:
            raise RefusedError(f"{name}: the source sends more than the {size} bytes")
    return content


def _bring(source: Source, name: str, part: str, size: int, tell: Tell) -> bool:
    """Bring what is missing, and flush it; whether something was there before."""
    with open(part, "ab") as file:
        if file.tell() > size:
            file.truncate(0)
        done = begun = os.fstat(file.fileno()).st_size
        _check_room(part, size - done)
        tell(done, size)
        try:
            for chunk in source.read(name, done, size):
                if done + len(chunk) > size:
                    raise RefusedError(f"{name}: the source sends more than the {size} bytes")
                done += file.write(chunk)
                tell(done, size)
        finally:
            file.flush()
            os.fsync(file.fileno())
    return begun > 0


def _judge(part: str, check: Check) -> None:
    with open(part, "rb") as file:
        check(file)


def _check_room(part: str, wanted: int) -> None:
    folder = os.path.dirname(part)
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if wanted + SPARE_BYTES > free:
        raise RefusedError(
            f"no room: {wanted >> 20} MiB to fetch, {free >> 20} MiB free in {folder}"
        )
