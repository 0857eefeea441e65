"""The GPU service's memory on disk, replaced as a whole. What it holds is in ``records``.

The journal lies on a tmpfs: instances do not outlive a boot, and neither does it. The partition in
force is kept on the state partition, too, and made anew at the next boot. The journal's format is
version 2, JSON; version 1 is read, and had assignments and pending changes only:

    {"schema": 2, "assignments": [{"agent": …}], "pending": [{"agent": …, "step": "gpu-instance"}],
     "members": …, "partition": …, "barred": …, "transaction": null, "resume": [], "restart": [],
     "outcomes": [], "last": 0}

The partition's is version 1: ``{"schema": 1, "partition": [{"gpu_uuid": …, "profile": …, …}]}``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

from ..errors import ConfigError, Finding
from ..linux import files
from ..wire.codec import dumps, loads
from .records import (
    Assignment,
    Barred,
    Change,
    End,
    Member,
    Outcome,
    Phase,
    Record,
    Slot,
    Step,
    Transaction,
)

__all__ = ["SCHEMA", "Assignment", "Change", "Journal", "PartitionFile", "Record", "Step"]

SCHEMA = 2
PARTITION_SCHEMA = 1


class Journal:
    """The file. Its directory must be there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def load(self) -> Record:
        """What was saved last; empty when nothing was.

        Raises ConfigError when the file is not a journal: it is never overwritten then.
        """
        return _load(self._path, "a GPU journal", _parse, Record())

    def save(self, record: Record) -> None:
        """Replace what was saved. Raises OSError; then the old record stands."""
        document = {"schema": SCHEMA, **_plain(record)}
        files.replace(self._path, (dumps(document) + "\n").encode(), 0o600)

    def set_aside(self) -> str:
        """Rename a file that is not a journal, for somebody to read; its new path."""
        aside = f"{self._path}.bad"
        os.replace(self._path, aside)
        return aside


class PartitionFile:
    """The partition in force, where it outlives a boot. Its directory must be there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def load(self) -> tuple[Slot, ...]:
        """The partition; empty when none was kept. Raises ConfigError for anything else."""
        return _load(self._path, "a GPU partition", _parse_partition, ())

    def save(self, partition: tuple[Slot, ...]) -> None:
        """Keep it. Raises OSError; then the old one stands."""
        slots = [_plain(slot) for slot in partition]
        document = {"schema": PARTITION_SCHEMA, "partition": slots}
        files.replace(self._path, (dumps(document) + "\n").encode(), 0o600)


_Any = TypeVar("_Any")


def _load(path: str, what: str, parse: Callable[[object], _Any], nothing: _Any) -> _Any:
    try:
        with open(path, "rb") as file:
            return parse(loads(file.read()))
    except FileNotFoundError:
        return nothing
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError([Finding(path, 1, f"not {what}: {error}")]) from error


def _plain(value: Any) -> Any:
    """A value as JSON has it: records are objects, enumerations their values."""
    match value:
        case None | str() | int() | float():
            return value
        case tuple():
            return [_plain(each) for each in value]
        case Enum():
            return value.value
    return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}


def _parse_partition(document: object) -> tuple[Slot, ...]:
    if not isinstance(document, dict) or document.get("schema") != PARTITION_SCHEMA:
        raise ValueError(f"schema {PARTITION_SCHEMA} expected")
    return _many(Slot, document["partition"])


def _parse(document: object) -> Record:
    if not isinstance(document, dict):
        raise ValueError("an object expected")
    schema = document.get("schema")
    if schema == 1:
        return Record(
            assignments=_many(Assignment, document["assignments"]),
            pending=_many(Change, document["pending"]),
        )
    if schema != SCHEMA:
        raise ValueError(f"schema {SCHEMA} or 1 expected")
    transaction = document["transaction"]
    return Record(
        assignments=_many(Assignment, document["assignments"]),
        pending=_many(Change, document["pending"]),
        members=_many(Member, document["members"]),
        partition=_many(Slot, document["partition"]),
        barred=_many(Barred, document["barred"]),
        transaction=None if transaction is None else _fill(Transaction, transaction),
        resume=_texts(document["resume"]),
        restart=_texts(document["restart"]),
        outcomes=_many(Outcome, document["outcomes"]),
        last=_number(document["last"]),
    )


def _many(kind: type[_T], values: Any) -> tuple[_T, ...]:
    if not isinstance(values, list):
        raise ValueError(f"a list expected, not {values!r}")
    return tuple(_fill(kind, each) for each in values)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise ValueError(f"a list of names expected, not {values!r}")
    return tuple(values)


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list):
        raise ValueError(f"a list expected, not {values!r}")
    return tuple(_number(each) for each in values)


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"a number expected, not {value!r}")
    return value


_T = TypeVar("_T", Assignment, Barred, Change, Member, Outcome, Slot, Transaction)

# How a field is read that is not plain text, and what a journal of version 1 leaves out.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "step": Step,
    "phase": Phase,
    "end": End,
    "gpus": _texts,
    "drain": _texts,
    "stopped": _texts,
    "known": lambda values: None if values is None else _numbers(values),
    "target": lambda values: _many(Slot, values),
    "missing": lambda values: _many(Slot, values),
    "foreign": lambda values: _many(Member, values),
}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "gpu": int,
    "instance": (int, type(None)),
    "start": int,
    "size": int,
    "number": int,
    "tries": int,
    "due": (int, float),
    "since": (int, float),
    "until": (int, float),
    "time": (int, float),
}
_LATER = frozenset(("known", "tries", "due"))


def _fill(kind: type[_T], values: Mapping[str, Any]) -> _T:
    names = {field.name for field in fields(kind)}
    optional = _LATER if kind is Change else frozenset()
    if not names - optional <= set(values) <= names:
        raise ValueError(f"a record has {', '.join(sorted(names))}")
    found = {}
    for name, value in values.items():
        if name in _READERS:
            found[name] = _READERS[name](value)
        elif isinstance(value, _TYPES.get(name, str)):
            found[name] = value
        else:
            raise ValueError(f"{name} is {value!r}")
    return kind(**found)
