"""The kernel's last words out of their pieces (admin-guide/ramoops.rst, fs/pstore). PURE.

A dump is written from its end: part 1 holds the last lines, and begins with ``Panic#1 Part1``. A
backend such as EFI variables has many small parts in no order; a battery of reserved memory has one
large one, and the console beside it. The content may be anything: firmware is not trusted to have
kept it.

>>> name = "dmesg-efi_pstore-170000000001001"
>>> assemble([File(name, 1700000000.0, b"Panic#1 Part1\\n<6>[    1.0] last\\n")])[0].text
'[    1.0] last\\n'
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Parts of one dump are written within this time, and so are the dumps of one crash.
TOGETHER_S = 60.0
CONSOLE = "Console"
UNREADABLE = "Unreadable"

_NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<backend>\w+)-(?P<id>\d+)(?P<packed>\.enc\.z)?", re.ASCII)
_HEADER = re.compile(rb"([A-Za-z]+)#(\d+) Part(\d+)\n")
_LEVEL = re.compile(r"^<\d{1,3}>", re.MULTILINE)
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
_EFI = "efi"


@dataclass(frozen=True, slots=True)
class File:
    """One file of pstore; ``time`` is its modification time, when the record was written."""

    name: str
    time: float
    data: bytes

    @property
    def source(self) -> str:
        """What tells this content under this name from all others."""
        return f"{self.name}:{hashlib.sha256(self.data).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Dump:
    """One dump of the kernel's log: ``reason`` is the kernel's own word such as ``Panic``.

    ``missing`` are the numbers of parts that are not there, or could not be unpacked; ``unread``
    are the files whose content is no text.
    """

    reason: str
    time: float
    text: str
    missing: tuple[int, ...]
    files: tuple[File, ...]
    unread: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    file: File
    group: tuple[str, int]  # backend, number of the dump
    reason: str
    number: int
    time: float
    text: str | None


def assemble(files: Iterable[File]) -> list[Dump]:
    """The dumps that the files hold, the oldest first. Every file is in exactly one of them."""
    parts: dict[tuple[str, int], list[_Part]] = {}
    others = []
    for file in files:
        part = _part(file)
        if part is None:
            others.append(file)
        else:
            parts.setdefault(part.group, []).append(part)
    dumps = [_dump(run) for group in parts.values() for run in _runs(group)]
    dumps += [_other(file) for file in others]
    return sorted(dumps, key=lambda dump: (dump.time, dump.reason, dump.files[0].name))


def together(dumps: Sequence[Dump]) -> list[list[Dump]]:
    """Dumps, the oldest first, as crashes: an oops and the panic that it leads to are one."""
    crashes: list[list[Dump]] = []
    for dump in dumps:
        if crashes and dump.time - crashes[-1][-1].time <= TOGETHER_S:
            crashes[-1].append(dump)
        else:
            crashes.append([dump])
    return crashes


def join(dumps: Sequence[Dump]) -> str:
    """The log that several dumps of one crash show, the oldest first; each line once.

    What nobody knows how to read takes no part unless there is nothing else.
    """
    spoken = [dump for dump in dumps if dump.text and dump.reason != UNREADABLE]
    lines: list[str] = []
    for dump in spoken or [dump for dump in dumps if dump.text]:
        new = dump.text.splitlines()
        last = lines[-1] if lines else None
        if last is not None and last in new:
            new = new[len(new) - new[::-1].index(last) :]
        elif last is not None:
            new = ["[…]", *new]
        lines += new
    return "".join(f"{line}\n" for line in lines)


def is_console(file: File) -> bool:
    """Whether a file is a copy of the console, which says nothing on how the boot ended."""
    return file.name.startswith("console-")


def readable(data: bytes) -> str:
    """Bytes of a log as text: levels removed, control characters spelt out."""
    text = data.decode("utf-8", "replace").translate(_VISIBLE)
    return _LEVEL.sub("", text)


def _part(file: File) -> _Part | None:
    name = _NAME.fullmatch(file.name)
    if name is None or name["kind"] != "dmesg":
        return None
    backend, identity = name["backend"], int(name["id"])
    header = None if name["packed"] else _HEADER.match(file.data)
    if header is not None:
        body = readable(file.data[header.end() :])
        reason, count, number = header[1].decode(), int(header[2]), int(header[3])
        return _Part(file, (backend, count), reason, number, file.time, body)
    if backend.startswith(_EFI):  # the record could not be unpacked, but its name tells its place
        time, part, count = identity // 100_000, identity // 1000 % 100, identity % 1000
        return _Part(file, (backend, count), "", part, file.time or float(time), None)
    return None


def _runs(parts: list[_Part]) -> list[list[_Part]]:
    """The parts of one dump each. Dumps of different boots may have the same number: numbers that
    start again, or a gap in time, tell them apart."""
    ordered = sorted(parts, key=lambda part: (part.time, part.number, part.file.name))
    runs = [ordered[:1]]
    for before, part in pairwise(ordered):
        if part.number <= before.number or part.time - before.time > TOGETHER_S:
            runs.append([])
        runs[-1].append(part)
    return runs


def _dump(parts: list[_Part]) -> Dump:
    text = ""
    readable_ = {part.number: part.text for part in parts if part.text is not None}
    # A hostile number must not make the list of missing parts endless.
    highest = min(parts[-1].number, 10 * len(parts) + 100)
    missing = tuple(number for number in range(1, highest + 1) if number not in readable_)
    gap = False
    for part in reversed(parts):
        if part.text is None:
            gap = True
            continue
        if gap or (text and part.number + 1 not in readable_):
            text += "[…]\n"
        text += part.text if part.text.endswith("\n") or not part.text else part.text + "\n"
        gap = False
    reason = next((part.reason for part in parts if part.reason), UNREADABLE)
    unread = tuple(part.file for part in parts if part.text is None)
    files = tuple(part.file for part in parts)
    return Dump(reason, parts[0].time, text, missing, files, unread)


def _other(file: File) -> Dump:
    name = _NAME.fullmatch(file.name)
    if name is not None and name["packed"]:
        return Dump(UNREADABLE, file.time, "", (1,), (file,), (file,))
    if is_console(file):
        return Dump(CONSOLE, file.time, readable(file.data), (), (file,))
    return Dump(UNREADABLE, file.time, readable(file.data), (), (file,), (file,))
