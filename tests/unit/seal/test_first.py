"""What counts as blank, and how what was delivered comes into a new volume."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.linux.luks import Volume
from ainit.seal import first
from ainit.seal.chip import Chip
from tests.support.sealing import Approver

SIZE = 20 << 20


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A partition that nothing was ever written to."""
    path = tmp_path / "device"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def test_a_partition_of_zeros_is_blank(device: Path) -> None:
    assert first.is_blank(str(device))


@pytest.mark.parametrize(
    "place", [0, 511, 1024, 0x10040, (16 << 20) - 1, SIZE - (1 << 20), SIZE - 1]
)
def test_one_byte_where_something_says_its_name_and_it_is_not(device: Path, place: int) -> None:
    with device.open("r+b") as file:
        file.seek(place)
        file.write(b"\1")
    assert not first.is_blank(str(device))


def test_a_partition_that_is_too_small_is_not(device: Path) -> None:
    os.truncate(device, 16 << 20)
    assert not first.is_blank(str(device))


def test_what_was_delivered_is_unpacked(device: Path, tmp_path: Path) -> None:
    content = os.urandom(3 << 20) + bytes(1 << 20)
    seed = tmp_path / "seed.gz"
    seed.write_bytes(gzip.compress(content))
    first.fill(str(seed), str(device))
    assert device.read_bytes() == content.ljust(SIZE, b"\0")


def test_more_than_fits_is_refused(device: Path, tmp_path: Path) -> None:
    seed = tmp_path / "seed.gz"
    seed.write_bytes(gzip.compress(bytes(SIZE + 1)))
    with pytest.raises(RefusedError, match="is larger than"):
        first.fill(str(seed), str(device))


def test_a_seed_that_was_cut_off_is_no_success(device: Path, tmp_path: Path) -> None:
    seed = tmp_path / "seed.gz"
    seed.write_bytes(gzip.compress(os.urandom(1 << 20))[:-100])
    with pytest.raises(EOFError):
        first.fill(str(seed), str(device))


def test_without_a_seed_nothing_is_written(device: Path, tmp_path: Path) -> None:
    approval = Approver().approve(1, {9: bytes(32), 11: bytes(32), 12: bytes(32)})
    chip: Chip = object.__new__(Chip)  # it is not asked for anything
    with Volume(str(device)) as volume, pytest.raises(RefusedError, match=r"state\.seed\.gz"):
        first.make(volume, chip, approval, str(tmp_path))
    assert first.is_blank(str(device))
