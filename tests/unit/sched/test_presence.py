"""GPUs that should be there."""

from __future__ import annotations

import pytest

from ainit.sched import presence
from ainit.sched.presence import Presence, finding, look


@pytest.mark.parametrize(("expected", "found"), [(2, 2), (2, 3), (0, 0), (None, 1)])
def test_what_is_complete_is_not_looked_for(expected: int | None, found: int) -> None:
    after = look(Presence(), expected, found, 10.0)
    assert (after.again_at, after.tries, finding(after)) == (None, 0, "")


def test_what_is_missing_is_looked_for_ever_more_rarely() -> None:
    after, waits, now = Presence(), [], 10.0
    for _ in range(9):
        after = look(after, 8, 6, now)
        assert after.again_at is not None
        waits.append(after.again_at - now)
        now = after.again_at
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert finding(after) == "6 of 8 GPUs are there"


def test_a_change_begins_anew() -> None:
    after = look(look(look(Presence(), 8, 6, 0.0), 8, 6, 1.0), 8, 6, 3.0)
    assert (look(after, 8, 7, 7.0).tries, look(after, 8, 8, 7.0).again_at) == (1, None)


def test_without_an_expectation_a_machine_without_gpus_is_well_and_looks() -> None:
    after = look(Presence(), None, 0, 10.0)
    assert (after.again_at, finding(after)) == (11.0, "")


def test_the_backoff_has_an_end() -> None:
    assert presence.backoff(10**6) == presence.LONGEST_S
