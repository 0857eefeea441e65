"""A state partition whose superblock a power cut has torn, on a block device of the kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux import libc
from ainit.pid1 import mounts

if not os.access("/dev/loop-control", os.W_OK):
    pytest.skip("this host has no loop devices", allow_module_level=True)

DEADLINE_S = 60
FIRST, SECOND = 1024, 1536  # the superblock's sectors


def call(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    return done.stdout.strip()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A file system in use, with the first sector of its superblock from when it was not."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    call("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "verity,metadata_csum", image)
    before = image.read_bytes()[FIRST:SECOND]
    device = call("losetup", "--find", "--show", str(image))
    try:
        (tmp_path / "state").mkdir()
        assert mounts.state(device, str(tmp_path / "state")) == ""
        (tmp_path / "state" / "note").write_text("kept")
        libc.unmount(str(tmp_path / "state"))
        with open(device, "r+b", buffering=0) as file:
            file.seek(FIRST)
            file.write(before)
            os.fsync(file.fileno())
        yield device
    finally:
        call("losetup", "--detach", device)


def test_it_is_mended_and_mounted(device: str, tmp_path: Path) -> None:
    target = str(tmp_path / "state")
    with pytest.raises(OSError, match=r"\[Errno 74\]"):
        libc.mount(device, target, "ext4")
    assert mounts.state(device, target) == ""
    try:
        assert (tmp_path / "state" / "note").read_text() == "kept"
    finally:
        libc.unmount(target)


def test_what_was_damaged_otherwise_stays_as_it_is(device: str, tmp_path: Path) -> None:
    with open(device, "r+b", buffering=0) as file:
        file.seek(FIRST)
        file.write(bytes(4096 - FIRST))
        os.fsync(file.fileno())
    assert "cannot be mounted" in mounts.state(device, str(tmp_path / "state"))
