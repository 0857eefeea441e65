"""The state's partition takes the rest of its disk, and no other one does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ainit import constants
from ainit.errors import RefusedError
from ainit.linux import gpt, gpt_disk
from ainit.linux.gpt_disk import Device
from ainit.linux.gpt_table import Partition
from ainit.provision import grow
from ainit.provision.__main__ import main
from tests.support import disk_image
from tests.support.disk_image import MIB

SIZE = 160 * MIB
Told = list[Partition]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the kernel is told: a file is no block device."""
    found: Told = []
    monkeypatch.setattr(gpt_disk, "tell_size", lambda disk, partition: found.append(partition))
    return found


def larger(tmp_path: Path, fill: bytes = b"\xa5") -> Path:
    """The disk of an image, on a larger disk that holds old data behind it."""
    disk = disk_image.make(tmp_path / "image") / "ainos.img"
    with disk.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.write(fill * (SIZE - size))
    return disk


def test_the_partition_reaches_to_the_end(tmp_path: Path, told: Told) -> None:
    disk = larger(tmp_path)
    before = disk.read_bytes()[MIB : disk_image.END]
    assert grow.partition(str(disk)) == f"state takes {SIZE // MIB - 24 - 1} MiB of {disk} now"
    with Device(str(disk)) as device:
        table = gpt_disk.read(device)
        state = table.labelled("state")
    assert told == [state]
    assert (state.last + 1) * 512 == SIZE - MIB
    held = disk.read_bytes()
    assert held[MIB : disk_image.END] == before
    assert held[SIZE - 2 * MIB : SIZE - MIB] == bytes(MIB), "old data would tell what is in it"
    assert [entry.name for entry in gpt.read_disk(str(disk), 512)] == list(disk_image.SIZES)


def test_again_changes_nothing(tmp_path: Path, told: Told) -> None:
    disk = larger(tmp_path)
    grow.partition(str(disk))
    with disk.open("r+b") as file:
        file.seek(SIZE - 2 * MIB)
        file.write(b"data of the state")
    before = disk.read_bytes()
    grow.partition(str(disk))
    assert disk.read_bytes() == before
    assert len(set(told)) == 1


def renamed(disk: Path, old: str, new: str) -> None:
    """Another name of a partition, with the first copy's checksums as they should be."""
    with Device(str(disk), writable=True) as device:
        table = gpt_disk.read(device)
        number = table.labelled(old).number
        changed = table._changed(number, 5, new.encode("utf-16-le"))
        gpt_disk.write(device, changed)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("state", "data", "0 partitions named state"),
        ("verity_b", "state", "2 partitions named state"),
    ],
)
def test_a_disk_of_somebody_else_is_left_alone(
    tmp_path: Path, told: Told, old: str, new: str, why: str
) -> None:
    disk = larger(tmp_path)
    renamed(disk, old, new)
    before = disk.read_bytes()
    with pytest.raises(RefusedError, match=why):
        grow.partition(str(disk))
    assert disk.read_bytes() == before
    assert not told


def test_nothing_grows_over_what_is_behind(tmp_path: Path, told: Told) -> None:
    disk = larger(tmp_path)
    renamed(disk, "state", "data")
    renamed(disk, "root_b", "state")
    before = disk.read_bytes()
    with pytest.raises(RefusedError, match="not the last partition"):
        grow.partition(str(disk))
    assert disk.read_bytes() == before
    assert not told


def test_the_unit_says_what_it_did_and_forgets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = tmp_path / "grow"
    order.write_text("/dev/vda6")
    monkeypatch.setattr(constants, "GROW", str(order))
    monkeypatch.setattr(grow, "file_system", lambda *what: " ".join(what))
    assert main(["grow"]) == 0
    assert capsys.readouterr().out == f"/dev/vda6 {constants.STATE}\n"
    assert not order.exists()
    assert main(["grow"]) == 1


@pytest.mark.parametrize("arguments", [[], ["partition"], ["partition", "a", "b"]])
def test_another_command_is_none(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_what_cannot_be_done_is_said(
    tmp_path: Path, told: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk").write_bytes(bytes(MIB))
    assert main(["partition", str(tmp_path / "disk")]) == 1
    assert "no partition table" in capsys.readouterr().err
