"""A goal is met, missed or without a value; a boot counts only if it was whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lib import bench
from lib.bench import goal, ready_goal
from lib.host import HostError


def status(**seconds: float) -> dict[str, Any]:
    phases = [{"name": name, "seconds": value} for name, value in seconds.items()]
    return {"machine": {"findings": ["gpu: failed"]}, "phases": phases}


@pytest.mark.parametrize(
    ("samples", "bound", "value", "met"),
    [
        ([3.0, 9.0, 1.0], 3.0, 3.0, True),
        ([3.0, 9.0, 4.0], 3.0, 4.0, False),
        ([3.0], None, 3.0, True),
        ([], 3.0, None, False),
        ([], None, None, False),
    ],
    ids=["at-bound", "above", "stated", "nothing", "nothing-stated"],
)
def test_a_goal_is_judged_by_the_median(
    samples: list[float], bound: float | None, value: float | None, met: bool
) -> None:
    found = goal("a.b", samples, "s", bound)
    assert (found.value, found.met, found.samples) == (value, met, samples)


def test_ready_begins_at_the_kernel_and_has_every_phase_as_a_peer() -> None:
    boots = [
        status(firmware=8.0, kernel=1.0, ainit=2.0, agents=3.0),
        status(firmware=9.0, kernel=2.0, ainit=2.0, agents=9.0),
        status(firmware=7.0, kernel=3.0, ainit=1.0, agents=4.0),
    ]
    found = ready_goal("a.ready_s", boots)
    assert found.samples == [6.0, 13.0, 8.0]
    assert found.value == 8.0
    assert found.peers == {"firmware": 8.0, "kernel": 2.0, "ainit": 2.0, "agents": 4.0}


def test_no_boot_is_no_value() -> None:
    found = ready_goal("a.ready_s", [])
    assert (found.value, found.met, found.peers) == (None, False, {})


def test_a_boot_that_never_became_healthy_is_an_error_with_its_findings() -> None:
    with pytest.raises(HostError, match=r"no agents: gpu: failed"):
        bench.phases(status(kernel=1.0, ainit=2.0))


def test_the_file_has_missed_goals_too_and_the_status_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    met = goal("a.met", [1.0], "s", 2.0, {"x": 1.5})
    missed, absent = goal("a.missed", [3.0], "s", 2.0), goal("a.absent", [], "s")
    path = tmp_path / "bench" / "result.json"
    assert bench.publish(path, [met, missed, absent]) == 1
    entries = json.loads(path.read_text())
    assert [(each["goal"], each["value"], each["met"]) for each in entries] == [
        ("a.met", 1.0, True),
        ("a.missed", 3.0, False),
        ("a.absent", None, False),
    ]
    keys = {"goal", "value", "bound", "unit", "met", "samples", "commit", "peers"}
    assert {frozenset(each) for each in entries} == {frozenset(keys)}
    printed = capsys.readouterr().out.splitlines()
    assert [line.split() for line in printed[:4]] == [
        ["a.met", "1", "s", "(at", "most", "2)", "met"],
        ["x", "1.5"],
        ["a.missed", "3", "s", "(at", "most", "2)", "MISSED"],
        ["a.absent", "no", "value", "MISSED"],
    ]
    assert bench.publish(path, [met]) == 0


def test_merged_entries_take_their_places(tmp_path: Path) -> None:
    result = tmp_path / "goals.json"
    bench.merge(result, [{"goal": "a", "value": 1}, {"goal": "b", "value": 1}])
    bench.merge(result, [{"goal": "c", "value": 2}, {"goal": "a", "value": 2}])
    found = [(each["goal"], each["value"]) for each in json.loads(result.read_text())]
    assert found == [("a", 2), ("b", 1), ("c", 2)]


def test_merged_goals_are_published_beside_the_others(tmp_path: Path) -> None:
    result = tmp_path / "goals.json"
    bench.publish(result, [goal("a", [1.0], "s")])
    assert bench.publish(result, [goal("b", [2.0], "s", 1.0)], merged=True) == 1
    assert [each["goal"] for each in json.loads(result.read_text())] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "is_met", "words"),
    [
        (3.0, True, "3 s  (at most 5)  met"),
        (7.0, False, "7 s  (at most 5)  MISSED"),
        (7.0, True, "7 s  (at least 5)  met"),
        (3.0, False, "3 s  (at least 5)  MISSED"),
        (None, False, "no value  (at most 5)  MISSED"),
    ],
)
def test_a_table_says_which_way_a_bound_holds(
    monkeypatch: pytest.MonkeyPatch, value: float | None, is_met: bool, words: str
) -> None:
    monkeypatch.setattr(bench, "commit", lambda: "abc")
    one = replace(goal("a", [1.0], "s", 5.0), value=value, met=is_met)
    assert bench.table([one]).removeprefix("a").strip() == words
