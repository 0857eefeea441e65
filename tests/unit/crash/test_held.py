"""What is kept of units in quarantine: names, order and bounds."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from ainit.crash import held
from ainit.crash.held import Held, unit_of
from ainit.crash.record import Crash
from ainit.crash.shelf import Shelf
from tests.support.wait import wait_for


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


def test_one_that_is_kept_already_stays(tmp_path: Path) -> None:
    """It was read while nothing moved; who asks again may be too late for that."""
    for text in (b"first", b"second"):
        Held(str(tmp_path)).add(piece("a", 1), {"log.txt": text}, [])
    (kept,) = Held(str(tmp_path)).pieces()
    assert Held(str(tmp_path)).read(kept.id, "log.txt", 100) == b"first"


def test_two_at_once_leave_each_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what one has written half, another makes nothing that a power cut left."""
    held_up, go_on, add = threading.Event(), threading.Event(), Shelf.add

    def slow(shelf: Shelf, name: str, contents: Mapping[str, bytes]) -> None:
        if unit_of(name) == "a":
            temporary = tmp_path / f".new-{name}"
            temporary.mkdir()
            held_up.set()
            assert go_on.wait(60)
            temporary.rmdir()
        add(shelf, name, contents)

    def keep(unit: str) -> None:
        Held(str(tmp_path)).add(piece(unit, 1), {"log.txt": b"x"}, [])

    monkeypatch.setattr(Shelf, "add", slow)
    first, second = (threading.Thread(target=keep, args=[unit]) for unit in "ab")
    first.start()
    assert held_up.wait(60)
    second.start()
    waits = "-> FLOCK "
    inode = f":{tmp_path.stat().st_ino} "
    wait_for(
        lambda: not second.is_alive() or any(waits in line and inode in line for line in _locks()),
        "the second to wait, or to be done",
    )
    go_on.set()
    for each in (first, second):
        each.join(60)
    assert sorted(unit_of(each.id) for each in Held(str(tmp_path)).pieces()) == ["a", "b"]


def _locks() -> list[str]:
    return Path("/proc/locks").read_text(encoding="ascii").splitlines()
