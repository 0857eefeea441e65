from __future__ import annotations

from pathlib import Path

import pytest
from lib import soak_trust
from lib.soak_trust import Done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(soak_trust, "KEPT", tmp_path / "trust.json")
    return tmp_path


def test_a_later_run_goes_on_with_the_same_verifier(place: Path) -> None:
    done = Done(soak_trust.measured(), batches=3, mutations=3_000)
    soak_trust.keep(done)
    assert soak_trust.kept() == done


def test_another_verifier_begins_anew(place: Path) -> None:
    soak_trust.keep(Done("another", batches=3, mutations=3_000))
    assert soak_trust.kept() == Done(soak_trust.measured())


def test_troubles_are_counted_and_some_are_named() -> None:
    total = Done("")
    for number in range(30):
        soak_trust.add(total, Done("", 1, 10, 1, 2, [f"batch {number}"]))
    assert (total.batches, total.mutations, total.accepted, total.crashes) == (30, 300, 30, 60)
    assert len(total.troubles) == 20


def test_what_was_missed_is_an_entry_too() -> None:
    entries = {one.goal: one for one in soak_trust.goals(Done("", 1, 10, 1, 0), [1.0], 20)}
    assert {name: one.met for name, one in entries.items()} == {
        "trust.mutations": False,
        "trust.false_accepts": False,
        "trust.crashes": True,
        "trust.time_growth": True,
    }
