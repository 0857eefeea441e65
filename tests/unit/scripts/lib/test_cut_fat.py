"""A FAT32 file system is read as firmware reads it."""

from __future__ import annotations

from functools import cache

import pytest
from lib.cut_fat import Fat, FatError

from tests.support import esp_image

NAME = "ainos_0.1.0+3-0.efi"
CONTENT = bytes(range(256)) * 33
FILES = {f"EFI/Linux/{NAME}": CONTENT, "EFI/BOOT/BOOTX64.EFI": b"loader", "empty": b""}


@cache
def image() -> bytes:
    return esp_image.make(FILES)


def fat(data: bytes | bytearray) -> Fat:
    return Fat(lambda at, length: bytes(data[at : at + length]))


def test_files_are_read() -> None:
    found = fat(image())
    assert {path: found.content(found.find(path)) for path in FILES} == FILES
    assert [each.name for each in found.files("efi/linux")] == [NAME]
    assert found.find("EFI/LINUX/AINOS_0.1.0+3-0.EFI").size == len(CONTENT)


def places(data: bytes) -> list[int]:
    """Where the entries of the long name are, and the short one."""
    short = data.index(b"AINOS_~1EFI")
    return [short - 64, short - 32, short]


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_long_name_that_is_not_whole_is_none(damaged: int) -> None:
    data = bytearray(image())
    data[places(image())[damaged]] = 0xE5
    assert [each.name for each in fat(data).files("EFI/Linux")] == ["AINOS_~1.EFI"]


def test_a_long_name_of_another_short_name_is_none() -> None:
    data = bytearray(image())
    data[places(image())[2] + 4] = ord("X")
    assert [each.name for each in fat(data).files("EFI/Linux")] == ["AINOX_~1.EFI"]


def test_a_file_without_its_short_entry_is_not_there() -> None:
    data = bytearray(image())
    data[places(image())[2]] = 0xE5
    assert fat(data).files("EFI/Linux") == []


def test_a_chain_that_ends_early_is_no_content() -> None:
    data = bytearray(image())
    start = places(image())[2]
    cluster = int.from_bytes(data[start + 26 : start + 28], "little")
    table = int.from_bytes(data[14:16], "little") * 512
    data[table + 4 * (cluster + 3) : table + 4 * (cluster + 4)] = bytes(4)
    found = fat(data)
    with pytest.raises(FatError, match="ends early"):
        found.content(found.find(f"EFI/Linux/{NAME}"))


@pytest.mark.parametrize("path", ["EFI/other/x", "EFI/Linux/x", "EFI/Linux"])
def test_what_is_missing_is_no_file(path: str) -> None:
    with pytest.raises(FatError):
        fat(image()).find(path)


@pytest.mark.parametrize("at", [0, 11, 17, 22, 510])
def test_another_boot_sector_is_no_fat32(at: int) -> None:
    data = bytearray(image())
    data[at] ^= 0x55
    if at:
        with pytest.raises(FatError):
            fat(data)
    else:
        assert fat(data).find("empty").size == 0
