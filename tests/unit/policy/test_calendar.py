"""The next second that a calendar expression allows, against a search through days and seconds."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy.calendar import (
    YEAR_FIRST,
    YEAR_LAST,
    day_number,
    month_days,
    next_elapse,
    next_of,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Compiled = dict[str, list[int]]


def some(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=1, max_size=4, unique=True).map(sorted)


def field(name: str, low: int, high: int) -> st.SearchStrategy[Compiled]:
    return st.one_of(st.just({}), some(low, high).map(lambda values: {name: values}))


def merged(parts: tuple[Compiled, ...]) -> Compiled:
    return {key: value for part in parts for key, value in part.items()}


# Year after year within a few of them, so that the search below ends.
expressions = st.tuples(
    some(2023, 2026).map(lambda values: {"year": values}),
    field("month", 1, 12),
    st.one_of(field("day", 1, 31), field("last", 1, 31)),
    field("weekday", 0, 6),
    field("hour", 0, 23),
    field("minute", 0, 59),
    field("second", 0, 59),
).map(merged)
moments = st.datetimes(datetime(2022, 12, 1), datetime(2027, 1, 2)).map(  # noqa: DTZ001
    lambda found: int(found.replace(tzinfo=UTC).timestamp())
)


def allows(compiled: Compiled, when: datetime) -> bool:
    last = (when.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    value = {
        "year": when.year,
        "month": when.month,
        "day": when.day,
        "last": last.day - when.day + 1,
        "weekday": when.weekday(),
        "hour": when.hour,
        "minute": when.minute,
        "second": when.second,
    }
    return all(value[key] in allowed for key, allowed in compiled.items())


def searched(compiled: Compiled, after: int) -> int | None:
    """The same by trying: day after day, then the hours, minutes and seconds of that day."""
    of_day = {
        key: value for key, value in compiled.items() if key not in ("hour", "minute", "second")
    }
    moment = EPOCH + timedelta(seconds=after + 1)
    day = moment.replace(hour=0, minute=0, second=0)
    while day.year <= 2026:
        if allows(of_day, day):
            times = (
                day + timedelta(hours=hour, minutes=minute, seconds=second)
                for hour in compiled.get("hour", range(24))
                for minute in compiled.get("minute", range(60))
                for second in compiled.get("second", range(60))
            )
            found = next((time for time in times if time >= moment), None)
            if found is not None:
                return int(found.timestamp())
        day += timedelta(days=1)
    return None


@given(expressions, moments)
def test_it_is_what_a_search_finds(compiled: Compiled, after: int) -> None:
    assert next_elapse(compiled, after) == searched(compiled, after)


@given(st.integers(0, 4_000_000_000), expressions.map(lambda found: {**found, "year": [2050]}))
def test_it_is_later_and_allowed_and_found_again(after: int, compiled: Compiled) -> None:
    found = next_elapse(compiled, after)
    if found is not None:
        assert found > after
        assert allows(compiled, EPOCH + timedelta(seconds=found))
        assert next_elapse(compiled, found - 1) == found


@given(st.dates(EPOCH.date(), datetime(2200, 1, 1, tzinfo=UTC).date()))
def test_days_are_numbered_from_1970(date: datetime) -> None:
    assert day_number(date.year, date.month, date.day) == date.toordinal() - 719163


def test_months_are_as_long_as_those_of_the_calendar() -> None:
    for year in range(YEAR_FIRST, YEAR_LAST + 1):
        lengths = [month_days(year, month) for month in range(1, 13)]
        assert lengths == [calendar.monthrange(year, month)[1] for month in range(1, 13)]


def test_no_day_has_an_hour_more_and_no_hour_a_minute() -> None:
    full = {"minute": [0], "second": [0]}
    assert next_elapse({"day": [1], **full}, 23 * 3600) == 31 * 86400
    assert next_elapse({"hour": [5], "second": [0]}, 6 * 3600 - 60) == 86400 + 5 * 3600
    assert next_elapse({"minute": [5]}, 6 * 60 - 1) == 3600 + 5 * 60


def test_without_fields_every_second_is_allowed() -> None:
    assert next_elapse({}, 7) == 8
    assert next_elapse({}, -5) == 0


def test_the_last_year_ends() -> None:
    end = day_number(YEAR_LAST + 1, 1, 1) * 86400
    assert next_elapse({}, end - 2) == end - 1
    assert next_elapse({}, end - 1) is None
    assert next_elapse({"year": [YEAR_FIRST]}, 365 * 86400) is None


def test_a_century_is_no_leap_year_and_the_fourth_is() -> None:
    assert [month_days(year, 2) for year in (2000, 2023, 2024, 2100)] == [29, 28, 29, 28]
    leap = {"month": [2], "day": [29], "hour": [0], "minute": [0], "second": [0]}
    from_2096 = day_number(2096, 3, 1) * 86400
    assert next_elapse(leap, from_2096) == day_number(2104, 2, 29) * 86400


@pytest.mark.parametrize("day", [30, 31])
def test_a_day_that_never_comes(day: int) -> None:
    assert next_elapse({"month": [2], "day": [day]}, 0) is None
    assert next_elapse({"month": [2], "last": [day]}, 0) is None


def test_the_first_of_several() -> None:
    hourly, daily = {"minute": [0], "second": [0]}, {"hour": [5], "minute": [0], "second": [0]}
    assert next_of([daily, hourly], 0) == 3600
    assert next_of([daily, {"year": [1970], "month": [1], "day": [1]}], 3 * 86400) == (
        3 * 86400 + 5 * 3600
    )
    assert next_of([{"year": [1970]}], 1 << 31) is None
    assert next_of([], 0) is None


def test_after_december_comes_january() -> None:
    second = day_number(2023, 12, 2) * 86400
    assert next_elapse({"day": [1]}, second) == day_number(2024, 1, 1) * 86400


def test_the_last_second_of_a_year_is_of_that_year() -> None:
    last = day_number(2024, 1, 1) * 86400 - 1
    assert next_elapse({}, last - 1) == last
    assert next_elapse({}, last) == last + 1
    assert next_elapse({"year": [2023]}, last - 1) == last
    assert next_elapse({"year": [2023]}, last) is None


def test_the_last_second_of_a_minute_and_of_an_hour_count() -> None:
    assert next_elapse({"second": [59]}, 58) == 59
    assert next_elapse({"minute": [59], "second": [59]}, 3598) == 3599
    assert next_elapse({"minute": [0], "second": [0]}, 3599) == 3600
