"""Paths that start units, on the kernel's own inotify."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ainit.linux import inotify
from ainit.pid1.limit import TriggerLimit
from ainit.pid1.loop import Loop, now
from ainit.pid1.paths import Paths
from ainit.policy.plan import Record, Unit
from tests.support import descriptors

BENCHES: list[Bench] = []


@pytest.fixture(autouse=True)
def _tidy() -> Iterator[None]:
    """A user may have few of inotify's descriptors."""
    yield
    while BENCHES:
        if (watches := BENCHES.pop().paths._inotify) is not None:
            watches.close()


class Bench:
    """Paths on a real loop. A unit that is started runs until ``end``, unless it is ``brief``."""

    def __init__(self, journal: Record | None = None) -> None:
        self.loop = Loop()
        self.loop.hook(lambda now: now + 0.001)
        self.starts: list[tuple[str, str]] = []
        self.holds: list[tuple[str, str]] = []
        self.said: list[tuple[str, str]] = []
        self.running: set[str] = set()
        self.journal: Record = journal if journal is not None else {}
        self.now = 0.0
        self.dies_at_start = False
        self.wanted: dict[str, float] = {}
        self.paths = Paths(
            self.loop,
            start=self._start,
            hold=lambda name, reason: self.holds.append((name, reason)),
            running=self.running.__contains__,
            say=lambda name, text: self.said.append((name, text)),
            wanted_at=lambda name: self.wanted.get(name, 0.0),
            journal=self.journal.__setitem__,
            limit=TriggerLimit(starts=3, seconds=10.0, now=lambda: self.now),
        )
        self.paths.resume(dict(self.journal))
        BENCHES.append(self)

    def _start(self, name: str, why: str) -> None:
        if self.dies_at_start:
            raise MemoryError
        self.starts.append((name, why))
        self.running.add(name)

    def watch(self, kind: str, path: Path, name: str = "a") -> Bench:
        return self.configure(unit(name, {kind: str(path)}))

    def configure(self, *units: Unit) -> Bench:
        before = len(self.starts)
        self.paths.configure(units)
        assert len(self.starts) == before  # nothing starts before the loop turns
        self.paths.hook(0.0)
        return self

    def turn(self) -> int:
        """Take in what happened; how often something was started by it."""
        before = len(self.starts)
        for _ in range(3):
            self.loop.turn()
        return len(self.starts) - before

    def end(self, name: str = "a") -> int:
        before = len(self.starts)
        self.running.discard(name)
        self.paths.exited(name)
        return len(self.starts) - before


def unit(name: str, *paths: dict[str, str]) -> Unit:
    return Unit.from_record({"name": name, "kind": "service", "paths": list(paths)})


