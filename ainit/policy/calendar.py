"""When a calendar expression comes true next: integers in, an integer out.

A compiled expression holds the allowed values of each field as a sorted list; a field that is
absent allows every value. ``weekday`` counts from Monday, 0; ``last`` holds days counted from the
end of the month, 1 being the last. Every time is UTC. PID 1 imports this; leaves out: the text
of an expression, see ``calendar_text``.

>>> next_elapse({"minute": [30], "second": [0]}, 0)
1800
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    # Field → its allowed values.
    Compiled = Mapping[str, Sequence[int]]

YEAR_FIRST, YEAR_LAST = 1970, 2199  # the years of systemd.time(7)
DAY_SECONDS = 86400

_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_HOURS = range(24)
_SIXTY = range(60)


def next_elapse(compiled: Compiled, utc_seconds: int) -> int | None:
    """The first second after ``utc_seconds`` that the expression allows.

    Both count from 1970 in UTC. None when there is none until the year 2199 ends.
    """
    day, second = divmod(max(utc_seconds + 1, 0), DAY_SECONDS)
    for candidate in _days(compiled, day):
        found = _time(compiled, second if candidate == day else 0)
        if found is not None:
            return candidate * DAY_SECONDS + found
    return None


def next_of(expressions: Iterable[Compiled], utc_seconds: int) -> int | None:
    """The first second after ``utc_seconds`` that one of the expressions allows; None for none."""
    found = [next_elapse(each, utc_seconds) for each in expressions]
    return min((each for each in found if each is not None), default=None)


def day_number(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar.

    >>> day_number(1970, 2, 1)
    31
    """
    passed = year - 1
    days = passed * 365 + passed // 4 - passed // 100 + passed // 400 - 719162
    return days + sum(month_days(year, each) for each in range(1, month)) + day - 1


def month_days(year: int, month: int) -> int:
    """How many days a month has."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if leap and month == 2 else _MONTH_DAYS[month - 1]


def _days(compiled: Compiled, earliest: int) -> Iterable[int]:
    """The days that the expression allows, as numbers since 1970, from ``earliest`` on."""
    years = compiled.get("year", range(YEAR_FIRST, YEAR_LAST + 1))
    months = compiled.get("month", range(1, 13))
    weekdays = compiled.get("weekday", range(7))
    for year in years:
        if day_number(year + 1, 1, 1) <= earliest:
            continue
        for month in months:
            length = month_days(year, month)
            first = day_number(year, month, 1)
            if first + length <= earliest:
                continue
            for day in _in_month(compiled, length):
                number = first + day - 1
                if number >= earliest and (number + 3) % 7 in weekdays:  # 1970-01-01: a Thursday
                    yield number


def _in_month(compiled: Compiled, length: int) -> Iterable[int]:
    """The days of a month with so many days, weekdays left aside."""
    if "last" in compiled:
        days: Iterable[int] = sorted(length + 1 - last for last in compiled["last"])
    else:
        days = compiled.get("day", range(1, length + 1))
    return (day for day in days if 1 <= day <= length)


def _time(compiled: Compiled, earliest: int) -> int | None:
    """The first second of a day that the expression allows, from ``earliest`` on."""
    for hour in compiled.get("hour", _HOURS):
        if hour * 3600 + 3599 < earliest:
            continue
        for minute in compiled.get("minute", _SIXTY):
            start = hour * 3600 + minute * 60
            if start + 59 < earliest:
                continue
            for second in compiled.get("second", _SIXTY):
                if start + second >= earliest:
                    return start + second
    return None
