"""Every point of a log is a state that a disk can have after a power cut, and none is left out."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from lib import cut_log
from lib.cut_points import Point, Replay, points

from tests.support.block_log import FLUSH, FUA, entry, log

SECTORS = 6
SIZE = SECTORS * 512
# Sector and sectors of writes, by epochs.
Epochs = list[list[tuple[int, int]]]
EPOCHS = st.lists(
    st.lists(
        st.integers(0, SECTORS - 1).flatmap(
            lambda first: st.tuples(st.just(first), st.integers(1, SECTORS - first))
        ),
        max_size=4,
    ),
    min_size=1,
    max_size=4,
)


class Zeros:
    """A disk that holds nothing."""

    size = SIZE

    def read(self, offset: int, length: int) -> bytes:
        return bytes(max(0, min(length, SIZE - offset)))


def made(folder: Path, epochs: Epochs, flags: int = 0) -> cut_log.Log:
    """A log in which the write with the number n writes the byte n + 1."""
    entries, number = [], 0
    for epoch in epochs:
        for sector, count in epoch:
            number += 1
            entries.append(entry(sector, bytes([number]) * 512 * count, flags))
        entries.append(entry(0, flags=FLUSH))
    (folder / "log").write_bytes(log(*entries))
    return cut_log.read(folder / "log")


def states(found: cut_log.Log) -> list[tuple[Point, bytes]]:
    """What each sector holds at each point, as one byte a sector."""
    replay = Replay(found, Zeros())
    try:
        return [(each, replay.at(each).read(0, SIZE)[::512]) for each in points(found, seed=1)]
    finally:
        replay.close()


def possible(epochs: Epochs) -> list[list[set[int]]]:
    """By epoch and sector, the bytes that it may hold: its last one of before, or any since."""
    before, number, found = [{0}] * SECTORS, 0, []
    for epoch in [*epochs, []]:
        now = [set(each) for each in before]
        last = list(before)
        for sector, count in epoch:
            number += 1
            for at in range(sector, sector + count):
                now[at].add(number)
                last[at] = {number}
        found.append(now)
        before = last
    return found


@settings(max_examples=60, deadline=None)
@given(EPOCHS)
def test_a_sector_holds_what_it_had_or_what_was_written_since(epochs: Epochs) -> None:
    with tempfile.TemporaryDirectory() as name:
        allowed = possible(epochs)
        for point, held in states(made(Path(name), epochs)):
            for sector, byte in enumerate(held):
                assert byte in allowed[point.epoch][sector], point


@settings(max_examples=60, deadline=None)
@given(EPOCHS)
def test_every_boundary_of_writes_is_a_point_and_no_point_comes_twice(epochs: Epochs) -> None:
    with tempfile.TemporaryDirectory() as name:
        seen = states(made(Path(name), epochs))
        assert len({(each.epoch, each.pieces) for each, _ in seen}) == len(seen)
        held, number = bytearray(SECTORS), 0
        for place, epoch in enumerate([*epochs, []]):
            assert (place, bytes(held)) in {(each.epoch, state) for each, state in seen}
            for sector, count in epoch:
                number += 1
                held[sector : sector + count] = bytes([number]) * count
                assert (place, bytes(held)) in {(each.epoch, state) for each, state in seen}


def test_few_writes_are_there_in_every_combination(tmp_path: Path) -> None:
    found = states(made(tmp_path, [[(0, 1), (2, 1), (4, 1)]]))
    held = {tuple(state[::2]) for point, state in found if point.epoch == 0}
    assert held == set(itertools.product((0, 1), (0, 2), (0, 3)))


def test_a_write_of_few_sectors_is_torn_in_every_way(tmp_path: Path) -> None:
    found = states(made(tmp_path, [[(1, 3)]]))
    assert {state[1:4] for _, state in found} == {
        bytes(each) for each in itertools.product((0, 1), repeat=3)
    }


def test_the_same_seed_gives_the_same_points(tmp_path: Path) -> None:
    found = made(tmp_path, [[(0, 6), (0, 3), (2, 4), (1, 5)]])
    assert list(points(found, 3)) == list(points(found, 3)) != list(points(found, 4))


def test_a_write_that_waits_for_no_flush_is_there_when_a_later_one_is(tmp_path: Path) -> None:
    found = made(tmp_path, [[(0, 1), (1, 1)]], FUA)
    assert bytes([0, 2]) not in {state[:2] for _, state in states(found)}


def test_equal_keys_mean_equal_bytes(tmp_path: Path) -> None:
    found = made(tmp_path, [[(0, 2), (3, 2)], [(1, 3)], [(5, 1), (0, 1)]])
    replay = Replay(found, Zeros())
    known: dict[object, bytes] = {}
    for point in points(found, seed=1):
        disk = replay.at(point)
        for first in range(SECTORS):
            held = disk.read(first * 512, 1024)
            assert known.setdefault((first, disk.key(first * 512, 1024)), held) == held
    replay.close()
