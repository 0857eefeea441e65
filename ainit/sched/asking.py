"""What callers of ``Allocate`` say, as wishes. PURE. Raises VarlinkError for what is no sense."""

from __future__ import annotations

from collections.abc import Mapping

from ..wire.protocol import INVALID_PARAMETER, Message, VarlinkError
from .queue import Kind, Wish

__all__ = ["Wish", "parse", "text"]

PROFILES_MAX = 16


def text(parameters: Mapping[str, object], name: str) -> str:
    """A parameter that is a string, and not an empty one."""
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(name)
    return value


def parse(parameters: Message, now: float) -> tuple[Wish, bool]:
    """The wish, and whether its unit would rather wait than go without.

    Without a ``request`` it is an agent that wants just this profile, now or not at all.
    """
    name, profile = text(parameters, "agent"), text(parameters, "profile")
    given = parameters.get("request")
    if given is None:
        return Wish(name, Kind.AGENT, (profile,), "agent", since=now), False
    if not isinstance(given, dict):
        raise _invalid("request")
    profiles = given.get("profiles")
    if (
        not isinstance(profiles, list)
        or not 0 < len(profiles) <= PROFILES_MAX
        or not all(isinstance(each, str) and each for each in profiles)
    ):
        raise _invalid("request.profiles")
    speeds = given.get("speeds") or {}
    if not isinstance(speeds, dict) or not all(_is_number(each) for each in speeds.values()):
        raise _invalid("request.speeds")
    try:
        kind = Kind(given.get("kind"))
    except ValueError:
        raise _invalid("request.kind") from None
    wish = Wish(
        name,
        kind,
        tuple(profiles),
        text(given, "owner"),
        {key: float(value) for key, value in speeds.items()},
        since=_number(given, "since"),
        estimate_s=max(_number(given, "estimate_s"), 0.0),
        priority=int(_number(given, "priority")),
        deadline=max(_number(given, "deadline"), 0.0),
        resizable=given.get("resizable") is True,
    )
    return wish, given.get("waits") is True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _number(given: Mapping[str, object], name: str) -> float:
    value = given.get(name)
    if value is None:
        return 0.0
    if not _is_number(value) or not isinstance(value, int | float):
        raise _invalid(f"request.{name}")
    return float(value)


def _invalid(name: str) -> VarlinkError:
    return VarlinkError(INVALID_PARAMETER, {"parameter": name})
