"""A table is replaced by another; whatever a power cut leaves of that, one of the two is read."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.linux import gpt, gpt_disk
from ainit.linux.gpt_disk import Disk
from ainit.linux.gpt_table import Table
from tests.support.cut_disk import SECTOR, Cut, CutDisk

MIB = 1 << 20
SIZE, LARGER = 4 * MIB, 5 * MIB + 3 * SECTOR
FIRST, SECOND = uuid.UUID(int=0xA << 100), uuid.UUID(int=0xB << 100)
NAMES = ("esp", "root_a", "verity_a", "root_b", "verity_b", "state")
GUID = "77777777-1111-4222-8333-444444444444"


@cache
def made(size: int = SIZE) -> bytes:
    """A disk with the partitions of a machine, made by sgdisk; the last one ends at 3 MiB."""
    import tempfile

    commands = ["sgdisk", "--clear", f"--disk-guid={GUID}", "--set-alignment=64"]
    for number, name in enumerate(NAMES, start=1):
        end = "3M" if name == "state" else "+256K"
        commands += [f"--new={number}:0:{end}", f"--change-name={number}:{name}"]
        commands += [f"--partition-guid={number}:{str(number) * 8}-1111-4222-8333-444444444444"]
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size)
        subprocess.run([*commands, file.name], check=True, capture_output=True)
        return Path(file.name).read_bytes()


def seen(disk: Disk) -> list[tuple[int, str, str]]:
    """What the reader of the running system makes of a disk."""
    entries = gpt.parse(disk.read, disk.size, SECTOR)
    return [(entry.number, entry.name, entry.uuid) for entry in entries]


def of(table: Table) -> list[tuple[int, str, str]]:
    return [(each.number, each.name, each.uuid) for each in table.partitions()]


def slot(table: Table) -> Table:
    return table.named(4, FIRST).named(5, SECOND)


def spanned(disk: Disk) -> list[tuple[int, int, int]]:
    table = gpt_disk.read(disk)
    return [(each.number, each.first, each.last) for each in table.partitions()]


def test_an_edit_and_nothing_else() -> None:
    disk = CutDisk(made())
    before = gpt_disk.read(disk)
    gpt_disk.write(disk, slot(before))
    after = gpt_disk.read(disk)
    assert after == slot(before)
    assert replace(after, entries=before.entries) == before
    assert [each.name for each in after.partitions()] == list(NAMES)
    assert after.partition(4).uuid == str(FIRST)
    assert after.labelled("verity_b").uuid == str(SECOND)
    outside = slice(34 * SECTOR, SIZE - 33 * SECTOR)
    assert disk.data[outside] == made()[outside]


def test_the_order() -> None:
    disk = CutDisk(made())
    gpt_disk.write(disk, slot(gpt_disk.read(disk)))
    assert disk.log == ["write", "write", "flush", "write", "write", "flush"]
    second, first = disk.epochs[0].sectors, disk.epochs[1].sectors
    assert min(second) > 34 > max(first)


EDITS: dict[str, Callable[[Table], Table]] = {
    "slot": slot,
    "one": lambda table: table.named(2, FIRST),
    "grown": lambda table: table.grown(LARGER),
    "both": lambda table: slot(table).grown(LARGER),
    "moved": lambda table: table.moved(LARGER),
}
GROWS = ("grown", "both", "moved")


def cut_disk(edit: str, damage: str = "") -> tuple[CutDisk, Table, Table]:
    """A disk whose table was replaced, the old and the new table."""
    data = bytearray(made())
    if damage == "first":
        data[SECTOR : 2 * SECTOR] = bytes(SECTOR)
    elif damage == "second":
        data[-SECTOR:] = bytes(SECTOR)
    disk = CutDisk(bytes(data).ljust(LARGER, b"\xa5") if edit in GROWS else bytes(data))
    old = gpt_disk.read(disk)
    new = EDITS[edit](old)
    gpt_disk.write(disk, new)
    return disk, old, new


@pytest.mark.parametrize(
    ("edit", "damage"),
    [(edit, "") for edit in EDITS] + [("slot", "first"), ("slot", "second"), ("grown", "second")],
)
def test_every_subset_of_the_sectors(edit: str, damage: str) -> None:
    disk, old, new = cut_disk(edit, damage)
    wanted = [of(old), of(new)]
    spans = [(each.number, each.first, each.last) for each in old.partitions()]
    ends = [spans, [(each.number, each.first, each.last) for each in new.partitions()]]
    count = 0
    for held in disk.cuts(torn=2):
        assert seen(held) in wanted
        assert spanned(held) in ends
        count += 1
    assert count > 8


@pytest.mark.parametrize("edit", ["slot", "both"])
def test_any_number_of_torn_sectors(edit: str) -> None:
    disk, old, new = cut_disk(edit)
    wanted = [of(old), of(new)]

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(disk.cut)
    def check(held: Cut) -> None:
        assert seen(held) in wanted

    check()


@pytest.mark.parametrize("edit", ["slot", "both"])
def test_a_cut_is_made_good_by_the_next_run(edit: str) -> None:
    disk, _, new = cut_disk(edit)
    for held in list(disk.cuts(torn=1))[::97]:
        again = CutDisk(held.data())
        gpt_disk.write(again, EDITS[edit](gpt_disk.read(again)))
        assert gpt_disk.read(again) == new
        assert again.data == disk.data


@pytest.mark.parametrize("fault", ["order", "flush"])
def test_these_tests_see_a_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order matters where the disk grew: at its new end there is no second copy yet."""
    if fault == "order":
        first, second = gpt_disk.write_first, gpt_disk.write_second
        monkeypatch.setattr(gpt_disk, "write_first", second)
        monkeypatch.setattr(gpt_disk, "write_second", first)
    else:
        monkeypatch.setattr(CutDisk, "flush", lambda self: None)
    disk, old, new = cut_disk("grown")
    assert any(seen(held) not in (of(old), of(new)) for held in disk.cuts(torn=0))


