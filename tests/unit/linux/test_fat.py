"""Names on a FAT32 file system, held to what mtools made, and changed in place."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.linux import fat
from tests.support import esp_image
from tests.support.cut_disk import CutDisk

FILES = {
    "EFI/BOOT/BOOTX64.EFI": b"loader" * 300,
    "EFI/Linux/ainos_0.1.0+3-0.efi": b"image" * 500,
    "EFI/Linux/ainos_0.1.0.seal.json": b"{}",
    "EFI/Linux/a name of more than two times thirteen characters.txt": b"x",
    "loader/loader.conf": b"timeout 0\n",
    **{f"many/file number {number}.txt": b"" for number in range(40)},
}


@cache
def made() -> bytes:
    return esp_image.make(FILES)


def names(data: bytes, folder: str) -> dict[str, fat.Name]:
    return {each.name: each for each in fat.Volume(CutDisk(data)).directory(folder)}


@pytest.mark.parametrize("folder", ["EFI/BOOT", "EFI/Linux", "loader", "many", "efi/linux/"])
def test_what_is_in_a_directory(folder: str) -> None:
    wanted = folder.strip("/").lower() + "/"
    held = {
        path.rpartition("/")[2]: content
        for path, content in FILES.items()
        if path.lower().startswith(wanted)
    }
    found = names(made(), folder)
    assert found.keys() == held.keys()
    disk = CutDisk(made())
    for name, each in found.items():
        assert esp_image.content(disk, each) == held[name]
        assert not each.is_directory
        chain = fat.Volume(disk).chain(each)
        assert len(chain) == -(-each.size // 512)
        stored = "".join("." if place is None else chr(made()[place]) for place in each.characters)
        assert stored.lower() == name.lower()


def test_the_root() -> None:
    found = names(made(), "")
    assert {name: each.is_directory for name, each in found.items()} == {
        "EFI": True, "loader": True, "many": True
    }  # fmt: skip


def test_a_name_is_changed_and_nothing_else() -> None:
    disk = CutDisk(made())
    fat.rename(disk, names(made(), "EFI/Linux")["ainos_0.1.0+3-0.efi"], "ainos_0.1.0+2-1.efi")
    (sector,) = disk.epochs[0].sectors.values()
    changed = [one for one, other in zip(*sector, strict=True) if one != other]
    assert len(changed) == 2
    assert disk.log[-1] == "flush"
    assert dict(esp_image.seen(disk)) == {"ainos_0.1.0+2-1.efi": b"image" * 500}


def test_a_short_name_is_changed() -> None:
    disk = CutDisk(made())
    fat.rename(disk, names(made(), "EFI/BOOT")["BOOTX64.EFI"], "_OOTX64.EFI")
    assert list(names(bytes(disk.data), "EFI/BOOT")) == ["_OOTX64.EFI"]


@pytest.mark.parametrize("free", [True, False])
def test_a_file_is_deleted(free: bool, tmp_path: Path) -> None:
    disk = CutDisk(made())
    held = names(made(), "EFI/Linux")["ainos_0.1.0+3-0.efi"]
    chain = fat.Volume(disk).chain(held)
    assert len(chain) == 5
    fat.Volume(disk).delete(held, free=free)
    assert not esp_image.seen(disk)
    assert len(names(bytes(disk.data), "EFI/Linux")) == 2
    assert [len(epoch.sectors) for epoch in disk.epochs] == [1, 3 if free else 1, 0]
    image = tmp_path / "esp"
    image.write_bytes(disk.data)
    said = subprocess.run(
        ["/usr/sbin/fsck.vfat", "-n", str(image)], capture_output=True, text=True, check=False
    ).stdout
    assert ("Reclaimed 5 unused clusters" in said) == (not free)
    assert "orphaned" not in said


@pytest.mark.parametrize("new", ["ainos.efi", "ainos_0.1.0+3-0xefi\0", "ainos_0.1.0+3-0.ef\u00ef"])
def test_another_name_is_refused(new: str) -> None:
    disk = CutDisk(made())
    with pytest.raises(RefusedError, match="in place"):
        fat.rename(disk, names(made(), "EFI/Linux")["ainos_0.1.0+3-0.efi"], new)
    assert not disk.log


@pytest.mark.parametrize("at", [510, 17, 22])
def test_another_file_system_is_refused(at: int) -> None:
    data = bytearray(made())
    data[at] ^= 1
    with pytest.raises(RefusedError):
        fat.Volume(CutDisk(bytes(data)))


def test_a_directory_that_is_not_there() -> None:
    with pytest.raises(RefusedError, match="no directory EFI/other"):
        names(made(), "EFI/other")


def test_a_chain_without_an_end() -> None:
    """The table of a damaged file system leads in a circle."""
    data = bytearray(made())
    start = int.from_bytes(data[14:16], "little") * 512
    root = int.from_bytes(data[44:48], "little")
    data[start + 4 * root : start + 4 * root + 4] = root.to_bytes(4, "little")
    for at in range(0, 512, 32):
        place = fat.Volume(CutDisk(made())).directory("")[0].at // 512 * 512 + at
        data[place] = data[place] or 0xE5
    assert names(bytes(data), "").keys() == {"EFI", "loader", "many"}


def test_a_file_that_lost_a_cluster() -> None:
    held = names(made(), "EFI/BOOT")["BOOTX64.EFI"]
    data = bytearray(made())
    at = int.from_bytes(data[14:16], "little") * 512 + 4 * (held.cluster + 1)
    for entry in (b"\0\0\0\0", b"\xff\xff\xff\x0f"):
        data[at : at + 4] = entry
        assert not fat.Volume(CutDisk(bytes(data))).chain(held)


def test_a_long_name_of_which_a_part_is_gone() -> None:
    """A power cut left one of its entries out: what is left is the short name."""
    data = bytearray(made())
    data[names(made(), "EFI/Linux")["ainos_0.1.0+3-0.efi"].at - 64] = 0xE5
    assert "AINOS_~1.EFI" in names(bytes(data), "EFI/Linux")
