"""Watches on real files and groups."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux import inotify
from ainit.linux.inotify import Inotify
from tests.support.groups import member, real_groups
from tests.support.wait import wait_for


@pytest.fixture
def watches() -> Iterator[Inotify]:
    made = Inotify()
    yield made
    made.close()


def test_names_in_a_directory(watches: Inotify, tmp_path: Path) -> None:
    wd = watches.add(str(tmp_path), inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO)
    (tmp_path / "a").write_text("")
    (tmp_path / "ü").write_text("")
    (tmp_path / "a").rename(tmp_path / "b")
    assert watches.read() == [
        (wd, inotify.IN_CLOSE_WRITE, "a"),
        (wd, inotify.IN_CLOSE_WRITE, "ü"),
        (wd, inotify.IN_MOVED_TO, "b"),
    ]
    assert watches.read() == []


def test_its_descriptor_can_be_waited_for(watches: Inotify, tmp_path: Path) -> None:
    watches.add(str(tmp_path), inotify.IN_CREATE)
    assert select.select([watches.fileno()], [], [], 0)[0] == []
    (tmp_path / "a").touch()
    assert select.select([watches.fileno()], [], [], 60)[0] == [watches.fileno()]
    assert not os.get_inheritable(watches.fileno())


def test_a_watch_that_was_removed_is_silent(watches: Inotify, tmp_path: Path) -> None:
    wd = watches.add(str(tmp_path), inotify.IN_CREATE)
    watches.remove(wd)
    (tmp_path / "a").touch()
    assert watches.read() == [(wd, inotify.IN_IGNORED, "")]
    watches.remove(wd)


def test_a_file_that_went_away_ends_its_watch(watches: Inotify, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    wd = watches.add(str(tmp_path / "a"), inotify.IN_DELETE_SELF)
    (tmp_path / "a").unlink()
    assert watches.read() == [(wd, inotify.IN_DELETE_SELF, ""), (wd, inotify.IN_IGNORED, "")]


def test_what_cannot_be_watched_is_named(watches: Inotify, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-file"):
        watches.add(str(tmp_path / "no-file"), inotify.IN_MODIFY)


def test_one_read_is_bounded_and_an_overflow_is_told(watches: Inotify, tmp_path: Path) -> None:
    watches.add(str(tmp_path), inotify.IN_CREATE | inotify.IN_DELETE)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for _ in range(limit // 2 + 1):
        (tmp_path / "a").touch()
        (tmp_path / "a").unlink()
    first = watches.read()
    assert len(first) < limit // 4
    seen = [*first]
    while found := watches.read():
        seen += found
    assert seen[-1] == (inotify.OVERFLOW_WD, inotify.IN_Q_OVERFLOW, "")
    assert len(seen) == limit + 1


def test_a_group_says_that_it_has_no_process_left(watches: Inotify) -> None:
    with real_groups() as tree, member(tree, "a") as end:
        wd = watches.add(tree.events_path("a"), inotify.IN_MODIFY)
        end()
        wait_for(lambda: (wd, inotify.IN_MODIFY, "") in watches.read(), "the group's event")
        assert not tree.populated("a")
