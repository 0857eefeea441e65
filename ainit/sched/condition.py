"""The health of GPUs as records, and the file that keeps them while the machine is up.

The file lies on a tmpfs: a reboot forgets every cordon, and what the boards remember is read from
them again. It is replaced as a whole. The format is version 1, JSON:

    {"schema": 1, "gpus": [{"uuid": "GPU-…", "cordons": [{"cause": "xid", …}], …}]}

What follows from what is decided in ``health``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from ..errors import ConfigError, Finding
from ..linux import files
from ..wire.codec import dumps, loads

SCHEMA = 1


class Cause(Enum):
    """Why a GPU is cordoned."""

    OPERATOR = "operator"
    XID = "xid"
    ERRORS = "memory-errors"
    REMAP = "remap-failed"
    RETIRED = "retired-pages"
    RECOVERY = "recovery-action"
    HEAT = "heat"
    LOST = "lost"


class Lift(Enum):
    """What ends a cordon, besides an operator and a reboot, which end every one."""

    OPERATOR = "operator"
    RESET = "reset"
    REBOOT = "reboot"
    ITSELF = "itself"


@dataclass(frozen=True, slots=True)
class Cordon:
    """One reason to place nothing new. ``at`` in seconds since boot."""

    cause: Cause
    reason: str
    at: float
    lift: Lift
    moves: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """An Xid. ``instance`` is the GPU instance that it is of, None for the whole GPU."""

    code: int
    instance: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of one GPU's health, to be kept for as long as the machine is up.

    ``index``, ``name`` and ``bus`` are the last that were read. ``uncorrected`` and ``aggregate``
    are the counts that were judged, ``suspect_at`` when one had grown without a reason.
    ``accepted`` are causes on which an operator has had the last word.
    """

    uuid: str
    index: int = -1
    name: str = ""
    bus: str = ""
    cordons: tuple[Cordon, ...] = ()
    xids: tuple[Heard, ...] = ()
    uncorrected: int = 0
    aggregate: int | None = None
    suspect_at: float | None = None
    hot_at: float | None = None
    accepted: tuple[Cause, ...] = ()

    @property
    def is_cordoned(self) -> bool:
        """Whether nothing new may be placed."""
        return bool(self.cordons)

    @property
    def moves(self) -> bool:
        """Whether holders are to be started elsewhere."""
        return any(cordon.moves for cordon in self.cordons)

    @property
    def is_lost(self) -> bool:
        """Whether the GPU is gone."""
        return any(cordon.cause is Cause.LOST for cordon in self.cordons)

    @property
    def reason(self) -> str:
        """Why it is cordoned, in words; "" when it is not."""
        return "; ".join(cordon.reason for cordon in self.cordons)


class Store:
    """The file. Its directory must be there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def load(self) -> dict[str, Condition]:
        """What was saved last, by UUID; empty when nothing was.

        Raises ConfigError when the file holds something else: it is never overwritten then.
        """
        try:
            with open(self._path, "rb") as file:
                return _parse(loads(file.read()))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError) as error:
            message = f"not a record of the health of GPUs: {error}"
            raise ConfigError([Finding(self._path, 1, message)]) from error

    def save(self, conditions: Iterable[Condition]) -> None:
        """Replace what was saved. Raises OSError; then the old file stands."""
        document = {"schema": SCHEMA, "gpus": [_plain(asdict(each)) for each in conditions]}
        files.replace(self._path, (dumps(document) + "\n").encode(), 0o600)

    def set_aside(self) -> str:
        """Rename a file that holds something else, for somebody to read; its new path."""
        aside = f"{self._path}.bad"
        os.replace(self._path, aside)
        return aside


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _parse(document: object) -> dict[str, Condition]:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"schema {SCHEMA} expected")
    found = [_condition(each) for each in document["gpus"]]
    return {each.uuid: each for each in found}


def _condition(values: Mapping[str, Any]) -> Condition:
    named = dict(values)
    named["cordons"] = tuple(_cordon(each) for each in values["cordons"])
    named["xids"] = tuple(_filled(Heard, each) for each in values["xids"])
    named["accepted"] = tuple(Cause(each) for each in values["accepted"])
    condition: Condition = _filled(Condition, named)
    return condition


def _cordon(values: Mapping[str, Any]) -> Cordon:
    named = {**values, "cause": Cause(values["cause"]), "lift": Lift(values["lift"])}
    cordon: Cordon = _filled(Cordon, named)
    return cordon


_NUMBER = (int, float)
_NONE = type(None)
# What each field holds, whatever record it is in; a name that is missing here is text.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "index": (int,),
    "cordons": (tuple,),
    "xids": (tuple,),
    "accepted": (tuple,),
    "uncorrected": (int,),
    "aggregate": (int, _NONE),
    "suspect_at": (*_NUMBER, _NONE),
    "hot_at": (*_NUMBER, _NONE),
    "at": _NUMBER,
    "moves": (bool,),
    "cause": (Cause,),
    "lift": (Lift,),
    "code": (int,),
    "instance": (int, _NONE),
}


def _filled(kind: type[Any], values: Mapping[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    if set(values) != names:
        raise ValueError(f"{kind.__name__.lower()} has {', '.join(sorted(names))}")
    for name, value in values.items():
        if not isinstance(value, _TYPES.get(name, (str,))):
            raise ValueError(f"{name} is {value!r}")
    return kind(**values)
