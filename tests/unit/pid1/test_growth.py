"""What the state has of its disk: seen in sysfs and in its superblock, done by others."""

from __future__ import annotations

import subprocess
import tracemalloc
from pathlib import Path

import pytest

from ainit import constants
from ainit.linux import kmsg
from ainit.pid1 import errand, growth

MIB = 1 << 20
SECTORS = MIB // 512


def disk(sysfs: Path, size: int, *parts: tuple[str, int, int]) -> str:
    """A disk of ``size`` MiB with partitions: name, first MiB, MiB."""
    base = sysfs / "class/block"
    whole = base / "vda"
    whole.mkdir(parents=True)
    (whole / "size").write_text(f"{size * SECTORS}\n")
    for number, (name, start, length) in enumerate(parts, start=1):
        folder = whole / name
        folder.mkdir()
        (folder / "partition").write_text(f"{number}\n")
        (folder / "start").write_text(f"{start * SECTORS}\n")
        (folder / "size").write_text(f"{length * SECTORS}\n")
        (base / name).symlink_to(f"vda/{name}")
    return str(sysfs)


def test_the_room_behind_the_last_partition(tmp_path: Path) -> None:
    sysfs = disk(tmp_path, 1000, ("vda1", 1, 99), ("vda6", 100, 500))
    assert growth.room("vda6", "vda", sysfs) == 400 * MIB


@pytest.mark.parametrize("size", [600, 601, 663])
def test_what_is_not_worth_it_is_left(tmp_path: Path, size: int) -> None:
    assert growth.room("vda6", "vda", disk(tmp_path, size, ("vda6", 100, 500))) == 0


def test_what_lies_behind_the_state_is_not_ours(tmp_path: Path) -> None:
    sysfs = disk(tmp_path, 1000, ("vda1", 700, 10), ("vda6", 100, 500))
    assert growth.room("vda6", "vda", sysfs) == 0


def test_a_disk_that_is_not_there_has_no_room(tmp_path: Path) -> None:
    assert growth.room("vda6", "vda", str(tmp_path)) == 0


def test_what_a_file_system_leaves_of_its_device(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.touch()
    command = ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", str(device), "32M"]
    subprocess.run(command, check=True)
    with device.open("r+b") as file:
        assert growth.spare(str(device)) == 0
        file.truncate(96 * MIB - 4096)
        assert growth.spare(str(device)) == 0
        file.truncate(96 * MIB)
        assert growth.spare(str(device)) == 64 * MIB


@pytest.mark.parametrize("content", [b"", bytes(100 * MIB), b"LUKS\xba\xbe" + bytes(100 * MIB)])
def test_only_ext4_has_a_size(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "device").write_bytes(content)
    assert growth.spare(str(tmp_path / "device")) == 0
    assert growth.spare(str(tmp_path / "none")) == 0


def test_no_superblock_makes_pid_1_count_without_end(tmp_path: Path) -> None:
    """A block as large as its field can say would be a number of half a gigabyte."""
    superblock = bytearray(b"\xff" * 1024)
    superblock[56:58] = b"\x53\xef"
    (tmp_path / "device").write_bytes(bytes(1024) + superblock)
    tracemalloc.start()
    try:
        assert growth.spare(str(tmp_path / "device")) == 0
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((0, "state takes 900 MiB of /dev/vda now"), "state takes 900 MiB of /dev/vda now"),
        ((256, "provision: why"), "provision: why"),
        ((-1, ""), "/dev/vda6 did not grow in 60 s"),
    ],
)
def test_a_child_makes_the_partition_larger(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], said: str
) -> None:
    ran: list[list[str]] = []
    lines: list[str] = []
    monkeypatch.setattr(growth, "room", lambda name, disk: int((name, disk) == ("vda6", "vda")))

    def instead(argv: list[str], environment: dict[str, str], seconds: float) -> tuple[int, str]:
        ran.append(argv)
        return answer

    monkeypatch.setattr(errand, "run", instead)
    monkeypatch.setattr(kmsg, "log", lambda text, level=kmsg.INFO: lines.append(text))
    growth.partition("/dev/vda6", "vda")
    growth.partition("/dev/vdb6", "vda")
    assert [argv[-2:] for argv in ran] == [["partition", "/dev/vda"]]
    assert lines == [said]


def test_a_unit_makes_the_file_system_larger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "GROW", str(tmp_path / "grow"))
    monkeypatch.setattr(growth, "spare", lambda device: int(device == "/dev/vda6"))
    growth.file_system("/dev/vdb6")
    assert not (tmp_path / "grow").exists()
    growth.file_system("/dev/vda6")
    assert (tmp_path / "grow").read_text() == "/dev/vda6"
