"""The files: rotated, bounded, and exact whenever they are taken up again."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ainit.log.files import FILES, Files, mark_of, series, units
from ainit.log.read import Boot, Boots, Query, last

BOOT = "b1"


def record(text: str, time: float = 1.0, priority: int = 6) -> dict[str, object]:
    return {"unit": "u", "time": time, "text": text, "priority": priority, "source": "unit"}


def texts(directory: Path, boot: str = BOOT, **wanted: object) -> list[str]:
    query = Query(boot, **{"unit": "u", "count": 1000, **wanted})  # type: ignore[arg-type]
    return [str(line["text"]) for line in last(directory, query)]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(str(tmp_path / "log"), BOOT, file_bytes=1000, total_bytes=100_000)


def again(files: Files, boot: str = BOOT) -> Files:
    return Files(str(files.directory), boot, file_bytes=1000, total_bytes=100_000)


def test_a_record_is_a_line_and_a_mark_says_whose_it_is(files: Files) -> None:
    files.append("u", [record("one"), record("two")], 8)
    first, second, mark = (files.directory / "u.jsonl").read_text().splitlines()
    assert json.loads(first) == {"time": 1.0, "text": "one", "priority": 6, "source": "unit"}
    assert json.loads(second)["text"] == "two"
    assert mark_of(mark.encode()) == (BOOT, 8)
    assert (files.directory / "u.jsonl").stat().st_mode & 0o777 == 0o600
    assert files.directory.stat().st_mode & 0o777 == 0o700
    assert files.bytes == (files.directory / "u.jsonl").stat().st_size == again(files).bytes


def test_files_are_rotated_and_the_oldest_go(files: Files) -> None:
    for number in range(200):
        files.append("u", [record(f"{number}", float(number))], number + 1)
    paths = series(files.directory, "u")
    assert sorted(files.directory.iterdir()) == sorted(paths)
    assert all(path.stat().st_size <= 1000 for path in paths)
    found = texts(files.directory)
    assert found == [str(number) for number in range(200 - len(found), 200)]
    assert len(found) > 8 * FILES // 2
    assert files.bytes == sum(path.stat().st_size for path in paths)
    assert again(files).recover() == {"u": 200}


@pytest.mark.parametrize("left", ["u.jsonl gone", "u.jsonl empty", "u.jsonl half"])
def test_a_cut_in_the_middle_of_a_rotation_loses_no_cursor(files: Files, left: str) -> None:
    files.append("u", [record("one")], 4)
    path = files.directory / "u.jsonl"
    path.rename(files.directory / "u.1.jsonl")
    if left != "u.jsonl gone":
        path.write_bytes(b"" if left == "u.jsonl empty" else b'{"time":2,"text":"tw')
    taken = again(files)
    assert taken.recover() == {"u": 4}
    taken.append("u", [record("two", 2.0)], 8)
    assert texts(files.directory) == ["one", "two"]
    assert taken.bytes == sum(path.stat().st_size for path in files.directory.iterdir())


def test_a_batch_cut_short_at_any_byte_is_taken_off_as_a_whole(files: Files) -> None:
    path = files.directory / "u.jsonl"
    files.append("u", [record("one")], 4)
    size = path.stat().st_size
    files.append("u", [record("two"), record("three")], 14)
    whole = path.read_bytes()
    for cut in range(size, len(whole)):
        path.write_bytes(whole[:cut])
        taken = again(files)
        assert taken.recover() == {"u": 4}
        assert path.stat().st_size == size == taken.bytes
        assert texts(files.directory) == ["one"]
    path.write_bytes(whole)
    assert again(files).recover() == {"u": 14}


def test_another_boot_begins_at_the_start_and_is_told_apart(files: Files) -> None:
    files.append("u", [record("old", 5.0)], 4)
    new = again(files, "b2")
    assert new.recover() == {}
    new.append("u", [record("new", 1.0)], 4)
    assert texts(files.directory) == ["old"]
    assert texts(files.directory, "b2") == ["new"]
    assert texts(files.directory, "b3") == []


def test_the_sum_is_bounded_and_what_was_quiet_for_longest_goes(tmp_path: Path) -> None:
    files = Files(str(tmp_path), BOOT, file_bytes=1000, total_bytes=3000)
    for number, unit in enumerate(("a", "b", "c", "d", "e")):
        files.append(unit, [record("x" * 700)], 1)
        os.utime(tmp_path / f"{unit}.jsonl", (number, number))
    assert units(tmp_path) == ["c", "d", "e"]
    assert files.bytes == sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3000
    files.sync()


def test_sync_survives_what_was_removed_meanwhile(files: Files) -> None:
    files.append("u", [record("one")], 4)
    assert not files.is_synced
    (files.directory / "u.jsonl").unlink()
    files.sync()
    assert files.is_synced


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file may become longer: writes are cut short, then fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_does_not_fit_leaves_nothing_behind(files: Files) -> None:
    files.append("u", [record("one")], 4)
    size = files.bytes
    with file_limit(size + 20), pytest.raises(OSError, match=r"space|large"):
        files.append("u", [record("two")], 8)
    with file_limit(size), pytest.raises(OSError, match=r"space|large"):
        files.append("u", [record("two")], 8)
    assert (files.directory / "u.jsonl").stat().st_size == size == files.bytes
    files.append("u", [record("three")], 12)
    assert texts(files.directory) == ["one", "three"]


@pytest.mark.parametrize("name", ["", ".", "../u", "a/b", ".hidden"])
def test_a_name_that_is_none_is_refused(files: Files, name: str) -> None:
    with pytest.raises(ValueError, match="no unit's name"):
        files.append(name, [record("one")], 4)
    assert list(files.directory.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"boot":"b"}',
        b'{"boot":"b","cursor":"1"}',
        b'{"boot":1,"cursor":1}',
        b'{"boot":',
        b"{}",
    ],
)
def test_what_is_no_mark(line: bytes) -> None:
    assert mark_of(line) is None


def test_lines_are_chosen_by_number_time_priority_and_unit(files: Files) -> None:
    for number in range(8):
        files.append("u", [record(f"{number}", float(number), number)], number + 1)
        files.append("v", [record(f"v{number}", number + 0.5)], number + 1)
    assert texts(files.directory, count=2) == ["6", "7"]
    assert texts(files.directory, count=0) == []
    assert texts(files.directory, since=6.0) == ["6", "7"]
    assert texts(files.directory, priority=2) == ["0", "1", "2"]
    assert texts(files.directory, unit=None, count=3) == ["v6", "7", "v7"]
    assert texts(files.directory, unit="silent") == []
    (line,) = last(files.directory, Query(BOOT, None, 1))
    assert line["unit"] == "v"


def test_an_answer_is_bounded_in_bytes(tmp_path: Path) -> None:
    files = Files(str(tmp_path), BOOT)
    for number in range(200):
        files.append("u", [record("x" * 8000, float(number))], number)
    assert len(texts(tmp_path)) == 512 * 1024 // 8000


def test_boots_are_found_by_name_place_and_beginning(tmp_path: Path) -> None:
    boots = Boots(str(tmp_path))
    assert [boots.find(name) for name in (None, "previous")] == [None, None]
    for name in ("aa1", "ab2", "b3", "ab2"):
        boots.enter(Boot(name, 1.5))
    known = Boots(str(tmp_path))
    assert [boot.id for boot in known.all] == ["aa1", "b3", "ab2"]
    assert known.find(None) == known.find("current") == "ab2"
    assert known.find("previous") == "b3"
    assert [known.find(name) for name in ("aa", "a", "c", "")] == ["aa1", None, None, None]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"boots": 1}', '{"boots": [{"id": 1}]}', "\udcff"]
)
def test_a_list_of_boots_that_is_none_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "boots.json").write_text(text, errors="surrogateescape")
    boots = Boots(str(tmp_path))
    assert boots.all == []
    boots.enter(Boot("a", 1.0))
    assert Boots(str(tmp_path)).find(None) == "a"
