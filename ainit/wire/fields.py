"""The fields of a JSON document that somebody else wrote, each read as what it should be.

Numbers and bytes are as protocol buffers write them in JSON: decimal digits and base64, both in a
string. Everything raises ValueError in words for whoever wrote it. Leaves out: what fields mean.

>>> number(record({"logIndex": "7"}, "the entry", {"logIndex"}), "logIndex")
7
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping

from .codec import loads

Json = Mapping[str, object]

_NUMBER_DIGITS = 19  # up to 2^63
_SHOWN = 128  # characters


def shown(value: object) -> str:
    """What somebody wrote, for a message: on one line, and not longer than that.

    >>> shown("a\\n")
    'a\\\\n'
    """
    return ascii(str(value)[:_SHOWN])[1:-1]


def parsed(text: str | bytes, what: str) -> object:
    """The value of a JSON text."""
    try:
        return loads(text)
    except ValueError as error:
        raise ValueError(f"{what} is not JSON ({error})") from error


def record(value: object, what: str, known: Collection[str] | None = None) -> Json:
    """An object; with ``known`` it may have these keys only."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is missing or no object")
    for key in value:
        if known is not None and key not in known:
            raise ValueError(f"{what} has an unknown field {shown(key)}")
    return value


def array(source: Json, key: str, most: int) -> list[object]:
    """A list of so many items at most; empty when there is none."""
    value = source.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} is no list")
    if len(value) > most:
        raise ValueError(f"{key} holds more than {most} items")
    return value


def text(source: Json, key: str) -> str:
    """A string that is not empty."""
    value = source.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is missing or no text")
    return value


def number(source: Json, key: str) -> int:
    """A whole number, from 0."""
    value = text(source, key)
    if not (value.isascii() and value.isdigit() and len(value) <= _NUMBER_DIGITS):
        raise ValueError(f"{key} is no number")
    return int(value)


def content(source: Json, key: str, most: int) -> bytes:
    """Bytes, so many at most."""
    encoded = text(source, key)
    try:
        value = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise ValueError(f"{key} is not base64") from error
    if len(value) > most:
        raise ValueError(f"{key} is longer than {most} bytes")
    return value
