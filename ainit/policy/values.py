"""Checks of single values of a unit file: a TOML value in, the plan's value out.

A check raises ValueError with what the value should have been, worded to follow the key's name.
Leaves out: which key has which check (``keys``), and what keys say about each other
(``contradictions``).

>>> size(1)("512M")
536870912
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from . import kernel_names, listen

Check = Callable[[object], object]

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
INTERFACE = re.compile(r"[a-z][a-z0-9-]*(\.[A-Za-z0-9-]+)+\Z")
ACCOUNT_MAX = (1 << 32) - 2  # the highest is "no change" to setresuid(2)
DYNAMIC = range(61184, 65520)  # what systemd's documentation gives to dynamic users

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FILE = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,255}\Z")
_SIZE = re.compile(r"(\d{1,18})([KMGT]?)\Z", re.ASCII)
_PERCENT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)%\Z", re.ASCII)
_OCTAL = re.compile(r"0?[0-7]{3}\Z")
_LIST = re.compile(r"\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*\Z", re.ASCII)
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SIZE_MAX = 1 << 60
_PATH_MAX = 4095  # PATH_MAX, less the terminating NUL


def text(value: object) -> str:
    """A string that can be handed to a program."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("is a string")
    return value


def flag(value: object) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


def number(low: float, high: float) -> Check:
    """A number between two bounds."""

    def check(value: object) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise ValueError(f"is a number from {low:g} to {high:g}")
        return float(value)

    return check


def whole(low: int, high: int) -> Check:
    """A whole number between two bounds."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"is a whole number from {low} to {high}")
        return value

    return check


def one_of(choices: Sequence[str]) -> Check:
    """One of a few words."""

    def check(value: object) -> str:
        if value not in choices:
            raise ValueError("is one of " + ", ".join(choices))
        return str(value)

    return check


def matching(pattern: re.Pattern[str], description: str) -> Check:
    """A string that a pattern describes."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.match(value):
            raise ValueError(f"is {description}")
        return value

    return check


def list_of(check: Check, least: int = 0) -> Check:
    """A list of at least so many values, each checked."""

    def check_list(value: object) -> list[object]:
        if not isinstance(value, list) or len(value) < least:
            raise ValueError("is a list" if not least else "is a list that is not empty")
        return [check(item) for item in value]

    return check_list


def names_list(check: Check) -> Check:
    """A list of values of which none comes twice."""
    check_list = list_of(check)

    def check_names(value: object) -> object:
        found = check_list(value)
        assert isinstance(found, list)
        for index, item in enumerate(found):
            if item in found[:index]:
                raise ValueError(f"has {item} twice")
        return found

    return check_names


def table_of(pattern: re.Pattern[str], description: str, check: Check) -> Check:
    """A table whose keys a pattern describes, each value checked."""

    def check_table(value: object) -> dict[str, object]:
        if not isinstance(value, dict) or not all(pattern.match(key) for key in value):
            raise ValueError(f"is a table whose keys are {description}")
        try:
            return {key: check(item) for key, item in value.items()}
        except ValueError as error:
            raise ValueError(f"is a table of which each value {error}") from None

    return check_table


def path(value: object) -> str:
    """An absolute path without ``.``, ``..`` or empty parts."""
    found = text(value)
    parts = found.split("/")[1:]
    if (
        not found.startswith("/")
        or len(found.encode("utf-8", "replace")) > _PATH_MAX
        or (parts != [""] and {"", ".", ".."} & set(parts))
    ):
        raise ValueError("is an absolute path, without . and .. in it")
    return found


def size(least: int) -> Check:
    """Bytes, with a binary suffix."""

    def check(value: object) -> int:
        found = _SIZE.match(value) if isinstance(value, str) else None
        count = int(found[1]) * _FACTORS[found[2]] if found else -1
        if not least <= count <= SIZE_MAX:
            raise ValueError('is a size such as "512M"')
        return count

    return check


def percent(low: float, high: float) -> Check:
    """A share: per cent as a number, or with the sign as in "150%"."""

    def check(value: object) -> float:
        found = _PERCENT.match(value) if isinstance(value, str) else None
        share = float(found[1]) if found else value
        if (
            isinstance(share, bool)
            or not isinstance(share, int | float)
            or not low <= share <= high
        ):
            raise ValueError(f'is from "{low:g}%" to "{high:g}%"')
        return float(share)

    return check


def whole_percent(low: int, high: int) -> Check:
    """A share such as "150%" without fractions."""
    check_percent = percent(low, high)

    def check(value: object) -> int:
        found = check_percent(value)
        assert isinstance(found, float)
        if not found.is_integer():
            raise ValueError("is a whole number of per cent")
        return int(found)

    return check


def octal(value: object) -> int:
    """Permission bits, written as in chmod(1)."""
    if not isinstance(value, str) or not _OCTAL.match(value):
        raise ValueError('is a string of octal digits such as "0640"')
    return int(value, 8)


def signal(value: object) -> int:
    """A signal by its name without SIG."""
    if not isinstance(value, str) or value not in kernel_names.SIGNALS:
        raise ValueError('is the name of a signal, without SIG, such as "TERM"')
    return kernel_names.SIGNALS[value]


def capability(value: object) -> str:
    """A capability by its name."""
    if not isinstance(value, str) or value not in kernel_names.CAPABILITIES:
        raise ValueError("is a capability such as CAP_NET_ADMIN")
    return value


def user(value: object) -> str | int:
    """A user, but none of those that tell agents and jobs apart."""
    if isinstance(value, int) and not isinstance(value, bool) and value in DYNAMIC:
        first, last = DYNAMIC[0], DYNAMIC[-1]
        raise ValueError(f"is none from {first} to {last}: those are agents' and jobs'")
    return account(value)


def account(value: object) -> str | int:
    """A user or a group: its name, or its number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= ACCOUNT_MAX:
        return value
    if isinstance(value, str) and _ACCOUNT.match(value):
        return value
    raise ValueError("is a name or a number")


def group(value: object) -> str:
    """A group; a number as its digits."""
    return str(account(value))


def number_list(high: int) -> Check:
    """Numbers and ranges as in cpuset(7): ``0-3,8``."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not _LIST.match(value):
            raise ValueError('is a list such as "0-3,8"')
        for part in value.split(","):
            first, _, last = part.partition("-")
            if not int(first) <= int(last or first) <= high:
                raise ValueError(f"has {part}: ranges run upwards, and the highest is {high}")
        return value

    return check


def address(*kinds: str) -> Check:
    """Where to listen or to connect, of some kinds, with a numeric host; see ``listen``."""

    def check(value: object) -> str:
        found = text(value)
        family, _, host, _ = listen.address(found, kinds)
        try:
            version = ip_address(host).version if family != listen.UNIX and "%" not in host else 0
        except ValueError:
            version = 0
        if version != {listen.UNIX: 0, listen.INET: 4, listen.INET6: 6}[family]:
            raise ValueError(f"has {host}, which is no numeric address: 127.0.0.1 or [::1]")
        if family == listen.UNIX:
            path(host)
        return found

    return check


environment = table_of(_VARIABLE, "variable names", text)
credentials = table_of(_FILE, "file names", path)
names = names_list(matching(NAME, "a name of lower-case letters, digits and hyphens"))
interfaces = names_list(matching(INTERFACE, "an interface such as org.ainos.X"))
