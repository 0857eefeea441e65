"""Crashes on a disk: complete or not there, bounded, the newest last to go."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ainit.crash.archive import CONSOLE, Archive
from ainit.crash.record import Crash, make_id

BOOT = "8f2a1c3e-0000"


def crash(number: int) -> Crash:
    time = 1700000000.0 + number
    return Crash(make_id(time, BOOT), "panic", time, BOOT, "6.12", f"cause {number}")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(str(tmp_path / "crash"), crashes=3, size=10_000)
    made.open()
    return made


def test_what_was_added_is_listed_the_newest_first(archive: Archive) -> None:
    for number in (2, 1, 3):
        archive.add(crash(number), {CONSOLE: f"console {number}".encode()})
    listed = archive.list()
    assert [each.cause for each in listed] == ["cause 3", "cause 2", "cause 1"]
    assert archive.read(listed[0].id, CONSOLE, 100) == b"console 3"
    assert archive.read(listed[0].id, CONSOLE, 2) == b" 3"
    assert archive.read(listed[0].id, "log.txt", 2) == b""


def test_two_of_the_same_second_have_two_ids(archive: Archive) -> None:
    first, second = archive.add(crash(1), {}), archive.add(crash(1), {})
    assert second.id == f"{first.id}-2"
    assert [each.id for each in archive.list()] == [second.id, first.id]


def test_the_oldest_go_beyond_the_number(archive: Archive) -> None:
    for number in range(5):
        archive.add(crash(number), {})
    archive.prune()
    assert [each.cause for each in archive.list()] == ["cause 4", "cause 3", "cause 2"]


def test_the_oldest_go_beyond_the_bytes_but_never_the_newest(archive: Archive) -> None:
    for number in range(3):
        archive.add(crash(number), {CONSOLE: b"x" * 4000})
    archive.prune()
    assert [each.cause for each in archive.list()] == ["cause 2", "cause 1"]
    archive.add(crash(9), {CONSOLE: b"x" * 40_000})
    archive.prune()
    assert [each.cause for each in archive.list()] == ["cause 9"]


def test_a_half_written_crash_is_not_listed_and_goes(tmp_path: Path, archive: Archive) -> None:
    half = tmp_path / "crash" / f".new-{crash(1).id}"
    half.mkdir()
    (half / CONSOLE).write_bytes(b"half")
    assert archive.list() == []
    archive.open()
    assert not half.exists()


def test_a_full_disk_leaves_nothing_half_done(
    tmp_path: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        archive.add(crash(1), {})
    assert list((tmp_path / "crash").iterdir()) == []


def test_a_damaged_record_hides_one_crash_only(tmp_path: Path, archive: Archive) -> None:
    archive.add(crash(1), {})
    bad = archive.add(crash(2), {})
    (tmp_path / "crash" / bad.id / "record.json").write_bytes(b"\x00" * 100)
    (tmp_path / "crash" / make_id(1.0, BOOT)).mkdir()
    (tmp_path / "crash" / make_id(2.0, BOOT)).write_text("a file")
    assert [each.cause for each in archive.list()] == ["cause 1"]


def test_no_path_leads_out(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    assert archive.read("..", "secret.txt", 100) == b""
    assert archive.read("../crash", "secret.txt", 100) == b""


def test_the_directory_s_name_is_the_id(tmp_path: Path, archive: Archive) -> None:
    kept = archive.add(crash(1), {})
    os.rename(tmp_path / "crash" / kept.id, tmp_path / "crash" / make_id(5.0, BOOT))
    assert archive.list() == [replace(kept, id=make_id(5.0, BOOT))]


def test_a_directory_that_is_not_there_has_no_crashes(tmp_path: Path) -> None:
    assert Archive(str(tmp_path / "none")).list() == []
