"""A log of writes is read as QEMU writes it; what is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib import cut_log
from lib.host import HostError

from tests.support.block_log import DISCARD, FLUSH, FUA, MARK, entry, log

A, B = b"a" * 512, b"b" * 1024


def read(tmp_path: Path, *entries: bytes) -> cut_log.Log:
    (tmp_path / "log").write_bytes(log(*entries))
    return cut_log.read(tmp_path / "log")


def test_flushes_part_the_writes(tmp_path: Path) -> None:
    found = read(tmp_path, entry(7, A), entry(9, B), entry(0, flags=FLUSH), entry(7, B))
    assert [[(each.sector, each.count) for each in epoch] for epoch in found.epochs] == [
        [(7, 1), (9, 2)],
        [(7, 2)],
    ]
    assert found.writes == 3
    data = found.path.read_bytes()
    places = [data[each.at : each.at + 512 * each.count] for each in found.epochs[0] if each.at]
    assert places == [A, B]


def test_a_flush_with_data_comes_before_them(tmp_path: Path) -> None:
    found = read(tmp_path, entry(1, A), entry(2, A, FLUSH | FUA), entry(3, A))
    assert [[(each.sector, each.forced) for each in epoch] for epoch in found.epochs] == [
        [(1, False)],
        [(2, True), (3, False)],
    ]


def test_a_discard_has_no_data_and_leaves_zeros(tmp_path: Path) -> None:
    found = read(tmp_path, entry(4, flags=DISCARD, count=9), entry(8, A))
    assert [(each.sector, each.count, each.at is None) for each in found.epochs[0]] == [
        (4, 9, True),
        (8, 1, False),
    ]


def test_a_mark_is_text_between_epochs(tmp_path: Path) -> None:
    found = read(tmp_path, entry(1, A), entry(0, flags=FLUSH), entry(0, b"here", MARK), entry(2, A))
    assert found.marks == ((1, "here"),)
    assert [each.sector for each in found.epochs[1]] == [2]


def test_entries_behind_the_number_of_them_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(log(entry(1, A)) + entry(2, A))
    assert cut_log.read(tmp_path / "log").writes == 1


@pytest.mark.parametrize("data", [b"", bytes(512), log(entry(0, flags=16)), log(entry(1, A))[:600]])
def test_what_is_no_log_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "log").write_bytes(data)
    with pytest.raises(HostError):
        cut_log.read(tmp_path / "log")