def test_a_path_that_exists_starts_at_once_and_again_after_the_end(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    bench = Bench().watch("exists", tmp_path / "go")
    assert bench.starts == [("a", f"{tmp_path}/go exists")]
    assert bench.end() == 1
    (tmp_path / "go").unlink()
    assert bench.turn() == 0
    assert bench.end() == 0


def test_a_path_that_comes_to_exist_starts_once(tmp_path: Path) -> None:
    bench = Bench().watch("exists", tmp_path / "go")
    (tmp_path / "other").touch()
    assert bench.turn() == 0
    (tmp_path / "go").touch()
    assert bench.turn() == 1
    assert bench.turn() == 0


def test_a_path_in_directories_that_are_yet_to_come(tmp_path: Path) -> None:
    bench = Bench().watch("exists", tmp_path / "one" / "two" / "three" / "go")
    (tmp_path / "one").mkdir()
    assert bench.turn() == 0
    (tmp_path / "one" / "two" / "three").mkdir(parents=True)
    assert bench.turn() == 0
    (tmp_path / "one" / "two" / "three" / "go").touch()
    assert bench.turn() == 1


def test_directories_that_come_all_at_once_hide_nothing(tmp_path: Path) -> None:
    bench = Bench().watch("exists", tmp_path / "one" / "two" / "go")
    (tmp_path / "one" / "two").mkdir(parents=True)
    (tmp_path / "one" / "two" / "go").touch()
    assert bench.turn() == 1


def test_a_directory_far_above_that_is_moved_away_and_made_anew(tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    bench = Bench().watch("exists", tmp_path / "one" / "two" / "go")
    (tmp_path / "one").rename(tmp_path / "away")
    assert bench.turn() == 0
    (tmp_path / "away" / "two" / "go").touch()
    assert bench.turn() == 0
    (tmp_path / "one" / "two").mkdir(parents=True)
    assert bench.turn() == 0
    (tmp_path / "one" / "two" / "go").touch()
    assert bench.turn() == 1


def test_a_directory_far_above_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    bench = Bench().watch("exists", tmp_path / "one" / "two" / "go")
    (tmp_path / "one").rename(tmp_path / "away")
    (tmp_path / "one" / "two").mkdir(parents=True)
    assert bench.turn() == 0
    (tmp_path / "one" / "two" / "go").touch()
    assert bench.turn() == 1


def test_a_directory_that_comes_just_before_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = inotify.Inotify.add

    def late(self: inotify.Inotify, path: str, mask: int) -> int:
        (tmp_path / "one").mkdir(exist_ok=True)
        return add(self, path, mask)

    with monkeypatch.context() as patch:
        patch.setattr(inotify.Inotify, "add", late)
        bench = Bench().watch("exists", tmp_path / "one" / "go")
    (tmp_path / "one" / "go").touch()
    assert bench.turn() == 1


def test_a_path_that_is_moved_into_place_starts(tmp_path: Path) -> None:
    bench = Bench().watch("exists", tmp_path / "in" / "go")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "go").touch()
    (tmp_path / "new").rename(tmp_path / "in")
    assert bench.turn() == 1


def write(path: Path) -> None:
    path.write_text("x")


def replace(path: Path) -> None:
    new = path.with_suffix(".new")
    new.touch()
    new.rename(path)


def rewrite(path: Path) -> None:
    path.open("a").close()  # nothing about the file tells, but who wrote is done


@pytest.mark.parametrize(
    "change", [write, rewrite, Path.unlink, replace, lambda path: path.chmod(0o600)]
)
def test_a_change_of_a_file_starts(tmp_path: Path, change: Callable[[Path], None]) -> None:
    (tmp_path / "file").touch(mode=0o644)
    bench = Bench().watch("changed", tmp_path / "file")
    assert bench.turn() == 0
    change(tmp_path / "file")
    assert bench.turn() == 1
    assert bench.starts == [("a", f"{tmp_path}/file changed")]
    assert bench.end() == 0


def test_reading_is_no_change_and_neither_is_another_file(tmp_path: Path) -> None:
    write(tmp_path / "file")
    bench = Bench().watch("changed", tmp_path / "file")
    (tmp_path / "file").read_text()
    write(tmp_path / "other")
    assert bench.turn() == 0


def test_a_file_that_appears_has_changed_and_goes_on_being_watched(tmp_path: Path) -> None:
    bench = Bench().watch("changed", tmp_path / "file")
    write(tmp_path / "file")
    assert bench.turn() == 1
    bench.end()
    write(tmp_path / "file")
    assert bench.turn() == 1


def test_a_change_while_the_unit_runs_starts_it_once_more_after_its_end(tmp_path: Path) -> None:
    bench = Bench().watch("changed", tmp_path / "file")
    write(tmp_path / "file")
    assert bench.turn() == 1
    for _ in range(5):
        write(tmp_path / "file")
        assert bench.turn() == 0
    assert bench.end() == 1
    assert bench.end() == 0


def test_an_entry_in_a_directory_is_a_change_of_it(tmp_path: Path) -> None:
    bench = Bench().watch("changed", tmp_path)
    (tmp_path / "x").touch()
    assert bench.turn() == 1


def test_a_directory_that_is_not_empty_starts_until_it_is(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    bench = Bench().watch("not-empty", spool)
    spool.mkdir()
    assert bench.turn() == 0
    (spool / "job").touch()
    assert bench.turn() == 1
    assert bench.starts == [("a", f"{spool} is not empty")]
    assert bench.end() == 1
    (spool / "job").unlink()
    assert bench.end() == 0
    shutil.rmtree(spool)
    assert bench.turn() == 0
    write(spool)  # now a file
    assert bench.turn() == 0


def test_what_stays_while_the_unit_fails_at_once_does_not_spin(tmp_path: Path) -> None:
    bench = Bench().watch("exists", tmp_path)
    for _ in range(20):
        bench.end()
    assert len(bench.starts) == 3
    assert bench.holds == [("a", f"that {tmp_path} exists started it 3 times in 10 s")]
    bench.paths.release("a")
    assert bench.end() == 1


def test_each_of_several_paths_starts_and_each_unit_is_told_of_its_own(tmp_path: Path) -> None:
    bench = Bench()
    bench.configure(
        unit("a", {"exists": f"{tmp_path}/x"}, {"changed": f"{tmp_path}/y"}),
        unit("b", {"changed": f"{tmp_path}/x"}),
        unit("c", {"exists": f"{tmp_path}/x/"}),
    )
    write(tmp_path / "y")
    assert bench.turn() == 1
    bench.end()
    write(tmp_path / "x")
    bench.turn()
    assert sorted(name for name, _ in bench.starts[1:]) == ["a", "b", "c"]


def test_writing_is_no_reason_for_one_that_waits_for_the_file_to_exist(tmp_path: Path) -> None:
    """The kernel has one watch for both: each hears what the other asked for."""
    (tmp_path / "x").touch()
    bench = Bench()
    bench.configure(unit("a", {"exists": f"{tmp_path}/x"}), unit("b", {"changed": f"{tmp_path}/x"}))
    bench.running.clear()
    write(tmp_path / "x")
    bench.turn()
    assert [name for name, _ in bench.starts] == ["a", "b"]


def test_a_unit_that_is_gone_is_not_started_and_leaves_no_watch(tmp_path: Path) -> None:
    bench = Bench().watch("exists", tmp_path / "go")
    bench.paths.configure([])
    (tmp_path / "go").touch()
    assert bench.turn() == 0
    assert bench.paths._points == {}


def test_a_unit_that_stays_is_not_looked_at_anew(tmp_path: Path) -> None:
    bench = Bench().watch("exists", tmp_path)
    bench.running.clear()
    bench.watch("exists", tmp_path)
    assert len(bench.starts) == 1


def test_lost_events_mean_that_everything_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench().watch("changed", tmp_path / "x")
    write(tmp_path / "x")
    lost = [(inotify.OVERFLOW_WD, inotify.IN_Q_OVERFLOW, "")]
    read = inotify.Inotify.read

    def overflow(self: inotify.Inotify) -> list[tuple[int, int, str]]:
        return lost if read(self) else []

    monkeypatch.setattr(inotify.Inotify, "read", overflow)
    assert bench.turn() == 1


def test_a_new_pid_1_sees_the_changes_that_nobody_saw(tmp_path: Path) -> None:
    bench = Bench().watch("changed", tmp_path / "x")
    write(tmp_path / "x")
    later = Bench(bench.journal).watch("changed", tmp_path / "x")
    assert len(later.starts) == 1
    assert Bench(bench.journal).watch("changed", tmp_path / "x").starts == []
    assert later.paths.to_record() == later.journal


def test_a_new_pid_1_knows_of_the_change_while_the_unit_ran(tmp_path: Path) -> None:
    bench = Bench().watch("changed", tmp_path / "x")
    bench.running.add("a")
    write(tmp_path / "x")
    bench.turn()
    later = Bench(bench.journal)
    later.running.add("a")
    later.watch("changed", tmp_path / "x")
    assert later.end() == 1


def test_a_fault_at_the_start_loses_no_change(tmp_path: Path) -> None:
    write(tmp_path / "x")
    bench = Bench().watch("changed", tmp_path / "x")
    bench.dies_at_start = True
    rewrite(tmp_path / "x")
    with pytest.raises(MemoryError):
        bench.turn()
    assert len(Bench(bench.journal).watch("changed", tmp_path / "x").starts) == 1


def test_what_the_kernel_cannot_watch_is_said_and_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: inotify.Inotify, path: str, mask: int) -> int:
        raise OSError(errno.ENOSPC, "no room", path)

    bench = Bench()
    with monkeypatch.context() as patch:
        patch.setattr(inotify.Inotify, "add", full)
        bench.watch("exists", tmp_path / "x")
        assert bench.paths.hook(100.0) == 110.0
        assert len(bench.said) == 1
        assert "x is looked at now and then only: " in bench.said[0][1]
        (tmp_path / "x").touch()
        assert bench.paths.hook(105.0) == 110.0
        assert bench.starts == []
        assert bench.paths.hook(110.0) == 120.0
        assert len(bench.starts) == 1
    assert bench.paths.hook(120.0) == 0.0
    (tmp_path / "x").unlink()
    bench.turn()
    bench.running.clear()
    (tmp_path / "x").touch()
    assert bench.turn() == 1


def test_a_loop_that_had_no_room_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    bench = Bench()
    with monkeypatch.context() as patch:
        patch.setattr(bench.loop, "add", full)
        bench.watch("exists", tmp_path / "x")
    assert bench.paths.hook(100.0) == 0.0
    (tmp_path / "x").touch()
    assert bench.turn() == 1


def test_the_root_itself_is_a_path() -> None:
    assert len(Bench().watch("exists", Path("/")).starts) == 1


def test_nothing_to_watch_opens_nothing() -> None:
    before = len(descriptors.at_first())
    bench = Bench()
    opened = len(descriptors.now())
    bench.paths.configure([Unit("a", "service")])
    assert len(descriptors.now()) == opened > before


def test_a_change_that_a_former_pid1_did_tell_is_not_told_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    bench = Bench().watch("changed", path)
    path.write_text("12")
    bench.dies_at_start = True
    with pytest.raises(MemoryError):
        bench.turn()
    again = Bench(bench.journal)
    again.wanted["a"] = now() + 1.0
    again.watch("changed", path)
    assert again.starts == []
    lost = Bench(bench.journal).watch("changed", path)
    assert [name for name, _ in lost.starts] == []  # it was journaled again by the one before
    path.write_text("123")
    assert again.turn() == 1


def test_a_path_that_cannot_be_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench().watch("not-empty", tmp_path)

    def fails(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(os, "scandir", fails)
        (tmp_path / "new").touch()
        assert bench.turn() == 0
    assert "Too many" in bench.said[0][1]
    bench.paths.hook(20.0)
    assert len(bench.starts) == 1
