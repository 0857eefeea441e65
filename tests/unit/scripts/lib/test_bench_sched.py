from __future__ import annotations

from typing import Any

import pytest
from lib import bench, bench_sched, bench_sched_decisions, bench_sched_plot

from ainit.sched import candidates
from ainit.sched.candidates import Candidate, Kind
from ainit.sched.place import Proposal
from ainit.sched.state import Request
from ainit.sched.train.cells import CELLS, SEEDS


def results(ours: float, theirs: float = 100.0, seeds: int = 5) -> dict[str, Any]:
    """The same on every seed, of all policies that goals speak of."""
    peers = ("static_tuned", "static_hindsight", "fgd_sjf", "miso_oracle", "learned_without_moves")
    other = [{"mean": theirs + seed, "p99": theirs} for seed in range(seeds)]
    own = [{"mean": ours * (1 + seed / theirs), "p99": ours} for seed in range(seeds)]
    return {"learned": own, "by_hand_with_moves": own, "bound": own, **dict.fromkeys(peers, other)}


def test_the_cells_keep_to_what_was_agreed() -> None:
    assert len(CELLS) == len({cell.name for cell in CELLS}) == 24
    assert SEEDS >= 20
    assert {cell.scenario.split for cell in CELLS} == {"test"}
    unseen = [cell.scenario for cell in CELLS if not cell.seen]
    assert {each.board for each in unseen} >= {"H200-141GB", "B200-180GB"}
    assert {each.gpus for each in unseen} >= {3, 8}
    assert any(each.held_out for each in unseen)
    seen = [cell.scenario for cell in CELLS if cell.seen]
    assert {each.board for each in seen} == {"A100-40GB", "H100-80GB"}


def test_a_ratio_is_of_sums_and_its_interval_holds_it() -> None:
    found = results(80.0)
    assert bench_sched.ratio(found, "fgd_sjf") == pytest.approx(0.8)
    low, high = bench_sched.interval(found, "fgd_sjf")
    assert low <= 0.8 + 1e-9
    assert high >= 0.8 - 1e-9


def test_goals_are_met_or_missed_by_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "commit", lambda: "0" * 40)
    window = [{"policy": 1.2, "solver": 1.0}]
    found = {cell.name: results(80.0) for cell in CELLS}
    goals = {each.goal: each for each in bench_sched.goals(found, window)}
    assert goals["sched.jct_vs_tuned_static"].value == 0.8
    assert goals["sched.jct_vs_tuned_static"].met
    assert not goals["sched.jct_vs_fgd_known"].met
    assert not goals["sched.cpsat_gap"].met
    found[CELLS[-1].name] = results(103.0)
    goals = {each.goal: each for each in bench_sched.goals(found, window)}
    assert goals["sched.worst_vs_fallback"].value == 1.03
    assert not goals["sched.worst_vs_fallback"].met


def test_a_lost_cell_stands_out_in_the_table() -> None:
    lines = bench_sched.cell_table({"won": results(80.0), "lost": results(120.0)}).splitlines()
    assert "**" not in lines[2]
    assert "**1.20**" in lines[3]
    assert {line.count("|") for line in lines} == {10}


def test_the_pictures_are_whole() -> None:
    picture = bench_sched_plot.cells({"one & only": (0.7, 0.6, 0.8, 0.4, 0.9)})
    assert picture.endswith("</svg>\n")
    assert "one &amp; only" in picture
    curve = bench_sched_plot.curve([{"minutes": 1.0, "loss": -0.1, "validation": None}])
    assert "1 minutes" in curve


def test_the_busy_state_has_about_as_many_candidates_as_wanted() -> None:
    question = candidates.ask(bench_sched_decisions.busy())
    assert 280 <= len(question.candidates) <= 420


def test_a_placement_that_is_none_is_counted() -> None:
    """The model of slices catches what a check that is broken would let through."""
    slices = bench_sched_decisions.Slices(bench_sched_decisions.machine(1))
    first = Candidate(Kind.START, "a", Proposal(0, "3g.40gb", 0, 4))
    slices.make(first, Request("a", {}))
    assert slices.invalid == 0
    slices.make(Candidate(Kind.START, "b", Proposal(0, "1g.10gb", 2, 1)), Request("b", {}))
    assert slices.invalid == 1
    slices.make(Candidate(Kind.START, "b", Proposal(0, "1g.10gb", 7, 1)), Request("b", {}))
    assert slices.invalid == 2
    displaces = Candidate(Kind.START, "b", Proposal(0, "1g.10gb", 2, 1), ("a",))
    slices.make(displaces, Request("b", {}))
    assert (slices.invalid, list(slices.running)) == (2, ["b"])


def test_hostile_answers_never_get_through() -> None:
    assert bench_sched_decisions.walk(200, 1) == 0
