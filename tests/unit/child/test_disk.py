"""A USB disk by the label of its file system: which one it is, and that nothing leads out of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ainit.child import disk, source
from ainit.errors import RefusedError
from ainit.linux import libc

MIB = 1 << 20


def made(path: Path, kind: str, label: str) -> Path:
    """A real file system of this kind in a file."""
    size = {"fat16": 16, "fat32": 40}.get(kind, 2) * MIB
    with path.open("wb") as file:
        file.truncate(size)
    command = {
        "ext4": ["mkfs.ext4", "-q", "-L", label],
        "ext2": ["mkfs.ext2", "-q", "-L", label],
        "fat12": ["mkfs.vfat", "-F", "12", "-n", label],
        "fat16": ["mkfs.vfat", "-F", "16", "-n", label],
        "fat32": ["mkfs.vfat", "-F", "32", "-n", label],
    }[kind]
    subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=60)
    return path


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("ext4", "ext4"), ("ext2", "ext4"), ("fat12", "vfat"), ("fat16", "vfat"), ("fat32", "vfat"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("label", ["MODELS", "A B", "ELEVEN_CHAR"])
def test_real_file_systems_say_what_they_are(
    tmp_path: Path, kind: str, known: str, label: str
) -> None:
    start = made(tmp_path / "disk", kind, label).read_bytes()[:2048]
    assert disk.identify(start) == (known, label)


@pytest.mark.parametrize(
    "start", [b"", bytes(2048), b"\xff" * 2048, bytes(510) + b"\x55\xaa" + bytes(1536)]
)
def test_what_is_none_has_no_label(start: bytes) -> None:
    assert disk.identify(start) is None


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Disks by name; those whose path in sysfs goes through a USB bus are on one."""
    (tmp_path / "sys/class/block").mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    return tmp_path


def plug(machine: Path, name: str, where: str, kind: str = "ext4", label: str = "MODELS") -> None:
    place = machine / "sys/devices" / where / "block" / name
    place.mkdir(parents=True)
    (machine / "sys/class/block" / name).symlink_to(place)
    if kind:
        made(machine / "dev" / name, kind, label)


def find(machine: Path, label: str = "MODELS") -> tuple[str, str]:
    return disk.find(label, str(machine / "sys"), str(machine / "dev"))


def test_the_one_on_usb_is_found(machine: Path) -> None:
    plug(machine, "sda", "pci/usb1/1-1", "")  # a reader without a card
    plug(machine, "sdb1", "pci/usb1/1-2", "fat16")
    plug(machine, "sdc", "pci/usb1/1-3", label="OTHER")
    plug(machine, "nvme0n1p3", "pci/nvme")
    assert find(machine) == (str(machine / "dev/sdb1"), "vfat")
    assert find(machine, "OTHER") == (str(machine / "dev/sdc"), "ext4")


def test_one_that_is_not_there_or_there_twice_is_refused(machine: Path) -> None:
    plug(machine, "nvme0n1p3", "pci/nvme")
    with pytest.raises(RefusedError, match="no USB disk has a file system called MODELS"):
        find(machine)
    plug(machine, "sda", "pci/usb1/1-1")
    plug(machine, "sdb", "pci/usb1/1-2")
    with pytest.raises(RefusedError, match="more than one USB disk"):
        find(machine)


def test_a_path_stays_on_the_disk(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    (root / "speech").mkdir(parents=True)
    (root / "out").symlink_to("/etc")
    (root / "in").symlink_to("speech")
    assert disk.inside(str(root), "speech/") == str(root / "speech")
    assert disk.inside(str(root), "in") == str(root / "speech")
    assert disk.inside(str(root), "") == str(root)
    for path in ("out", "../x", "speech/../../x"):
        with pytest.raises(RefusedError, match="leads out of the disk"):
            disk.inside(str(root), path)


def test_it_is_mounted_for_as_long_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[object, ...]] = []
    monkeypatch.setattr(disk, "DISK", str(tmp_path))
    monkeypatch.setattr(disk, "find", lambda label: (f"/dev/{label}", "ext4"))
    monkeypatch.setattr(libc, "mount", lambda *how: done.append(how))
    monkeypatch.setattr(libc, "unmount", lambda *how: done.append(how))
    with pytest.raises(RefusedError, match="leads out"), source.open_source("usb:sda/../x"):
        pass
    with source.open_source("usb:sda/speech"):
        assert len(done) == 5
    read_only_and_harmless = 1 | 2 | 4 | 8
    mounted = ("/dev/sda", str(tmp_path), "ext4", read_only_and_harmless, "noload")
    away = (str(tmp_path), 2)  # at first what was left there, then it
    assert done == [away, mounted, away] * 2
