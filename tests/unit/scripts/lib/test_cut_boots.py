"""What is said of a point that was booted, beside what the oracle said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from lib import cut_boots, cut_log, cut_trial
from lib.cut_log import Log, Write
from lib.cut_oracle import UNBOOTABLE, Verdict
from lib.cut_points import Piece, Point

POINT = Point(3, "boundary", ())


class Oracle:
    """Says the same of every disk."""

    said = Verdict("", "")

    def __init__(self, world: object) -> None:
        pass

    def judge(self, held: object) -> Verdict:
        return self.said


def test_results_are_kept_by_name_so_no_two_points_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Write(7, 0, 8, None)
    torn = [Point(0, "torn", (Piece(write, (at,)),)) for at in range(8)]
    monkeypatch.setattr(cut_trial, "points", lambda log: iter([*torn, POINT]))
    monkeypatch.setattr(cut_boots, "touches", lambda log, point: point is not POINT)
    found = cut_boots.chosen(Log(Path(), ((write,),)), 2)
    assert len({str(each) for each in found}) == 2
    assert found[1] is POINT


@pytest.mark.parametrize(
    ("said", "started", "wrong"),
    [
        (Verdict("", cut_boots.VERSION), "new", ""),
        (Verdict("", "0.1.0"), "old", ""),
        (Verdict(UNBOOTABLE, ""), "", ""),
        (Verdict("", cut_boots.VERSION), "old", "starts old, not new"),
        (Verdict("", "0.1.0"), "", "starts nothing, not old"),
        (Verdict(UNBOOTABLE, ""), "old", "starts old, not nothing"),
    ],
)
def test_a_machine_that_starts_what_was_not_foreseen_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: Verdict, started: str, wrong: str
) -> None:
    monkeypatch.setattr(Oracle, "said", said)
    monkeypatch.setattr(cut_boots, "Oracle", Oracle)
    monkeypatch.setattr(cut_log, "read", lambda path: None)
    monkeypatch.setattr(cut_boots, "chosen", lambda log, count: [POINT])
    monkeypatch.setattr(cut_boots, "_disks", lambda *_: [(POINT, None)])
    monkeypatch.setattr(cut_boots, "boot", lambda *_: started)
    ground = cast("Any", type("Ground", (), {"trial": type("Trial", (), {"log": "", "world": 0})}))
    results = tmp_path / "boots.json"
    found = cut_boots.sample(ground, 1, 60.0, results, lambda done, total: None)
    assert found == json.loads(results.read_text()) == {str(POINT): wrong}
