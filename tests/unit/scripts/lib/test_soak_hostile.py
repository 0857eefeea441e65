"""Tests of what the attacks of hostile services come to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lib import soak_hostile
from lib.soak_hostile import PAIRS, SINGLES, Outcome

GOOD = Outcome(("a", "b"), "root", 0, 0, 0.5, 0, ())


def figures(outcomes: list[Outcome]) -> list[tuple[str, float | None, bool]]:
    return [(one.goal, one.value, one.met) for one in soak_hostile.goals(outcomes)]


def everything() -> list[Outcome]:
    return [replace(GOOD, attack=attack) for attack in (*SINGLES, *PAIRS)]


def test_each_of_nine_attacks_meets_every_other() -> None:
    assert (len(SINGLES), len(set(PAIRS))) == (9, 36)


def test_the_goals_are_met_when_every_attack_was_harmless() -> None:
    assert figures(everything()) == [
        ("pid1.hostile_pairs", 36.0, True),
        ("pid1.hostile_neighbour_restarts", 0.0, True),
    ]


def test_a_pair_with_a_problem_does_not_count_and_restarts_add_up() -> None:
    outcomes = everything()
    outcomes[-1] = replace(outcomes[-1], problems=("gone",), restarts=2)
    assert figures(outcomes) == [
        ("pid1.hostile_pairs", 35.0, False),
        ("pid1.hostile_neighbour_restarts", 2.0, False),
    ]


def test_an_attack_alone_is_part_of_the_goal() -> None:
    assert figures(everything()[1:])[0] == ("pid1.hostile_pairs", 36.0, False)


def test_nothing_that_ran_is_no_value() -> None:
    assert figures([])[1] == ("pid1.hostile_neighbour_restarts", None, False)


def test_outcomes_are_kept_of_one_image_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "soak/hostile.json"
    other = replace(GOOD, attack=("c",))
    for outcome in (replace(GOOD, problems=("left",), restarts=1), other, GOOD):
        soak_hostile.keep(outcome, path)
    assert soak_hostile.kept("root", path) == [GOOD, other]
    newer = replace(GOOD, root="another")
    soak_hostile.keep(newer, path)
    assert soak_hostile.kept("root", path) == []
    assert soak_hostile.kept("another", path) == [newer]
