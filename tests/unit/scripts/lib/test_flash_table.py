"""The partition table for another disk, held to what sgdisk and our own reader say of it."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from lib.flash_table import HEAD_MAX, Table, read
from lib.host import HostError

from ainit.linux import gpt
from tests.support import disk_image
from tests.support.disk_image import END, FIXED, MIB, ROOT, UUIDS, VERITY

SECTOR = 512
KEEP = {ROOT, VERITY}
SIZES = (END + 33 * SECTOR, END + 34 * SECTOR, 64 * MIB, 3 << 40)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    disk = disk_image.make(tmp_path_factory.mktemp("image")) / "ainos.img"
    with disk.open("rb") as file:
        return file.read(HEAD_MAX)


@pytest.fixture
def table(head: bytes) -> Table:
    return read(head)


def test_what_the_image_has(table: Table) -> None:
    assert {each.name: each.uuid for each in table.partitions} == UUIDS
    assert {each.name: each.size // MIB for each in table.partitions} == disk_image.SIZES
    assert table.start == MIB == len(table.head)
    assert table.end == END


def placed_file(table: Table, size: int, path: Path) -> Path:
    placed = table.place(size, KEEP)
    with path.open("wb") as file:
        file.truncate(size)
        file.write(placed.first)
        file.seek(size // SECTOR * SECTOR - len(placed.second))
        file.write(placed.second)
    return path


@pytest.mark.parametrize("size", SIZES)
def test_a_partition_tool_finds_nothing_wrong(table: Table, size: int, tmp_path: Path) -> None:
    disk = placed_file(table, size, tmp_path / "disk")
    said = subprocess.run(
        ["sgdisk", "--verify", str(disk)], capture_output=True, text=True, check=True
    )
    assert "No problems found" in said.stdout
    assert not said.stderr
    listed = subprocess.run(
        ["sfdisk", "--dump", str(disk)], capture_output=True, text=True, check=True
    )
    assert not listed.stderr
    assert f"last-lba: {size // SECTOR - 34}" in listed.stdout


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("damaged", ["none", "first", "second"])
def test_either_copy_is_good_alone(table: Table, size: int, damaged: str, tmp_path: Path) -> None:
    disk = placed_file(table, size, tmp_path / "disk")
    with disk.open("r+b") as file:
        if damaged != "none":
            file.seek(SECTOR if damaged == "first" else size // SECTOR * SECTOR - SECTOR)
            file.write(bytes(SECTOR))
    entries = gpt.read_disk(str(disk), SECTOR)
    assert [entry.name for entry in entries] == list(disk_image.SIZES)
    assert {entry.uuid for entry in entries if entry.name in ("root_a", "verity_a")} == KEEP


def test_the_headers_name_each_other(table: Table) -> None:
    size = 64 * MIB
    placed = table.place(size, KEEP)
    first, second = placed.first[SECTOR : 2 * SECTOR], placed.second[-SECTOR:]
    last = size // SECTOR - 1
    assert [int.from_bytes(header[24:32], "little") for header in (first, second)] == [1, last]
    assert [int.from_bytes(header[32:40], "little") for header in (first, second)] == [last, 1]
    assert first[40:72] == second[40:72]
    assert [int.from_bytes(header[72:80], "little") for header in (first, second)] == [2, last - 32]
    assert int.from_bytes(placed.first[446 + 12 : 446 + 16], "little") == last


def test_the_protective_mbr_of_a_disk_beyond_its_32_bits(table: Table) -> None:
    assert table.place(3 << 40, KEEP).first[446 + 12 : 446 + 16] == b"\xff" * 4


def test_only_what_the_command_line_names_keeps_its_uuid(table: Table) -> None:
    one, other = table.place(64 * MIB, KEEP), table.place(64 * MIB, KEEP)
    for placed in (one, other):
        uuids = {each.name: each.uuid for each in placed.partitions}
        assert (uuids["root_a"], uuids["verity_a"]) == (ROOT, VERITY)
        assert not set(uuids.values()) & set(FIXED.values())
        assert len(set(uuids.values())) == len(UUIDS)
    assert {each.uuid for each in one.partitions} & {each.uuid for each in other.partitions} == KEEP
    assert one.first[SECTOR + 56 : SECTOR + 72] != other.first[SECTOR + 56 : SECTOR + 72]
    assert one.first[SECTOR + 56 : SECTOR + 72] != uuid.UUID(disk_image.DISK_UUID).bytes_le


def test_nothing_else_of_the_table_changes(table: Table) -> None:
    placed = table.place(64 * MIB, KEEP)
    assert [(each.name, each.start, each.size) for each in placed.partitions] == [
        (each.name, each.start, each.size) for each in table.partitions
    ]
    assert len(placed.first) == table.start


def test_a_disk_that_is_too_small_by_one_sector(table: Table) -> None:
    with pytest.raises(HostError, match=f"needs {table.needed} bytes, the disk has"):
        table.place(table.needed - SECTOR, KEEP)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda head: bytes(len(head)), "no partitions, or no GPT"),
        (lambda head: head[:520] + b"\xff" + head[521:], "no partitions, or no GPT"),
        (lambda head: head[:1060] + b"\xff" + head[1061:], "no partitions, or no GPT"),
        (lambda head: head[: MIB // 2], "first partition begins at byte 1048576"),
        (lambda head: head[:1024], "no partitions, or no GPT"),
    ],
    ids=["blank", "header", "entries", "short", "shorter"],
)
def test_an_image_with_a_damaged_table(
    head: bytes, damage: Callable[[bytes], bytes], reason: str
) -> None:
    with pytest.raises(HostError, match=reason):
        read(damage(head))


def test_an_image_without_a_protective_mbr(head: bytes) -> None:
    with pytest.raises(HostError, match="no protective MBR"):
        read(bytes(SECTOR) + head[SECTOR:]).place(64 * MIB, KEEP)
