"""Calendar expressions mean what systemd.time(7) says.

The next times below were computed by ``systemd-analyze calendar`` (systemd 252).
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy.calendar import next_elapse
from ainit.policy.calendar_text import parse

FIELDS = {"year", "month", "day", "last", "weekday", "hour", "minute", "second"}
MIDNIGHT = {"hour": [0], "minute": [0], "second": [0]}
BASE = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())  # a Monday


def upcoming(text: str, count: int) -> list[str]:
    """The next times after the first second of 2024."""
    compiled, found, when = parse(text), [], BASE
    for _ in range(count):
        following = next_elapse(compiled, when)
        if following is None:
            break
        when = following
        found.append(f"{datetime.fromtimestamp(when, UTC):%a %Y-%m-%d %H:%M:%S}")
    return found


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("*-*~07/2", ["Thu 2024-01-25 00:00:00", "Sat 2024-01-27 00:00:00"]),
        ("*-*~03..05", ["Sat 2024-01-27 00:00:00", "Sun 2024-01-28 00:00:00"]),
        ("*-*~1,3", ["Mon 2024-01-29 00:00:00", "Wed 2024-01-31 00:00:00"]),
        ("1..5/2:0", ["Mon 2024-01-01 01:00:00", "Mon 2024-01-01 03:00:00"]),
        ("Mon", ["Mon 2024-01-08 00:00:00", "Mon 2024-01-15 00:00:00"]),
        ("Mon,", ["Mon 2024-01-08 00:00:00", "Mon 2024-01-15 00:00:00"]),
        ("mon 12:00 utc", ["Mon 2024-01-01 12:00:00", "Mon 2024-01-08 12:00:00"]),
        ("*-*-* *:*:*", ["Mon 2024-01-01 00:00:01", "Mon 2024-01-01 00:00:02"]),
        ("monday..FRIDAY", ["Tue 2024-01-02 00:00:00", "Wed 2024-01-03 00:00:00"]),
        ("*~01", ["Wed 2024-01-31 00:00:00", "Thu 2024-02-29 00:00:00"]),
        ("02~01", ["Thu 2024-02-29 00:00:00", "Fri 2025-02-28 00:00:00"]),
        ("weekly UTC", ["Mon 2024-01-08 00:00:00", "Mon 2024-01-15 00:00:00"]),
        ("*-*~2", ["Tue 2024-01-30 00:00:00", "Wed 2024-02-28 00:00:00"]),
        ("Daily", ["Tue 2024-01-02 00:00:00", "Wed 2024-01-03 00:00:00"]),
    ],
)
def test_the_times_are_those_of_systemd(text: str, times: list[str]) -> None:
    assert upcoming(text, 2) == times


# Each pair is one of systemd.time(7): an expression and its normal form. (That manual has a Monday
# for a day of Tue..Sat; here it is the day after.)
@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Sat,Thu,Mon..Wed,Sat..Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
        ("Mon,Sun 12-*-* 2,1:23", "Mon,Sun 2012-*-* 01,02:23:00"),
        ("Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed..Wed,Wed *-1", "Wed *-*-01 00:00:00"),
        ("Wed, 17:48", "Wed *-*-* 17:48:00"),
        ("Wed..Sat,Tue 12-10-16 1:2:3", "Tue..Sat 2012-10-16 01:02:03"),
        ("*-*-7 0:0:0", "*-*-07 00:00:00"),
        ("10-15", "*-10-15 00:00:00"),
        ("monday *-12-* 17:00", "Mon *-12-* 17:00:00"),
        ("Mon,Fri *-*-3,1,2 *:30:45", "Mon,Fri *-*-01,02,03 *:30:45"),
        ("12,14,13,12:20,10,30", "*-*-* 12,13,14:10,20,30:00"),
        ("12..14:10,20,30", "*-*-* 12..14:10,20,30:00"),
        ("mon,fri *-1/2-1,3 *:30:45", "Mon,Fri *-01/2-01,03 *:30:45"),
        ("03-05 08:05:40", "*-03-05 08:05:40"),
        ("08:05:40", "*-*-* 08:05:40"),
        ("05:40", "*-*-* 05:40:00"),
        ("Sat,Sun 12-05 08:05:40", "Sat,Sun *-12-05 08:05:40"),
        ("Sat,Sun 08:05:40", "Sat,Sun *-*-* 08:05:40"),
        ("2003-03-05 05:40", "2003-03-05 05:40:00"),
        ("2003-02..04-05", "2003-02..04-05 00:00:00"),
        ("2003-03-05 05:40 UTC", "2003-03-05 05:40:00 UTC"),
        ("2003-03-05", "2003-03-05 00:00:00"),
        ("03-05", "*-03-05 00:00:00"),
        ("minutely", "*-*-* *:*:00"),
        ("hourly", "*-*-* *:00:00"),
        ("daily", "*-*-* 00:00:00"),
        ("daily UTC", "*-*-* 00:00:00 UTC"),
        ("monthly", "*-*-01 00:00:00"),
        ("weekly", "Mon *-*-* 00:00:00"),
        ("quarterly", "*-01,04,07,10-01 00:00:00"),
        ("semiannually", "*-01,07-01 00:00:00"),
        ("yearly", "*-01-01 00:00:00"),
        ("annually", "*-01-01 00:00:00"),
        ("*:2/3", "*-*-* *:02/3:00"),
    ],
)
def test_the_examples_of_the_manual(text: str, normal: str) -> None:
    assert parse(text) == parse(normal)


@pytest.mark.parametrize("name", list(calendar.day_name))
def test_a_weekday_may_be_cut_to_three_letters(name: str) -> None:
    number = list(calendar.day_name).index(name)
    assert parse(name) == parse(name[:3]) == {"weekday": [number], **MIDNIGHT}


@pytest.mark.parametrize(
    ("text", "compiled"),
    [
        ("70..71-1-1", {"year": [1970, 1971], "month": [1], "day": [1]}),
        ("1970-1-1", {"year": [1970], "month": [1], "day": [1]}),
        ("99..2000-*-*", {"year": [1999, 2000]}),
        ("2100-*-*", {"year": [2100]}),
        ("*-*-5..5", {"day": [5]}),
        ("*-*-5..7/1", {"day": [5, 6, 7]}),
        ("69-1-1", {"year": [2069], "month": [1], "day": [1]}),
        ("2190/4-*-*", {"year": [2190, 2194, 2198]}),
        ("2000..2010/5-*~1", {"year": [2000, 2005, 2010], "last": [1]}),
        ("*-*~7/3", {"last": [1, 4, 7]}),
        ("*-*~5..9/2", {"last": [5, 7, 9]}),
        ("*-5/6,12-*", {"month": [5, 11, 12]}),
    ],
)
def test_fields(text: str, compiled: dict[str, list[int]]) -> None:
    assert parse(text) == {**compiled, **MIDNIGHT}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("utc", "is empty"),
        ("Sat..Mon", "has a range that runs backwards: sat..mon"),
        ("Mon,,Tue", "has '', which is neither a weekday"),
        ("noon", "has 'noon', which is neither a weekday nor a known word"),
        ("Mon Tue 3:00", "has 'tue', which is no date"),
        ("12", "has '12', which is no date such as"),
        ("1-2-3-4", "has '1-2-3-4', which is no date"),
        ("*-*-31~1", "has '*-*-31~1', which is no date"),
        ("100-1-1", "has 100 for the year: 1970 to 2199"),
        ("*-*-* noon", "has 'noon' where nothing is expected"),
        ("3:00 *-*-*", "has '*-*-*' where nothing is expected; times are UTC"),
        ("daily Europe/Berlin", "has 'daily', which is neither"),
        ("03:00 Europe/Berlin", "has 'europe/berlin' where nothing is expected"),
        ("1:2:3:4", "has '1:2:3:4', which is no time"),
        ("24:00", "has 24 for the hour: 0 to 23"),
        ("00:60", "has 60 for the minute: 0 to 59"),
        ("0:0:60", "has 60 for the second: 0 to 59"),
        ("0:0:1.5", "has '1.5' for the second: a number"),
        ("*-13-1", "has 13 for the month: 1 to 12"),
        ("*-*-0", "has 0 for the day: 1 to 31"),
        ("*-*-1..40", "has 40 for the day: 1 to 31"),
        ("*-*~32", "has 32 for the day from the end: 1 to 31"),
        ("2200-1-1", "has 2200 for the year: 1970 to 2199"),
        ("*-*-*/2", "has '*/2' for the day: a number, N..N, N/N or *"),
        ("5..3:00", "has a range that runs backwards: 5..3"),
        ("*:0/0", "repeats after 0: 0/0"),
        ("0,:00", "has '' for the hour"),
        ("*-02-30", "never comes true"),
        ("Sun 2024-01-01", "never comes true"),
    ],
)
def test_what_is_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(text)


@given(st.text(alphabet="0123456789*-~/.,: MonTueUTC\u0663\n", max_size=24))
def test_any_text_is_an_expression_or_a_value_error(text: str) -> None:
    try:
        compiled = parse(text)
    except ValueError:
        return
    assert compiled.keys() <= FIELDS
    assert all(values == sorted(set(values)) for values in compiled.values())
    assert next_elapse(compiled, -1) is not None
