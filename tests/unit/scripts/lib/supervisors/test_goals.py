"""The goals of speed: ratios of one round, their medians, and when a bound is kept."""

from __future__ import annotations

import pytest
from lib.supervisors import goals
from lib.supervisors.goals import AT_LEAST, Judged
from lib.supervisors.ground import Memory
from lib.supervisors.rounds import Figures, percentile


def figures(name: str, **known: object) -> Figures:
    made = Figures(name, 1000)
    for key, value in known.items():
        setattr(made, key, value)
    return made


def test_a_goal_without_samples_is_missed_with_or_without_a_bound() -> None:
    assert not Judged("x", [], "ratio").met
    assert not Judged("x", [], "ratio", 1).met


@pytest.mark.parametrize(
    ("samples", "relation", "met"),
    [
        ([1.0, 2.0, 9.0], goals.AT_MOST, True),
        ([2.0, 3.0, 9.0], goals.AT_MOST, False),
        ([1.0, 2.0, 9.0], AT_LEAST, True),
        ([1.0, 1.9, 9.0], AT_LEAST, False),
    ],
)
def test_the_median_keeps_the_bound(samples: list[float], relation: str, met: bool) -> None:
    assert Judged("x", samples, "ratio", 2, relation).met is met


def test_ratios_are_those_of_one_round_and_leave_out_what_failed() -> None:
    rounds = [
        {"ainit": figures("ainit", storm=1.0), "systemd": figures("systemd", storm=4.0)},
        {"ainit": figures("ainit", storm=3.0), "systemd": figures("systemd")},
        {"systemd": figures("systemd", storm=4.0)},
    ]
    assert goals.ratios(rounds, goals.storm, "ainit", "systemd") == [0.25]
    assert goals.medians(rounds, goals.storm) == {"ainit": 2.0, "systemd": 4.0}


def test_the_rate_counts_until_all_are_ready_where_that_is_known() -> None:
    assert goals.rate(figures("sh loop", start=2.0)) == 500
    assert goals.rate(figures("ainit", start=2.0, ready=4.0)) == 250
    assert goals.rate(figures("ainit")) is None


def test_growth_is_of_all_processes_between_the_fewest_and_the_most_services() -> None:
    memory = {100: Memory(1, 10_000, 1), 300: Memory(1, 99_999, 1), 1000: Memory(1, 910_000, 1)}
    assert goals.growth(figures("ainit", memory=memory)) == 1000
    assert goals.growth(figures("ainit", memory={1000: Memory(1, 1, 1)})) is None


def test_responsiveness_compares_the_slowest_calls_in_the_storm_with_those_before() -> None:
    one = figures("ainit", idle=[0.001] * 100, loaded=[0.001] * 98 + [0.004] * 2)
    assert goals.responsiveness(one) == pytest.approx(4)
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_every_goal_is_there_even_when_nothing_was_measured() -> None:
    nothing = [{"ainit": figures("ainit", failure="it ended")}]
    found = {one.goal: one for one in goals.judged(nothing)}
    assert found["pid1.start_rate_vs_systemd"].bound == 2
    assert found["pid1.storm_vs_systemd"].value is None
    assert not any(one.met for one in found.values() if not one.samples)
