"""What is kept of updates outlives the process; what is no record of ours is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.ota import history
from ainit.ota.history import Checked, Entry, Floors, Records, State, failed

STATE = State(history.PENDING, "2", "1", boot="b", agents=("speech",), gpus=3)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(str(tmp_path / "update"))


def again(records: Records) -> Records:
    return Records(records.directory)


def test_nothing_is_there_at_first(records: Records) -> None:
    assert (records.state(), records.floors(), records.history()) == (None, Floors(), [])
    assert records.checked() == Checked()
    records.write(None)
    records.clean()
    assert not Path(records.directory).exists()


def test_what_is_written_is_read_by_the_next(records: Records) -> None:
    records.write(STATE)
    records.raise_floors(Floors("1.5", 2))
    records.note_checked(Checked(5.0, "2", "", 3, "gone", "unreachable"))
    assert again(records).state() == STATE
    assert again(records).floors() == Floors("1.5", 2)
    assert again(records).checked() == Checked(5.0, "2", "", 3, "gone", "unreachable")
    records.write(None)
    assert again(records).state() is None


def test_the_identity_stays(records: Records) -> None:
    assert records.identity() == again(records).identity()
    assert len(records.identity()) == 32


def test_the_history_is_bounded_and_says_nothing_twice(records: Records) -> None:
    for number in range(history.KEPT + 5):
        records.note(Entry(float(number), f"1.{number}", "1", history.FAILED, "gone"))
    records.note(Entry(1e9, f"1.{history.KEPT + 4}", "1", history.FAILED, "gone"))
    entries = again(records).history()
    assert len(entries) == history.KEPT
    assert (entries[0].version, entries[-1].time) == ("1.5", history.KEPT + 4)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"phase": "pending"}', '"x"', "\0"])
def test_what_is_no_record(records: Records, text: str) -> None:
    Path(records.directory).mkdir()
    for name in ("state", "floors", "history", "checked"):
        Path(records.directory, f"{name}.json").write_text(text)
    assert (records.state(), records.floors(), records.history()) == (None, Floors(), [])
    assert records.checked() == Checked()


def test_keys_of_a_later_release_are_left_alone(records: Records) -> None:
    Path(records.directory).mkdir()
    text = '{"phase": "pending", "version": "2", "before": "1", "colour": "red"}'
    Path(records.directory, "state.json").write_text(text)
    assert records.state() == State("pending", "2", "1")


def test_which_versions_did_not_stay() -> None:
    def entry(version: str, outcome: str, reason: str = "") -> Entry:
        return Entry(1.0, version, "1", outcome, reason)

    entries = [
        entry("2", history.FELL_BACK, "panic"),
        entry("3", history.FAILED, "no network"),
        entry("4", history.FELL_BACK, "panic"),
        entry("4", history.INSTALLED),
        entry("4", history.COMMITTED),
        Entry(1.0, "1", "5", history.ROLLED_BACK),
    ]
    assert failed(entries) == {"2": "panic", "5": "it was rolled back"}
