"""NVIDIA's driver from what it publishes below /proc: its state, and its device nodes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ainit.devices import nvidia
from ainit.devices.nvidia import Driver, Nvidia

VERSION = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.163.01  Release Build
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)
"""
DEVICES = """Character devices:
  1 mem
195 nvidia
234 nvidia-nvswitch
235 nvidia-caps
511 nvidia-uvm

Block devices:
259 blkext
"""
INFORMATION = (
    "Model: \t\t NVIDIA H100 PCIe\nDevice Minor: \t {minor}\nGPU Firmware: \t 550.163.01\n"
)
CAPABILITY = "DeviceFileMinor: {minor}\nDeviceFileMode: {mode}\nDeviceFileModify: 1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine with two GPUs, the first with one MIG instance."""
    folder = tmp_path / "proc"
    for path, text in {
        "driver/nvidia/version": VERSION,
        "devices": DEVICES,
        "driver/nvidia/gpus/0000:41:00.0/information": INFORMATION.format(minor=0),
        "driver/nvidia/gpus/0000:a1:00.0/information": INFORMATION.format(minor=1),
        "driver/nvidia/capabilities/mig/config": CAPABILITY.format(minor=1, mode=256),
        "driver/nvidia/capabilities/mig/monitor": CAPABILITY.format(minor=2, mode=292),
        "driver/nvidia/capabilities/gpu0/mig/gi1/access": CAPABILITY.format(minor=12, mode=292),
        "driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access": CAPABILITY.format(minor=13, mode=292),
    }.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def machine(proc: Path, library: str = "") -> Nvidia:
    """The driver of ``proc``, with libraries of a release, or the emulator, or none."""
    folder = proc.parent / "lib"
    folder.mkdir(exist_ok=True)
    link = folder / "libnvidia-ml.so.1"
    link.unlink(missing_ok=True)
    if library == nvidia.EMULATED:
        link.touch()
    elif library:
        (folder / f"libnvidia-ml.so.{library}").touch()
        link.symlink_to(f"libnvidia-ml.so.{library}")
    return Nvidia(str(proc), str(proc.parent / "dev"), [str(link)])


def test_a_driver_that_is_loaded_and_fits_its_libraries_is_ready(proc: Path) -> None:
    found = machine(proc, "550.163.01").state(2, [])
    assert found == Driver(nvidia.READY, "550.163.01", "")


def test_libraries_of_another_release_are_a_mismatch(proc: Path) -> None:
    found = machine(proc, "570.1").state(2, [])
    assert found == Driver(nvidia.MISMATCH, "550.163.01", "the libraries are of release 570.1")


def test_a_loaded_module_under_emulated_libraries_is_not_ready(proc: Path) -> None:
    found = machine(proc, nvidia.EMULATED).state(2, [])
    assert found == Driver(nvidia.MISMATCH, "550.163.01", "the libraries are emulated")


@pytest.mark.parametrize(
    ("gpus", "library", "problems", "expected"),
    [
        (0, "550.163.01", [], (nvidia.NONE, "there is no NVIDIA GPU")),
        (0, "", [], (nvidia.NONE, "there is no NVIDIA GPU")),
        (0, nvidia.EMULATED, [], (nvidia.EMULATED, "")),
        (1, "", [], (nvidia.ABSENT, "this image has no driver for the GPU")),
        (
            1,
            "550.163.01",
            ["could not insert 'igb': x", "could not insert 'nvidia': No such device"],
            (nvidia.REFUSED, "could not insert 'nvidia': No such device"),
        ),
        (
            1,
            "550.163.01",
            ["modprobe did not end in 60 s: pci:v000010DEd00002330sv000010DE", "igb: x"],
            (
                nvidia.REFUSED,
                "modprobe did not end in 60 s: pci:v000010DEd00002330sv000010DE",
            ),
        ),
    ],
)
def test_a_driver_that_is_not_loaded_says_why(
    tmp_path: Path, gpus: int, library: str, problems: list[str], expected: tuple[str, str]
) -> None:
    found = machine(tmp_path / "proc", library).state(gpus, problems)
    assert (found.state, found.version, found.reason) == (expected[0], "", expected[1])


def test_the_tree_is_read_as_far_as_it_is_there(proc: Path) -> None:
    tree = machine(proc).tree()
    assert tree.devices == DEVICES
    assert sorted(tree.files) == [
        "nvidia/capabilities/gpu0/mig/gi1/access",
        "nvidia/capabilities/gpu0/mig/gi1/ci0/access",
        "nvidia/capabilities/mig/config",
        "nvidia/capabilities/mig/monitor",
        "nvidia/gpus/0000:41:00.0/information",
        "nvidia/gpus/0000:a1:00.0/information",
    ]
    assert machine(proc.parent / "none").tree().files == {}


def test_nodes_are_made_once_corrected_and_go_with_their_instance(proc: Path) -> None:
    driver, dev = machine(proc), proc.parent / "dev"
    driver.make_nodes()
    made = {path.name: path.lstat() for path in dev.rglob("nvidia*") if not path.is_dir()}
    assert len(made) == 10
    assert made["nvidia1"].st_rdev == os.makedev(195, 1)
    assert stat.filemode(made["nvidia-cap1"].st_mode) == "cr--------"
    inode = (dev / "nvidia0").lstat().st_ino
    (dev / "nvidia1").unlink()
    (dev / "nvidia1").write_text("not a device")
    for path in sorted((proc / "driver/nvidia/capabilities/gpu0/mig").rglob("access")):
        path.unlink()
    (dev / "nvidia7").touch()  # of a GPU that went
    driver.make_nodes()
    assert (dev / "nvidia0").lstat().st_ino == inode
    assert stat.S_ISCHR((dev / "nvidia1").lstat().st_mode)
    assert not (dev / "nvidia7").exists()
    assert (dev / "nvidiactl").exists()
    assert sorted(p.name for p in (dev / "nvidia-caps").iterdir()) == ["nvidia-cap1", "nvidia-cap2"]


def test_a_node_that_somebody_makes_at_that_moment_is_taken(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mknod = os.mknod

    def twice(path: str, mode: int, device: int) -> None:
        mknod(path, stat.S_IFCHR | 0o600, device)
        mknod(path, mode, device)

    monkeypatch.setattr(os, "mknod", twice)
    machine(proc).make_nodes()
    made = (proc.parent / "dev/nvidia0").lstat()
    assert (stat.filemode(made.st_mode), made.st_rdev) == ("crw-rw-rw-", os.makedev(195, 0))


def test_without_a_driver_there_is_nothing_to_make(tmp_path: Path) -> None:
    machine(tmp_path / "proc").make_nodes()
    assert not (tmp_path / "dev").exists()
