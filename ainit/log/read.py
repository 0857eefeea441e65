"""Looking through the files: the last lines that fit, of one boot.

>>> boots = Boots("/var/lib/ainos/log")                              # doctest: +SKIP
>>> last(Path("/var/lib/ainos/log"), Query(boots.find("previous"), count=50))   # doctest: +SKIP
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..linux.files import replace
from ..wire.codec import dumps, loads
from . import files

BOOTS = "boots.json"
BOOTS_KEPT = 100
TEXT_BYTES = 512 * 1024  # of one answer; as JSON a few times as much
DEBUG = 7

Record = dict[str, object]


@dataclass(frozen=True)
class Query:
    """What is looked for: lines of one boot, of ``unit`` or of all, not before ``since`` (seconds
    since that boot), as urgent as ``priority`` or more so; ``count`` of them at most, the last.
    """

    boot: str
    unit: str | None = None
    count: int = 100
    since: float = 0.0
    priority: int = DEBUG


def last(directory: Path, query: Query) -> list[Record]:
    """The lines, in order of time."""
    names = files.units(directory) if query.unit is None else [query.unit]
    found: list[Record] = []
    for unit in names:
        one = list(itertools.islice(_back(directory, unit, query), query.count))
        found += reversed(one)
        if len(found) > 4 * query.count:
            found = _last(found, query.count)
    return _last(found, query.count)


def _last(found: list[Record], count: int) -> list[Record]:
    found = sorted(found, key=_time)[-count:] if count else []
    size = 0
    for place in range(len(found) - 1, -1, -1):
        size += len(str(found[place].get("text")))
        if size > TEXT_BYTES:
            return found[place + 1 :]
    return found


def _time(record: Record) -> float:
    time = record.get("time")
    return float(time) if isinstance(time, int | float) else 0.0


def _back(directory: Path, unit: str, query: Query) -> Iterator[Record]:
    """The lines of a unit that fit, the last first."""
    seen = False
    for path in files.series(directory, unit):
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            continue
        boot = ""
        for line in reversed(lines):
            mark = files.mark_of(line)
            if mark is not None:
                boot = mark[0]
                if seen and boot != query.boot:
                    return  # boots lie one behind the other
                seen = seen or boot == query.boot
            elif boot == query.boot and (record := _record(line, unit)) is not None:
                if _time(record) < query.since:
                    return
                priority = record.get("priority")
                if isinstance(priority, int) and priority <= query.priority:
                    yield record


def _record(line: bytes, unit: str) -> Record | None:
    try:
        value = loads(line)
    except ValueError:
        return None
    return {"unit": unit, **value} if isinstance(value, dict) else None


@dataclass(frozen=True)
class Boot:
    """A boot: the kernel's name for it, and when it was, in seconds since 1970 as the machine knew
    it then.
    """

    id: str
    started: float


class Boots:
    """The boots that there is something of, the oldest first."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / BOOTS
        self.all: list[Boot] = []
        try:
            value = loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return  # without it, only names are lost
        entries = value.get("boots") if isinstance(value, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            match entry:
                case {"id": str(name), "started": float(started)}:
                    self.all.append(Boot(name, started))

    def enter(self, boot: Boot) -> None:
        """Note the boot that runs. Raises OSError."""
        self.all = [*(known for known in self.all if known.id != boot.id), boot][-BOOTS_KEPT:]
        record = [{"id": known.id, "started": known.started} for known in self.all]
        replace(str(self._path), dumps({"boots": record}).encode(), 0o600)

    def find(self, name: str | None) -> str | None:
        """The boot that ``name`` means: None or ``current``, ``previous``, or the beginning of one
        ID. None when there is no such boot, or more than one.
        """
        if name in (None, "current"):
            return self.all[-1].id if self.all else None
        if name == "previous":
            return self.all[-2].id if len(self.all) > 1 else None
        found = [boot.id for boot in self.all if name and boot.id.startswith(name)]
        return found[0] if len(found) == 1 else None
