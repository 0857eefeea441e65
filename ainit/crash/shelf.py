"""Where evidence is kept: a directory for each piece, complete or not there, the oldest thrown away
first.

shelf = Shelf("/var/lib/ainos/quarantine")
shelf.open()
shelf.add("speech-20261130T202603Z", {"log.txt": b"..."})
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence

from ..linux import files

_NEW, _OLD = ".new-", ".old-"


class Shelf:
    """The pieces in one directory. Everything raises OSError when the disk does."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def open(self) -> None:
        """Make the directory, and remove what a power cut left half done."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        for name in os.listdir(self._directory):
            if name.startswith((_NEW, _OLD)):
                shutil.rmtree(f"{self._directory}/{name}")

    def names(self) -> list[str]:
        """What there is, in no order; also what is no piece, if somebody put it there."""
        try:
            return os.listdir(self._directory)
        except FileNotFoundError:
            return []

    def has(self, name: str) -> bool:
        """Whether there is something of this name."""
        return os.path.lexists(f"{self._directory}/{name}")

    def files(self, name: str) -> list[str]:
        """The files of a piece, by name."""
        return sorted(os.listdir(f"{self._directory}/{name}"))

    def read(self, name: str, file: str, limit: int) -> bytes:
        """The last ``limit`` bytes of one file of a piece; nothing when it has no such file."""
        try:
            with open(f"{self._directory}/{name}/{file}", "rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                return os.pread(opened.fileno(), limit, max(size - limit, 0))
        except FileNotFoundError:
            return b""

    def add(self, name: str, contents: Mapping[str, bytes]) -> None:
        """Keep a piece, durably."""
        temporary = f"{self._directory}/{_NEW}{name}"
        os.mkdir(temporary, mode=0o700)
        try:
            for file, data in contents.items():
                files.replace(f"{temporary}/{file}", data, mode=0o600)
            os.rename(temporary, f"{self._directory}/{name}")
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        files.sync_directory(self._directory)

    def prune(self, names: Sequence[str], count: int, size: int, kept: Collection[str]) -> None:
        """Throw away those of ``names``, the newest first, that are beyond a number or a size in
        bytes, but for ``kept``.
        """
        total = 0
        for index, name in enumerate(names):
            total += self._size(name)
            if name not in kept and (index >= count or total > size):
                gone = f"{self._directory}/{_OLD}{name}"
                os.rename(f"{self._directory}/{name}", gone)
                shutil.rmtree(gone)

    def _size(self, name: str) -> int:
        with os.scandir(f"{self._directory}/{name}") as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
