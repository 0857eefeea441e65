"""The crashes that are kept, on a `Shelf` of their own.

archive = Archive("/var/lib/ainos/crash")
archive.open()
archive.add(crash, {"console.txt": b"..."})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..wire.codec import dumps, loads
from .record import Crash, is_id, make_id
from .shelf import Shelf

CRASHES = 16
BYTES = 8 << 20
RECORD = "record.json"
CONSOLE = "console.txt"
LOG = "log.txt"
_RECORD_BYTES = 256 << 10


class Archive:
    """The crashes in one directory. Everything raises OSError when the disk does."""

    def __init__(self, directory: str, crashes: int = CRASHES, size: int = BYTES) -> None:
        self._shelf = Shelf(directory)
        self._crashes = crashes
        self._bytes = size

    def open(self) -> None:
        """Make the directory, and remove what a power cut left half done."""
        self._shelf.open()

    def list(self) -> list[Crash]:
        """The crashes, the newest first. One whose record cannot be read is left out."""
        found = [self._load(name) for name in self._shelf.names() if is_id(name)]
        known = [crash for crash in found if crash is not None]
        return sorted(known, key=lambda crash: (crash.time, crash.id), reverse=True)

    def read(self, crash: str, name: str, limit: int) -> bytes:
        """The last ``limit`` bytes of one file of a crash; nothing when it has no such file."""
        return self._shelf.read(crash, name, limit) if is_id(crash) else b""

    def add(self, crash: Crash, contents: Mapping[str, bytes]) -> Crash:
        """Keep a crash, durably, under an ID that is free; returns it with that ID."""
        number = 1
        while self._shelf.has(crash.id):
            number += 1
            crash = replace(crash, id=make_id(crash.time, crash.boot_id, number))
        record = dumps(crash.to_file()).encode("ascii")
        self._shelf.add(crash.id, {**contents, RECORD: record})
        return crash

    def prune(self) -> None:
        """Throw away the oldest crashes beyond the number and the bytes; the newest stays."""
        names = sorted(filter(is_id, self._shelf.names()), reverse=True)  # it begins with its time
        self._shelf.prune(names, self._crashes, self._bytes, names[:1])

    def _load(self, name: str) -> Crash | None:
        try:
            crash = Crash.from_file(loads(self.read(name, RECORD, _RECORD_BYTES)))
        except (ValueError, RecursionError, NotADirectoryError):
            return None
        return replace(crash, id=name)
