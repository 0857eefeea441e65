"""Where crashes are kept: a directory each, complete or not there, the oldest thrown away first.

archive = Archive("/var/lib/ainos/crash")
archive.open()
archive.add(crash, {"console.txt": b"..."})
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace

from ..linux import files
from ..wire.codec import dumps, loads
from .record import Crash, is_id, make_id

CRASHES = 16
BYTES = 8 << 20
RECORD = "record.json"
CONSOLE = "console.txt"
LOG = "log.txt"
_RECORD_BYTES = 256 << 10
_NEW, _OLD = ".new-", ".old-"


class Archive:
    """The crashes in one directory. Everything raises OSError when the disk does."""

    def __init__(self, directory: str, crashes: int = CRASHES, size: int = BYTES) -> None:
        self._directory = directory
        self._crashes = crashes
        self._bytes = size

    def open(self) -> None:
        """Make the directory, and remove what a power cut left half done."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        for name in os.listdir(self._directory):
            if name.startswith((_NEW, _OLD)):
                shutil.rmtree(f"{self._directory}/{name}")

    def list(self) -> list[Crash]:
        """The crashes, the newest first. One whose record cannot be read is left out."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        found = [self._load(name) for name in names if is_id(name)]
        known = [crash for crash in found if crash is not None]
        return sorted(known, key=lambda crash: (crash.time, crash.id), reverse=True)

    def read(self, crash: str, name: str, limit: int) -> bytes:
        """The last ``limit`` bytes of one file of a crash; nothing when it has no such file."""
        if not is_id(crash):
            return b""
        try:
            with open(f"{self._directory}/{crash}/{name}", "rb") as file:
                size = os.fstat(file.fileno()).st_size
                return os.pread(file.fileno(), limit, max(size - limit, 0))
        except FileNotFoundError:
            return b""

    def add(self, crash: Crash, contents: Mapping[str, bytes]) -> Crash:
        """Keep a crash, durably, under an ID that is free; returns it with that ID."""
        number = 1
        while os.path.lexists(f"{self._directory}/{crash.id}"):
            number += 1
            crash = replace(crash, id=make_id(crash.time, crash.boot_id, number))
        temporary = f"{self._directory}/{_NEW}{crash.id}"
        os.mkdir(temporary, mode=0o700)
        try:
            record = dumps(crash.to_file()).encode("ascii")
            for name, data in {**contents, RECORD: record}.items():
                files.replace(f"{temporary}/{name}", data, mode=0o600)
            os.rename(temporary, f"{self._directory}/{crash.id}")
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        files.sync_directory(self._directory)
        return crash

    def prune(self) -> None:
        """Throw away the oldest crashes beyond the number and the bytes; the newest stays."""
        names = [name for name in os.listdir(self._directory) if is_id(name)]
        total = 0
        for index, name in enumerate(sorted(names, reverse=True)):  # an ID begins with its time
            total += self._size(name)
            if index and (index >= self._crashes or total > self._bytes):
                gone = f"{self._directory}/{_OLD}{name}"
                os.rename(f"{self._directory}/{name}", gone)
                shutil.rmtree(gone)

    def _size(self, name: str) -> int:
        with os.scandir(f"{self._directory}/{name}") as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)

    def _load(self, name: str) -> Crash | None:
        try:
            crash = Crash.from_file(loads(self.read(name, RECORD, _RECORD_BYTES)))
        except (ValueError, RecursionError, NotADirectoryError):
            return None
        return replace(crash, id=name)
