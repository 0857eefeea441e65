"""Which table counts, and which entry the loader takes."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from lib import cut_boot
from lib.cut_boot import Entry, order

from tests.support import disk_image


def names(*entries: tuple[str, str]) -> list[str]:
    return [each.name for each in order(Entry(*each) for each in entries)]


def test_the_newest_version_starts() -> None:
    assert names(("a_0.9+3.efi", "0.9"), ("a_0.10+1-2.efi", "0.10")) == [
        "a_0.10+1-2.efi",
        "a_0.9+3.efi",
    ]


def test_one_without_a_try_left_comes_last() -> None:
    assert names(("a_2+0-3.efi", "2"), ("a_1+1-2.efi", "1")) == ["a_1+1-2.efi", "a_2+0-3.efi"]


def test_of_one_version_the_higher_name_then_the_most_tries_then_the_fewest_done() -> None:
    found = names(
        ("a_1+2-1.efi", "1"), ("b_1+1.efi", "1"), ("a_1+3-1.efi", "1"), ("a_1+3.efi", "1")
    )
    assert found == ["b_1+1.efi", "a_1+3.efi", "a_1+3-1.efi", "a_1+2-1.efi"]


def test_an_entry_without_a_counter_is_none_that_has_no_try_left() -> None:
    assert names(("a_1.efi", "1"), ("a_2+0-3.efi", "2")) == ["a_1.efi", "a_2+0-3.efi"]


@pytest.fixture
def disk(tmp_path: Path) -> bytearray:
    return bytearray((disk_image.make(tmp_path / "image") / "ainos.img").read_bytes())


def table(disk: bytearray) -> list[str] | None:
    found = cut_boot.table(lambda at, length: bytes(disk[at : at + length]), len(disk))
    return None if found is None else [each.name for each in found]


def test_the_table_is_read(disk: bytearray) -> None:
    found = cut_boot.table(lambda at, length: bytes(disk[at : at + length]), len(disk))
    assert found is not None
    held = {each.name: (str(each.uuid), each.start) for each in found}
    assert held == {
        name: (identity, disk_image.start_of(name)) for name, identity in disk_image.UUIDS.items()
    }
    assert {each.kind for each in found} == {uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")}


@pytest.mark.parametrize("at", [512 + 9, 512 + 60, 1024 + 16, 1024 + 127 * 128])
def test_the_copy_at_the_end_counts_when_the_first_is_damaged(disk: bytearray, at: int) -> None:
    whole = table(disk)
    disk[at] ^= 1
    assert whole is not None
    assert table(disk) == whole


def test_two_damaged_copies_are_no_table(disk: bytearray) -> None:
    disk[512 + 60] ^= 1
    disk[-512 + 60] ^= 1
    assert table(disk) is None


def test_there_is_no_table_without_a_protective_record(disk: bytearray) -> None:
    disk[446 + 4] = 0
    assert table(disk) is None
