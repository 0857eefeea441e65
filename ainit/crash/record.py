"""One crash as it is kept and told. PURE."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

SCHEMA = 1
BOOT_LETTERS = 8
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}(?:-\d{1,3})?", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{8}", re.ASCII)
_YEAR_2200 = 7258118400.0


@dataclass(frozen=True, slots=True)
class Crash:
    """``time``: seconds since 1970 at which it happened, as well as is known. ``boot_id`` and
    ``kernel`` are empty where they are not. ``faults``: those of PID 1 that the log shows.
    ``incomplete``: part of the log could not be read. ``sources``: what of pstore it was made from.
    """

    id: str
    kind: str
    time: float
    boot_id: str
    kernel: str
    cause: str
    faults: int = 0
    incomplete: bool = False
    sources: tuple[str, ...] = ()

    def to_record(self) -> dict[str, object]:
        """The form of ``org.ainos.Crash``."""
        return {key: value for key, value in asdict(self).items() if key != "sources"}

    def to_file(self) -> dict[str, object]:
        """The form of ``record.json``."""
        return {"schema": SCHEMA, **self.to_record(), "sources": list(self.sources)}

    @classmethod
    def from_file(cls, record: object) -> Crash:
        """Raises ValueError for what is no record of this version."""
        if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
            raise ValueError("no record of a crash, or one of another version")
        sources, time, faults = record.get("sources"), record.get("time"), record.get("faults")
        words = {name: record.get(name) for name in ("id", "kind", "boot_id", "kernel", "cause")}
        if (
            not isinstance(time, int | float)
            or not isinstance(faults, int)
            or not isinstance(sources, list)
            or not all(isinstance(word, str) for word in words.values())
        ):
            raise ValueError("a field is missing or of the wrong type")
        return cls(
            **{name: str(word) for name, word in words.items()},
            time=float(time),
            faults=faults,
            incomplete=record.get("incomplete") is True,
            sources=tuple(str(source) for source in sources),
        )


def is_id(text: str) -> bool:
    """Whether ``text`` can be a crash's ID: it becomes the name of a directory."""
    return _ID.fullmatch(text) is not None


def make_id(time: float, boot_id: str, number: int = 1) -> str:
    """The ID of a crash; ``number`` tells apart those of the same second and boot.

    >>> make_id(1700000000.0, "8f2a1c3e-0000-4000-8000-000000000000")
    '20231114T221320Z-8f2a1c3e'
    """
    when = datetime.fromtimestamp(min(max(time, 0.0), _YEAR_2200), UTC)
    prefix = boot_id[:BOOT_LETTERS]
    boot = prefix if _HEX.fullmatch(prefix) else "0" * BOOT_LETTERS
    return f"{when:%Y%m%dT%H%M%SZ}-{boot}" + (f"-{number}" if number > 1 else "")
