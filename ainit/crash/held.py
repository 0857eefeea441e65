"""The evidence of units in quarantine that is kept, as ``org.ainos.Crash`` tells of it.

A piece is called after its unit and its time: ``speech-20261130T202603Z``.

>>> unit_of("speech-20261130T202603Z-2")
'speech'
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from ..wire.codec import dumps, loads
from .archive import RECORD
from .record import Crash
from .shelf import Shelf

KIND = "quarantine"
PIECES = 16
BYTES = 64 << 20
_ID = re.compile(r"([a-z0-9][a-z0-9.@_-]{0,63})-(\d{8}T\d{6}Z(?:-\d{1,3})?)", re.ASCII)
_RECORD_BYTES = 64 << 10


def unit_of(piece: str) -> str:
    """The unit that a piece is of; empty for what is no piece's name."""
    found = _ID.fullmatch(piece)
    return found[1] if found else ""


def _when(piece: str) -> str:
    found = _ID.fullmatch(piece)
    return found[2] if found else ""


class Held:
    """The pieces in one directory. Everything raises OSError when the disk does."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._shelf = Shelf(directory)

    def pieces(self) -> list[Crash]:
        """The pieces as crashes, in no order. One whose record cannot be read is left out."""
        found = (self._load(name) for name in self._shelf.names() if unit_of(name))
        return [piece for piece in found if piece is not None]

    def files(self, piece: str) -> list[str]:
        """The files of a piece."""
        return self._shelf.files(piece) if unit_of(piece) and self._shelf.has(piece) else []

    def read(self, piece: str, file: str, limit: int) -> bytes:
        """The last ``limit`` bytes of a file of a piece; nothing when it has no such file."""
        return self._shelf.read(piece, file, limit) if file in self.files(piece) else b""

    def add(self, piece: Crash, contents: Mapping[str, bytes], held: Collection[str]) -> None:
        """Keep a piece, durably, and throw away the oldest but those of units in ``held``. One that
        is there already stays: PID 1 began anew before it knew.
        """
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with self._alone():
            self._shelf.open()
            record = dumps(piece.to_file()).encode("ascii")
            if not self._shelf.has(piece.id):
                self._shelf.add(piece.id, {**contents, RECORD: record})
            names = sorted(filter(unit_of, self._shelf.names()), key=_when, reverse=True)
            kept = [name for name in names if name == piece.id or unit_of(name) in held]
            self._shelf.prune(names, PIECES, BYTES, kept)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Several units may be put in quarantine at once; what one half has, another would remove
        as a power cut's.
        """
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _load(self, name: str) -> Crash | None:
        try:
            return Crash.from_file(loads(self._shelf.read(name, RECORD, _RECORD_BYTES)))
        except (ValueError, RecursionError, NotADirectoryError):
            return None
