from __future__ import annotations

import json
from pathlib import Path

from lib import bench_measuring, soak_corruption
from lib.soak_corruption import SIZES


def test_the_machine_is_told_where_sizes_lie(tmp_path: Path) -> None:
    digests = soak_corruption.prepare(tmp_path, 10)
    image = (tmp_path / "fs.img").read_bytes()
    told = json.loads((tmp_path / "corruption.json").read_text())
    assert told["count"] == 10
    found = {
        name: int.from_bytes(image[at : at + 4], "little") for name, at in told["size_at"].items()
    }
    assert found == SIZES
    assert all(ours == theirs for ours, theirs in digests.values())


def test_a_wrong_byte_and_another_digest_are_missed_goals() -> None:
    digests = dict.fromkeys(SIZES, ("aa", "aa"))
    said = {
        "damaged": 10,
        "outcomes": {"EIO": 9, "right": 1},
        "digests": dict.fromkeys(SIZES, "aa"),
    }
    entries = {one.goal: one.met for one in soak_corruption.goals(said, digests, 10)}
    assert entries == {
        "trust.corruptions": True,
        "trust.wrong_bytes": True,
        "trust.digests_differ": True,
    }
    said["outcomes"] = {"EIO": 9, "wrong": 1}
    said["digests"] = {**dict.fromkeys(SIZES, "aa"), "tiny": "ab"}
    entries = {one.goal: one.met for one in soak_corruption.goals(said, digests, 11)}
    assert not any(entries.values())


def test_measuring_is_judged_by_what_it_could_be() -> None:
    entries = bench_measuring.goals({"shares": [0.95, 0.91, 0.5], "ratios": [1.0, 3.0, 2.5]})
    assert {one.goal: (one.value, one.met) for one in entries} == {
        "trust.remeasure_ratio": (2.5, False),
        "trust.measure_vs_limit": (0.91, True),
    }
