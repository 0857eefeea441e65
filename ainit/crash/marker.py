"""The mark of a boot that is not over: written at its start, removed at its orderly end.

A mark that the next boot finds was left by a machine that lost power, was reset, or hung.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from ..linux import files
from ..wire.codec import dumps, loads

BYTES = 4096


@dataclass(frozen=True, slots=True)
class Marker:
    """``time``: seconds since 1970 at which it was written."""

    boot_id: str
    time: float
    kernel: str


def read(path: str) -> Marker | None:
    """The mark at ``path``; None when there is none. A damaged one says no more than that it is
    there. Raises OSError."""
    try:
        with open(path, "rb") as file:
            data, changed = file.read(BYTES), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        record = loads(data)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        boot_id, time, kernel = (record.get(name) for name in ("boot_id", "time", "kernel"))
        if isinstance(boot_id, str) and isinstance(time, int | float) and isinstance(kernel, str):
            return Marker(boot_id, float(time), kernel)
    return Marker("", changed, "")


def write(path: str, marker: Marker) -> None:
    """Leave the mark, so that it lasts. Raises OSError."""
    files.replace(path, dumps(asdict(marker)).encode("ascii"))


def remove(path: str) -> None:
    """Take the mark away, so that it stays away. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    files.sync_directory(os.path.dirname(path))
