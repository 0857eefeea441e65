"""The writer: batches, deadlines, and disks that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from ainit.log.files import Files, Record
from ainit.log.read import Query, last
from ainit.log.writer import SYNC_SECONDS, Writer


class Disk(Files):
    """Files on a disk that can be full, and the syncs that were asked for."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory, "b")
        self.is_full = False
        self.syncs = 0

    def append(self, unit: str, records: Iterable[Record], cursor: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().append(unit, records, cursor)

    def sync(self) -> None:
        self.syncs += 1
        if self.is_full:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync()


class Desk:
    """A writer, its clock and what it said."""

    def __init__(self, directory: Path) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.disk = Disk(str(directory))
        self.writer = Writer(self.disk, {}, say=self.said.append, now=lambda: self.now)

    def take(self, *texts: str, cursor: int, priority: int = 6, missed: int = 0) -> None:
        lines = [{"unit": "u", "time": 4.0, "text": text, "priority": priority} for text in texts]
        self.writer.take(
            {
                "lines": lines,
                "cursors": {"u": cursor},
                "missed": {"u": missed} if missed else {},
            }
        )

    def texts(self) -> list[str]:
        return [str(line["text"]) for line in last(self.disk.directory, Query("b", "u"))]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_batches_go_to_the_disk_by_a_deadline(desk: Desk) -> None:
    assert desk.writer.wait() is None
    desk.take("one", cursor=4)
    assert desk.writer.wait() == SYNC_SECONDS
    desk.now += SYNC_SECONDS - 1
    desk.take("two", cursor=8)
    assert (desk.disk.syncs, desk.writer.wait()) == (0, 1.0)
    desk.now += 1
    desk.writer.tick()
    assert (desk.disk.syncs, desk.writer.wait()) == (1, None)
    assert desk.texts() == ["one", "two"]
    assert desk.writer.cursors == {"u": 8}


def test_what_is_critical_goes_to_the_disk_at_once(desk: Desk) -> None:
    desk.take("no matter", cursor=10, priority=3)
    assert desk.disk.syncs == 0
    desk.take("on fire", cursor=18, priority=2)
    assert (desk.disk.syncs, desk.writer.wait()) == (1, None)


def test_a_full_disk_costs_lines_that_are_counted_said_once_and_noted(desk: Desk) -> None:
    desk.take("one", cursor=4)
    desk.disk.is_full = True
    desk.take("two", "three", cursor=14)
    desk.take("four", cursor=19)
    assert desk.writer.lost == 3
    assert desk.writer.problem.endswith("No space left on device")
    assert len(desk.said) == 1
    assert desk.said[0].startswith("<3>")
    desk.disk.is_full = False
    desk.take("five", cursor=24)
    assert desk.texts() == ["one", "3 lines were lost here: they could not be written", "five"]
    assert (desk.writer.lost, desk.writer.problem) == (3, "")
    assert desk.said[1:] == ["<5>the logs are written again; 3 lines were lost in all"]
    desk.disk.is_full = True
    desk.take("six", cursor=28)
    assert (desk.writer.lost, len(desk.said)) == (4, 3)


def test_a_disk_that_cannot_sync_is_said_and_the_service_goes_on(desk: Desk) -> None:
    desk.take("one", cursor=4)
    desk.disk.is_full = True
    desk.writer.sync()
    desk.writer.sync()
    assert len(desk.said) == 1
    desk.disk.is_full = False
    desk.take("two", cursor=8)
    assert desk.writer.problem == ""


def test_what_came_too_fast_is_noted_where_it_is_missing(desk: Desk) -> None:
    desk.take("one", cursor=4)
    desk.take("late", cursor=5000, missed=4991)
    assert desk.texts()[1:] == [
        "4991 bytes are missing here: they came faster than they could be written",
        "late",
    ]
    assert desk.writer.missed == 4991
    note = last(desk.disk.directory, Query("b", "u", priority=4))
    assert [(line["source"], line["priority"], line["time"]) for line in note] == [("log", 4, 4.0)]


def test_nothing_new_is_nothing_written(desk: Desk) -> None:
    desk.writer.take({"lines": [], "cursors": {}, "missed": {}, "dropped": 0})
    assert list(desk.disk.directory.iterdir()) == []
    assert desk.writer.wait() is None
