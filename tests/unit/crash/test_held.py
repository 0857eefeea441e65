"""What is kept of units in quarantine: names, order and bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.crash import held
from ainit.crash.held import Held, unit_of
from ainit.crash.record import Crash


def piece(unit: str, day: int) -> Crash:
    return Crash(f"{unit}-202611{day:02}T202603Z", held.KIND, float(day), "8f", "6.12", "odd")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("speech-20261130T202603Z", "speech"),
        ("file-type-20261130T202603Z-12", "file-type"),
        ("7.job-20261130T202603Z", "7.job"),
        ("held", ""),
        (".new-speech-20261130T202603Z", ""),
        ("../x-20261130T202603Z", ""),
        ("speech-20261130T202603Z/..", ""),
    ],
)
def test_whose_it_is(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_the_oldest_goes_but_not_of_a_unit_that_is_still_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "PIECES", 2)
    shelf = Held(str(tmp_path / "kept"))
    for day, unit in enumerate(("held", "z", "b", "a"), start=1):
        shelf.add(piece(unit, day), {"log.txt": b"x"}, ["held"])
    assert sorted(unit_of(each.id) for each in shelf.pieces()) == ["a", "b", "held"]
    assert not [path for path in (tmp_path / "kept").iterdir() if path.name.startswith(".")]


def test_what_is_too_large_goes_but_not_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "BYTES", 1000)
    shelf = Held(str(tmp_path / "kept"))
    for day in (1, 2):
        shelf.add(piece("a", day), {"log.txt": b"x" * 2000}, [])
    assert [each.time for each in shelf.pieces()] == [2.0]


def test_a_piece_without_a_record_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a-20261130T202603Z").mkdir()
    (tmp_path / "b-20261130T202603Z").write_text("")
    assert Held(str(tmp_path)).pieces() == []
    assert Held(str(tmp_path / "none")).pieces() == []
