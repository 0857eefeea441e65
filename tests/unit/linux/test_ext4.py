"""A superblock that a power cut has torn gets a checksum again, and nothing else changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ainit.linux import ext4

AT, SECTOR = 1024, 512


def call(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A file system as it was made."""
    path = tmp_path / "device"
    with path.open("wb") as file:
        file.truncate(8 << 20)
    call("/usr/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "verity,metadata_csum", path)
    return path


def superblock(path: Path) -> bytes:
    return path.read_bytes()[AT : AT + 2 * SECTOR]


def put(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(AT)
        file.write(data)


@pytest.fixture
def versions(device: Path) -> tuple[bytes, bytes]:
    """Two superblocks of it, one after the other."""
    before = superblock(device)
    call("/usr/sbin/tune2fs", "-C", "7", device)
    return before, superblock(device)


@pytest.mark.parametrize("new", [0, 1])
def test_a_torn_one_is_mended(device: Path, versions: tuple[bytes, bytes], new: int) -> None:
    torn = versions[new][:SECTOR] + versions[1 - new][SECTOR:]
    put(device, torn)
    with pytest.raises(subprocess.CalledProcessError):
        call("/usr/sbin/dumpe2fs", "-h", device)
    assert ext4.mend(str(device))
    assert superblock(device) == versions[new]
    assert "clean" in call("/usr/sbin/dumpe2fs", "-h", device)


def test_a_whole_one_stays(device: Path) -> None:
    before = device.read_bytes()
    assert not ext4.mend(str(device))
    assert device.read_bytes() == before


def test_what_has_no_checksum_is_left_alone(device: Path) -> None:
    call("/usr/sbin/tune2fs", "-O", "^metadata_csum", device)
    torn = superblock(device)[:-4] + b"\1\2\3\4"
    put(device, torn)
    assert not ext4.mend(str(device))
    assert superblock(device) == torn


@pytest.mark.parametrize("data", [b"", bytes(4096), b"\xff" * 4096])
def test_what_is_no_ext4_is_left_alone(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "device").write_bytes(data)
    assert not ext4.mend(str(tmp_path / "device"))
    assert (tmp_path / "device").read_bytes() == data