def test_what_is_there_already_is_not_written_again() -> None:
    disk = CutDisk(made())
    gpt_disk.write(disk, gpt_disk.read(disk))
    assert "write" not in disk.log


@pytest.mark.parametrize("sectors", [0, 1, 2047, 2048, 5000])
def test_a_disk_that_grew(sectors: int) -> None:
    disk = CutDisk(made() + bytes(sectors * SECTOR))
    before = gpt_disk.read(disk)
    gpt_disk.write(disk, before.grown(disk.size))
    after = gpt_disk.read(disk)
    last = disk.size // SECTOR - 1
    assert after.last == last
    assert after.usable == (before.usable[0], last - 33)
    state = after.partition(6)
    assert (state.last + 1) % 2048 == 0 or state == before.partition(6)
    assert state.last >= before.partition(6).last
    assert last - 33 - state.last <= 2048 or state == before.partition(6)
    assert after.partitions()[:5] == before.partitions()[:5]
    assert after.grown(disk.size) == after


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda table: table.named(4, uuid.UUID(table.partition(2).uuid)), "2 has the UUID"),
        (lambda table: table.named(9, FIRST), "no partition 9"),
        (lambda table: table.labelled("other"), "0 partitions named other"),
        (lambda table: table.grown(2 * MIB), "before its partitions do"),
    ],
)
def test_what_is_refused(edit: Callable[[Table], Table], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        edit(gpt_disk.read(CutDisk(made())))


def test_a_disk_without_a_table() -> None:
    with pytest.raises(RefusedError, match="no partition table"):
        gpt_disk.read(CutDisk(bytes(MIB)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.uuids()), max_size=6, unique_by=lambda e: e[1]))
def test_any_uuids(edits: list[tuple[int, uuid.UUID]]) -> None:
    disk = CutDisk(made())
    wanted = {number: identity for number, _, identity in seen(CutDisk(made()))}
    for number, identity in edits:
        gpt_disk.write(disk, gpt_disk.read(disk).named(number, identity))
        wanted[number] = str(identity)
        assert {each: identity for each, _, identity in seen(disk)} == wanted


@pytest.mark.parametrize("edit", list(EDITS))
def test_partition_tools_find_nothing_wrong(edit: str, tmp_path: Path) -> None:
    disk, _, new = cut_disk(edit)
    path = tmp_path / "disk"
    path.write_bytes(disk.data)
    said = subprocess.run(["sgdisk", "--verify", path], capture_output=True, text=True, check=True)
    assert "No problems found" in said.stdout
    dumped = subprocess.run(["sfdisk", "--dump", path], capture_output=True, text=True, check=True)
    assert not dumped.stderr
    found = re.findall(r"start= *(\d+), size= *(\d+),.*uuid=([0-9A-F-]+)", dumped.stdout)
    assert [(int(start), int(size), name.lower()) for start, size, name in found] == [
        (each.first, each.last + 1 - each.first, each.uuid) for each in new.partitions()
    ]
    with gpt_disk.Device(str(path)) as device:
        assert gpt_disk.read(device) == new


def test_a_file_that_stands_for_a_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(made())
    with gpt_disk.Device(str(path), writable=True) as device:
        gpt_disk.write(device, slot(gpt_disk.read(device)))
    model = CutDisk(made())
    gpt_disk.write(model, slot(gpt_disk.read(model)))
    assert path.read_bytes() == model.data
