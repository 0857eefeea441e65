"""Calendar expressions as in systemd.time(7), compiled to what ``calendar`` computes with.

    Mon..Fri 03:00            *-*-* 00/6:15:00         *-02~01             Sat *-*-1..7 18:00
    minutely hourly daily weekly monthly quarterly semiannually yearly annually

Lists (``1,15``), ranges (``9..17``), repetitions (``0/15``, ``9..17/2``) and days counted from the
end of the month (``~``) may be combined. Times are UTC, which may be said. Leaves out fractions of
seconds and other time zones.

>>> parse("Mon 03:00")
{'weekday': [0], 'hour': [3], 'minute': [0], 'second': [0]}
"""

from __future__ import annotations

import re

from .calendar import YEAR_FIRST, YEAR_LAST, next_elapse

_SHORTHANDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_RANGES = {
    "year": (YEAR_FIRST, YEAR_LAST),
    "month": (1, 12),
    "day": (1, 31),
    "last": (1, 31),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
_VALUES = re.compile(r"(\d{1,4})(?:\.\.(\d{1,4}))?(?:/(\d{1,4}))?\Z", re.ASCII)
_DATE = re.compile(r"(?:(?:([^~-]+)-)?([^~-]+)-([^~-]+)|(?:([^~-]+)-)?([^~-]+)~([^~-]+))\Z")


def parse(text: str) -> dict[str, list[int]]:
    """The compiled form of an expression. Raises ValueError with what is wrong with it."""
    words = _SHORTHANDS.get(text.lower().removesuffix(" utc"), text.lower()).split()
    if words[-1:] == ["utc"]:
        words.pop()
    compiled: dict[str, list[int]] = {}
    if not words:
        raise ValueError("is empty")
    if words[0][0].isalpha():
        compiled["weekday"] = _weekdays(words.pop(0))
    date = words.pop(0) if words and ":" not in words[0] else None
    time = words.pop(0) if words and ":" in words[0] else "00:00:00"
    if words:
        raise ValueError(f"has {words[0]!r} where nothing is expected; times are UTC")
    if date is not None:
        _add_date(compiled, date)
    _add_time(compiled, time)
    if next_elapse(compiled, -1) is None:
        raise ValueError("never comes true")
    return compiled


def _weekdays(text: str) -> list[int]:
    found: set[int] = set()
    for part in text.removesuffix(",").split(","):
        first, dots, last = part.partition("..")
        start = _weekday(first)
        stop = _weekday(last) if dots else start
        if stop < start:
            raise ValueError(f"has a range that runs backwards: {part}")
        found.update(range(start, stop + 1))
    return sorted(found)


def _weekday(text: str) -> int:
    for number, name in enumerate(_WEEKDAYS):
        if text in (name, name[:3]):
            return number
    raise ValueError(f"has {text!r}, which is neither a weekday nor a known word")


def _add_date(compiled: dict[str, list[int]], text: str) -> None:
    found = _DATE.match(text)
    if not found:
        raise ValueError(f"has {text!r}, which is no date such as *-*-01 or 12-24")
    year, month, day, year_of_last, month_of_last, last = found.groups()
    _add(compiled, "year", year or year_of_last or "*")
    _add(compiled, "month", month or month_of_last)
    if day:
        _add(compiled, "day", day)
    else:
        _add(compiled, "last", last)


def _add_time(compiled: dict[str, list[int]], text: str) -> None:
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"has {text!r}, which is no time such as 03:00")
    for field, part in zip(("hour", "minute", "second"), [*parts, "00"], strict=False):
        _add(compiled, field, part)


def _add(compiled: dict[str, list[int]], field: str, text: str) -> None:
    """Set the allowed values of one field; ``*`` leaves it open."""
    if text == "*":
        return
    low, high = _RANGES[field]
    values: set[int] = set()
    for part in text.split(","):
        found = _VALUES.match(part)
        if not found:
            raise ValueError(f"has {part!r} for the {_name(field)}: a number, N..N, N/N or *")
        start = _full_year(int(found[1])) if field == "year" else int(found[1])
        end = None
        if found[2]:
            end = _full_year(int(found[2])) if field == "year" else int(found[2])
        step = int(found[3] or 1)
        for value in (start, start if end is None else end):
            if not low <= value <= high:
                raise ValueError(f"has {value} for the {_name(field)}: {low} to {high}")
        if not step:
            raise ValueError(f"repeats after 0: {part}")
        if end is not None and end < start:
            raise ValueError(f"has a range that runs backwards: {part}")
        values.update(_span(field, start, end, step if found[3] else 0))
    compiled[field] = sorted(values)


def _span(field: str, start: int, end: int | None, step: int) -> range:
    """The values of one part; ``step`` 0 for none. ``~7/2`` goes on towards the month's end."""
    if end is not None:
        return range(start, end + 1, step or 1)
    if not step:
        return range(start, start + 1)
    return range(start, 0, -step) if field == "last" else range(start, _RANGES[field][1] + 1, step)


def _full_year(year: int) -> int:
    """A year of two digits is one of 1970 to 2069."""
    return year + (2000 if year < 70 else 1900) if year < 100 else year


def _name(field: str) -> str:
    return "day from the end" if field == "last" else field
