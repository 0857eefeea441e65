"""The files: one series a unit, rotated by size, bounded in sum, exact over crashes.

``UNIT.jsonl`` is the one that is written, ``UNIT.1.jsonl`` the one before it, and so on. A line is
a record without its unit's name; every batch of records ends with a *mark*, the boot that they
belong to and the cursor behind them::

    {"time":4.25,"text":"2 GPUs, emulated","priority":6,"source":"unit","fields":null}
    {"boot":"6f1c…","cursor":18}

Records and mark go out in one write(2). Whoever starts over cuts off what is behind the last mark
and goes on from its cursor, so that a line is neither lost nor there twice. Leaves out: what is
written when, and what becomes of an error, see ``writer``.

>>> files = Files("/var/lib/ainos/log", boot)                        # doctest: +SKIP
>>> files.append("gpu", [{"time": 4.25, "text": "ready"}], cursor=6)  # doctest: +SKIP
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from errno import ENOSPC
from pathlib import Path

from ..linux.files import sync_directory
from ..wire.codec import dumps, loads

FILE_BYTES = 1 << 20
FILES = 4  # a unit's
TOTAL_BYTES = 256 << 20
SUFFIX = ".jsonl"
MARK = b'{"boot":'

Record = Mapping[str, object]


def series(directory: Path, unit: str) -> list[Path]:
    """The files of a unit that may be there, the youngest first."""
    names = [f"{unit}{SUFFIX}", *(f"{unit}.{number}{SUFFIX}" for number in range(1, FILES))]
    return [directory / name for name in names]


def units(directory: Path) -> list[str]:
    """The units that have files, by name."""
    return sorted({path.name.split(".")[0] for path in directory.glob(f"*{SUFFIX}")})


def mark_of(line: bytes) -> tuple[str, int] | None:
    """Boot and cursor of a mark; None for any other line."""
    if not line.startswith(MARK):
        return None
    try:
        value = loads(line)
    except ValueError:
        return None
    match value:
        case {"boot": str(boot), "cursor": int(cursor)}:
            return boot, cursor
    return None


class Files:
    """Writes the files of one boot. ``bytes`` is what all files take; whoever reads several files
    of a unit holds ``rotating``, or finds a line twice.
    """

    def __init__(
        self,
        directory: str,
        boot: str,
        *,
        file_bytes: int = FILE_BYTES,
        total_bytes: int = TOTAL_BYTES,
    ) -> None:
        self.directory = Path(directory)
        self.boot = boot
        self._file_bytes = file_bytes
        self._total_bytes = total_bytes
        self._unsynced: set[Path] = set()
        self._renamed = False
        self.rotating = threading.Lock()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.bytes = sum(path.stat().st_size for path in self.directory.glob(f"*{SUFFIX}"))

    def recover(self) -> dict[str, int]:
        """Cut off what no mark covers; returns the cursors of this boot. Raises OSError."""
        cursors = {}
        for unit in units(self.directory):
            for path in series(self.directory, unit):
                boot, cursor = self._recover(path)
                if boot:
                    if boot == self.boot:
                        cursors[unit] = cursor
                    break
        return cursors

    def append(self, unit: str, records: Iterable[Record], cursor: int) -> None:
        """Write ``records`` and the cursor behind them, as a whole or not at all. Raises OSError,
        and ValueError for a name that is none.
        """
        if not unit or unit.startswith(".") or "/" in unit:
            raise ValueError(f"{unit!r} is no unit's name")
        lines = [_line(record) for record in records]
        data = "".join((*lines, dumps({"boot": self.boot, "cursor": cursor}), "\n")).encode()
        path = series(self.directory, unit)[0]
        size = _size(path)
        if size and size + len(data) > self._file_bytes:
            with self.rotating:
                self._rotate(unit)
            size = 0
        self._make_room(len(data), path)
        self._write(path, size, data)
        self.bytes += len(data)
        self._unsynced.add(path)

    @property
    def is_synced(self) -> bool:
        """Whether everything is on the disk."""
        return not self._unsynced and not self._renamed

    def sync(self) -> None:
        """Bring everything to the disk. Raises OSError."""
        for path in sorted(self._unsynced):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # removed to make room
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._unsynced.clear()
        sync_directory(str(self.directory))
        self._renamed = False

    def _write(self, path: Path, size: int, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            try:
                if os.write(descriptor, data) != len(data):
                    raise OSError(ENOSPC, os.strerror(ENOSPC), str(path))
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def _rotate(self, unit: str) -> None:
        paths = series(self.directory, unit)
        self._remove(paths[-1])
        for older, younger in zip(reversed(paths), list(reversed(paths))[1:], strict=False):
            if younger.exists():
                younger.rename(older)
                if younger in self._unsynced:
                    self._unsynced.discard(younger)
                    self._unsynced.add(older)
        self._renamed = True

    def _make_room(self, size: int, keep: Path) -> None:
        """Remove the files that were not written to for longest, until ``size`` fits."""
        if self.bytes + size <= self._total_bytes:
            return
        paths = [path for path in self.directory.glob(f"*{SUFFIX}") if path != keep]
        for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
            if self.bytes + size <= self._total_bytes:
                return
            self._remove(path)

    def _remove(self, path: Path) -> None:
        size = _size(path)
        path.unlink(missing_ok=True)
        self.bytes -= size
        self._unsynced.discard(path)

    def _recover(self, path: Path) -> tuple[str, int]:
        """The last mark of a file, behind which nothing is left; an empty boot when it has none."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return "", 0
        end = len(data)
        while end:
            start = max(data.rfind(b"\n" + MARK, 0, end) + 1, 0)
            stop = data.find(b"\n", start) + 1
            mark = mark_of(data[start:stop])
            if mark is not None and stop:
                self._cut(path, len(data), stop)
                return mark
            end = start
        self._cut(path, len(data), 0)
        return "", 0

    def _cut(self, path: Path, size: int, wanted: int) -> None:
        if wanted < size:
            os.truncate(path, wanted)
            self.bytes -= size - wanted


def _line(record: Record) -> str:
    return dumps({key: value for key, value in record.items() if key != "unit"}) + "\n"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
