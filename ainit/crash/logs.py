"""The last lines of a boot, out of the files that the log service left (``UNIT.jsonl``).

A line is a record; a mark behind each batch names the boot that the records before it belong to.
The files are read as they are found, after a power cut: what is torn is left out.

>>> data = b'{"time":4.5,"text":"hello"}\\n{"boot":"b1","cursor":1}\\n'
>>> of_boot(data, "b1")
[(4.5, 'hello')]
"""

from __future__ import annotations

import os
import re
import stat

from ..wire.codec import loads

# Bounds of what is read, the files written last first, and of what is kept.
FILES, FILE_BYTES = 64, 64 << 10
KEPT_BYTES = 128 << 10

_NAME = re.compile(r"(?P<unit>.+?)(?:\.\d+)?\.jsonl", re.DOTALL)
VISIBLE = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}


def last_lines(directory: str, boot_id: str) -> bytes:
    """The last lines of a boot, in order of time, as ``ainitctl logs`` shows them.

    With an empty ``boot_id``, of the last boot that each file knows.
    """
    found: list[tuple[float, str, str]] = []
    for path, _ in _files(directory)[-FILES:]:
        name = _NAME.fullmatch(os.path.basename(path))
        data = read_end(path, FILE_BYTES)
        if name is not None and data is not None:
            found += [(time, name["unit"], text) for time, text in of_boot(data, boot_id)]
    found.sort(key=lambda line: line[0])
    lines: list[bytes] = []
    room = KEPT_BYTES
    for time, unit, text in reversed(found):
        line = f"[{time:12.6f}] {unit}: {text.translate(VISIBLE)}\n".encode("utf-8", "replace")
        room -= len(line)
        if room < 0:
            break
        lines.append(line)
    return b"".join(reversed(lines))


def last_change(directory: str) -> float:
    """When a log was last written, in seconds since 1970; 0 when there is none."""
    return max((changed for _, changed in _files(directory)), default=0.0)


def of_boot(data: bytes, boot_id: str) -> list[tuple[float, str]]:
    """Time and text of each record of a boot. What no mark follows was torn by the end of the boot
    that wrote last, which is the one that is asked for: each start cuts such an end off.
    """
    batches: list[tuple[str | None, list[tuple[float, str]]]] = []
    pending: list[tuple[float, str]] = []
    for line in data.splitlines():
        try:
            record = loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict):
            continue
        boot, time, text = record.get("boot"), record.get("time"), record.get("text")
        if isinstance(boot, str):
            batches.append((boot, pending))
            pending = []
        elif isinstance(time, float | int) and isinstance(text, str):
            pending.append((min(max(float(time), 0.0), 1e9), text))
    wanted = boot_id or (batches[-1][0] if batches else None)
    batches.append((wanted, pending))
    return [record for boot, records in batches if boot == wanted for record in records]


def read_end(path: str, limit: int) -> bytes | None:
    """The last ``limit`` bytes of a file; None, and a word about it, when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, limit, max(size - limit, 0))
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"{path} cannot be read: {error.strerror}", flush=True)
        return None


def regular_files(directory: str) -> list[tuple[str, float]]:
    """Path and modification time of each regular file in a directory, by name. Nothing when there
    is no such directory."""
    found: list[tuple[str, float]] = []
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return found
    for name in names:
        try:
            status = os.lstat(f"{directory}/{name}")
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found.append((f"{directory}/{name}", status.st_mtime))
    return found


def _files(directory: str) -> list[tuple[str, float]]:
    found = [
        each for each in regular_files(directory) if _NAME.fullmatch(os.path.basename(each[0]))
    ]
    return sorted(found, key=lambda each: each[1])
