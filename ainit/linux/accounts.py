"""What a group uses, out of the files of cgroup v2: processor, memory, processes, disks, stalls.

Leaves out limits: see ``cgroup``.

>>> NOTHING["cpu_usec"] is None
True
"""

from __future__ import annotations

import errno
import os

from ..policy import resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Times in microseconds, sizes in bytes, pressure in per cent of the last ten seconds. None is
    # what the kernel does not account for.
    Account = dict[str, int | float | None]

NOTHING: Account = dict.fromkeys(
    (
        "cpu_usec",
        "memory_bytes",
        "memory_peak_bytes",
        "pids",
        "io_read_bytes",
        "io_write_bytes",
        "oom_kills",
        "cpu_pressure",
        "memory_pressure",
        "io_pressure",
    )
)
_NUMBERS = (
    ("memory_bytes", "memory.current"),
    ("memory_peak_bytes", "memory.peak"),
    ("pids", "pids.current"),
)
_PRESSURES = (
    ("cpu_pressure", "cpu.pressure"),
    ("memory_pressure", "memory.pressure"),
    ("io_pressure", "io.pressure"),
)
_MISSING = (errno.ENOENT, errno.EOPNOTSUPP)
_GONE = (errno.ENOENT, errno.ENODEV)
_PAGE = 4096
_PAGES = 16  # of io.stat, which has a line a disk


def text(path: str, directory: int | None = None) -> str | None:
    """The content of a file of the kernel's, at most 64 KiB; None when it cannot be read."""
    try:
        return _read(path, directory)
    except OSError:
        return None


def unless_gone(path: str) -> str:
    """The same, but empty only when the group is gone. Raises OSError when that is not known."""
    try:
        return _read(path, None)
    except OSError as error:
        if error.errno in _GONE:
            return ""
        raise


def _read(path: str, directory: int | None) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        data = os.read(descriptor, _PAGE)
        for _ in range(_PAGES if len(data) > _PAGE // 2 else 0):
            more = os.read(descriptor, _PAGE)
            if not more:
                break
            data += more
        return data.decode("ascii", "replace")
    finally:
        os.close(descriptor)


def number(content: str | None) -> int | None:
    """The number that a file holds; None for a file that holds none."""
    try:
        return None if content is None else int(content)
    except ValueError:
        return None


def read(group: int, absent: set[str]) -> Account:
    """The account of the group whose directory is open as ``group``.

    ``absent`` are names that groups do not have on this kernel; what turns out so is added, and is
    not looked for again.
    """
    account = dict(NOTHING)
    usage = text("cpu.stat", group)  # which every group has, while it is there
    if usage is None:
        return account
    account["cpu_usec"] = resources.flat(usage).get("usage_usec")
    for key, file in _NUMBERS:
        account[key] = number(_text(file, group, absent))
    stat = _text("io.stat", group, absent)
    if stat is not None:
        account["io_read_bytes"], account["io_write_bytes"] = resources.io_bytes(stat)
    events = _text("memory.events", group, absent)
    if events is not None:
        account["oom_kills"] = resources.flat(events).get("oom_kill", 0)
    for key, file in _PRESSURES:
        stalls = _text(file, group, absent)
        account[key] = None if stalls is None else resources.average(stalls)
    return account


def _text(file: str, group: int, absent: set[str]) -> str | None:
    if file in absent:
        return None
    try:
        return _read(file, group)
    except OSError as error:
        if error.errno in _MISSING and text("cpu.stat", group) is not None:  # the group is there
            absent.add(file)
        return None
