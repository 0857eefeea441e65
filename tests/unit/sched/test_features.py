from __future__ import annotations

import math

import pytest

from ainit.sched import features

NAMED = {
    "count": 3, "gpus": 2, "backlog": 100.0, "idle": 0.5, "waited": 5.0, "time": 40.0,
    "time_least": 10.0, "area": 80.0, "area_least": 80.0, "cost": 60.0, "cost_least": 30.0,
    "end_least": 20.0,
    "area_weighted": 80.0, "area_shortest": 8.0, "area_mean": 80.0, "slack": 50.0, "oldest": 0.0,
    "moves": 0.0, "present": 0.0,
    "used": 0.0, "restart": 0.0, "size": 0.25,
}  # fmt: skip


def described(**changes: float) -> dict[str, float]:
    row = features.request(**{**NAMED, **changes})  # type: ignore[arg-type]
    return dict(zip(features.REQUEST, row, strict=True))


def test_ratios_are_logarithms_of_at_most_sixteen() -> None:
    row = described()
    assert row["slower"] == pytest.approx(0.5)  # 4 of 16
    assert row["dearer"] == pytest.approx(0.25)
    assert row["wasteful"] == 0.0
    assert described(time=1e6)["slower"] == 1.0


def test_the_deadline_is_missed_or_near() -> None:
    assert (described()["misses"], described()["tight"]) == (0.0, 0.8)
    late = described(slack=39.0)
    assert (late["misses"], late["tight"]) == (1.0, 0.0)
    never = described(slack=math.inf)
    assert (never["misses"], never["tight"]) == (0.0, 0.0)


def test_size_beside_the_others_that_wait() -> None:
    assert described()["longer"] == pytest.approx(0.25)  # 10 of 10^4
    assert described()["than_mean"] == 0.5
    assert described(area_weighted=8e4)["than_mean"] == pytest.approx(1.0)


def test_a_move_shows_what_it_gains() -> None:
    assert described(present=80.0)["gain"] == 0.0
    assert described(present=80.0, moves=1.0)["gain"] == pytest.approx(0.25)


def test_each_half_has_a_value_for_each_name() -> None:
    assert len(features.waiting(1, 1, 1.0, 1.0, 1.0)) == len(features.REQUEST)
    none = features.placement(0.0, 0.0, 0, 0.0, 0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
    assert none == (0.0,) * len(features.PLACEMENT)


def test_what_lasts_for_ever_is_in_range() -> None:
    row = features.placement(
        1.0, 9.0, 8, 1.0, 8, math.inf, math.inf, 9, math.inf, 1.0, 1.0, 1.0, 1.0, 8
    )
    assert max(row) == 1.0


def test_the_schema_follows_the_names() -> None:
    """A change of the features must change this digest, or old policies would be misread."""
    assert len(features.NAMES) == 38
    assert features.SCHEMA[:16] == "be80d965ab255702"
