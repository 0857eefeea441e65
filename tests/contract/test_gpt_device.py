"""A table on a block device of the kernel: what the kernel says of a partition that grew."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux import gpt_disk
from tests.support import disk_image
from tests.support.disk_image import MIB

if not os.access("/dev/loop-control", os.W_OK):
    pytest.skip("this host has no loop devices", allow_module_level=True)

DEADLINE_S = 60


def call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    return done.stdout.strip()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A disk with an image on it that is larger than the image."""
    image = disk_image.make(tmp_path / "image") / "ainos.img"
    os.truncate(image, 48 * MIB)
    device = call("losetup", "--find", "--show", "--partscan", str(image))
    try:
        call("partx", "--update", device)  # for hosts whose kernel knows no GPT
        yield device
    finally:
        call("losetup", "--detach", device)


def test_a_partition_in_use_grows(device: str) -> None:
    state = f"{device}p6"
    held = os.open(state, os.O_RDONLY | os.O_EXCL)
    try:
        with gpt_disk.Device(device, writable=True) as disk:
            table = gpt_disk.read(disk).grown(disk.size)
            gpt_disk.write(disk, table)
            gpt_disk.tell_size(disk, table.labelled("state"))
        start = disk_image.start_of("state")
        assert os.lseek(held, 0, os.SEEK_END) == 47 * MIB - start
    finally:
        os.close(held)
    assert "No problems found" in call("sgdisk", "--verify", device)
