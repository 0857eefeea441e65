"""Slopes, legs and what they amount to."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from lib import bench, soak_endurance
from lib.soak_endurance import WANTED, Leg, Sample

SAMPLE = Sample(events=0, pss=0, files=0, descriptors=0)
LEG = Leg(
    kind="crashes",
    tree="tree",
    events=WANTED,
    seconds=60.0,
    pss_slope=0.25,
    files_slope=0.5,
    descriptors_slope=1e-9,
    gc_cpu_ms=3.0,
    gc_wall_ms=4.0,
    faults=0,
    first=SAMPLE,
    last=SAMPLE,
)
CONTROL = dataclasses.replace(LEG, kind="control", pss_slope=0.0)


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "commit", lambda: "abc")
    monkeypatch.setattr(soak_endurance, "measured_tree", lambda: "tree")


def test_a_slope_is_that_of_the_line_closest_to_all_points() -> None:
    assert soak_endurance.slope([(0, 5), (10, 25), (20, 45)]) == pytest.approx(2.0)
    assert soak_endurance.slope([(3, 5), (3, 9)]) == 0.0
    assert soak_endurance.slope([]) == 0.0


def test_the_second_half_is_of_the_events_not_of_the_samples() -> None:
    samples = [Sample(events, 0, 0, 0) for events in (0, 1, 2, 3, 100, 200)]
    assert [one.events for one in soak_endurance.second_half(samples)] == [100, 200]


def test_with_a_million_of_each_every_goal_is_met() -> None:
    found = {one.goal: one for one in soak_endurance.goals([LEG, CONTROL])}
    assert {name: one.value for name, one in found.items()} == {
        "pid1.bytes_per_event": 0.25,
        "pid1.descriptors_per_event": 0.0,
        "pid1.gc_pause_ms": 3.0,
        "pid1.endurance_events": WANTED,
    }
    assert all(one.met for one in found.values())


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"pss_slope": 1.5}, "pid1.bytes_per_event"),
        ({"gc_cpu_ms": 10.5}, "pid1.gc_pause_ms"),
        ({"descriptors_slope": -0.01}, "pid1.descriptors_per_event"),
        ({"events": 10}, "pid1.endurance_events"),
        ({"faults": 1}, "pid1.endurance_events"),
    ],
)
def test_the_worst_leg_counts(changes: dict[str, Any], missed: str) -> None:
    bad = dataclasses.replace(LEG, **changes)
    found = soak_endurance.goals([bad, CONTROL])
    assert [one.goal for one in found if not one.met] == [missed]


def test_one_kind_alone_is_not_enough() -> None:
    found = {one.goal: one for one in soak_endurance.goals([LEG])}
    assert (found["pid1.endurance_events"].value, found["pid1.endurance_events"].met) == (0, False)


def test_legs_of_another_tree_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "legs.json"
    assert soak_endurance.kept(path) == []
    soak_endurance.keep([LEG, dataclasses.replace(LEG, tree="other")], path)
    assert soak_endurance.kept(path) == [LEG]


def test_a_slow_leak_is_seen() -> None:
    found = soak_endurance.goals([LEG, dataclasses.replace(CONTROL, pss_slope=1.01)])
    assert found[0].value == 1.01
    assert not found[0].met


def test_a_short_leg_counts_for_its_events_and_pauses_and_has_no_slope() -> None:
    long = dataclasses.replace(LEG, events=WANTED - 10)
    short = dataclasses.replace(LEG, events=10, pss_slope=9.0, gc_cpu_ms=7.0, descriptors_slope=1.0)
    found = {one.goal: one.value for one in soak_endurance.goals([long, short, CONTROL])}
    assert found == {
        "pid1.bytes_per_event": 0.25,
        "pid1.descriptors_per_event": 0.0,
        "pid1.gc_pause_ms": 7.0,
        "pid1.endurance_events": WANTED,
    }


def test_without_a_leg_that_has_a_slope_nothing_is_known_of_memory() -> None:
    short = dataclasses.replace(LEG, events=10)
    found = {one.goal: one for one in soak_endurance.goals([short])}
    assert found["pid1.bytes_per_event"].value is None
    assert not found["pid1.bytes_per_event"].met


def test_pid_1_has_memory_and_descriptors() -> None:
    sample = soak_endurance.look(os.getpid(), 7)
    assert sample.events == 7
    assert sample.pss > 1 << 20
    assert sample.descriptors >= 3
