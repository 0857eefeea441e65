"""Typed access to replies, where JSON stops being JSON. A reply of the wrong shape is a WireError.

>>> records({"units": [{"name": "gpu"}]}, "units")
[{'name': 'gpu'}]
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import WireError

Record = dict[str, object]


def records(reply: Mapping[str, object], name: str) -> list[Record]:
    """The list of objects ``name``; absent or null is empty."""
    value = reply.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise WireError(f"{name} in the answer is not a list of objects")
    return value


def record(reply: Mapping[str, object], name: str) -> Record:
    """The object ``name``; absent or null is empty."""
    value = reply.get(name) or {}
    if not isinstance(value, dict):
        raise WireError(f"{name} in the answer is not an object")
    return value


def words(reply: Mapping[str, object], name: str) -> list[str]:
    """The list of strings ``name``; absent or null is empty."""
    value = reply.get(name) or []
    if not isinstance(value, list):
        raise WireError(f"{name} in the answer is not a list")
    return [str(item) for item in value]


def text(reply: Mapping[str, object], name: str) -> str:
    """The value ``name`` as text; absent or null is empty."""
    value = reply.get(name)
    return "" if value is None else str(value)
