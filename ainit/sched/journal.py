"""The GPU service's memory on disk: who holds what, and which changes are under way.

It lies on a tmpfs: instances do not outlive a boot, and neither does the journal. It is replaced as
a whole. The format is version 1, JSON:

    {"schema": 1, "assignments": [{"agent": …}], "pending": [{"agent": …, "step": "gpu-instance"}]}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any, TypeVar

from ..errors import ConfigError, Finding
from ..linux import files
from ..wire.codec import dumps, loads

SCHEMA = 1


class Step(Enum):
    """What is about to be done to a GPU instance."""

    GPU = "gpu-instance"
    COMPUTE = "compute-instance"
    VERIFY = "verify"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True)
class Assignment:
    """An instance and its holder. ``uuid`` is the MIG device's, ``size`` in memory slices."""

    agent: str
    uuid: str
    gpu_uuid: str
    gpu: int
    instance: int
    profile: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Change:
    """One change under way. ``instance`` is None until the driver has named it."""

    agent: str
    gpu_uuid: str
    gpu: int
    profile: str
    start: int
    step: Step
    instance: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """All that the journal holds."""

    assignments: tuple[Assignment, ...] = ()
    pending: tuple[Change, ...] = ()


class Journal:
    """The file. Its directory must be there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def load(self) -> Record:
        """What was saved last; empty when nothing was.

        Raises ConfigError when the file is not a journal: it is never overwritten then.
        """
        try:
            with open(self._path, "rb") as file:
                return _parse(loads(file.read()))
        except FileNotFoundError:
            return Record()
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError([Finding(self._path, 1, f"not a GPU journal: {error}")]) from error

    def save(self, record: Record) -> None:
        """Replace what was saved. Raises OSError; then the old record stands."""
        document = {
            "schema": SCHEMA,
            "assignments": [asdict(each) for each in record.assignments],
            "pending": [asdict(each) | {"step": each.step.value} for each in record.pending],
        }
        files.replace(self._path, (dumps(document) + "\n").encode(), 0o600)

    def set_aside(self) -> str:
        """Rename a file that is not a journal, for somebody to read; its new path."""
        aside = f"{self._path}.bad"
        os.replace(self._path, aside)
        return aside


def _parse(document: object) -> Record:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"schema {SCHEMA} expected")
    return Record(
        assignments=tuple(_fill(Assignment, each) for each in document["assignments"]),
        pending=tuple(
            _fill(Change, each | {"step": Step(each["step"])}) for each in document["pending"]
        ),
    )


_T = TypeVar("_T", Assignment, Change)

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "gpu": int,
    "instance": (int, type(None)),
    "start": int,
    "size": int,
    "step": Step,
}


def _fill(kind: type[_T], values: Mapping[str, Any]) -> _T:
    names = {field.name for field in fields(kind)}
    if set(values) != names:
        raise ValueError(f"a record has {', '.join(sorted(names))}")
    for name, value in values.items():
        if not isinstance(value, _TYPES.get(name, str)):
            raise ValueError(f"{name} is {value!r}")
    return kind(**values)
