"""Boot counting: names in, names out, and the rename on a directory that stands for the ESP."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.ota import slots
from ainit.ota.__main__ import rename


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ainos_0.1.0+2-1.efi", "ainos_0.1.0+3.efi"),
        ("ainos_0.1.0+0-3.efi", "ainos_0.1.0+3.efi"),
        ("ainos_0.1.0+3.efi", "ainos_0.1.0+3.efi"),
        ("ainos_1+2+1-2.efi", "ainos_1+2+3.efi"),
    ],
)
def test_tries_are_given_back(name: str, wanted: str) -> None:
    assert slots.rearmed(name) == wanted


@pytest.mark.parametrize("name", ["ainos.efi", "a+1.txt", "", "x/a+1.efi", "..\\a+1.efi"])
def test_an_entry_without_a_counter_is_refused(name: str) -> None:
    with pytest.raises(RefusedError):
        slots.rearmed(name)


@pytest.mark.parametrize("path", ["", "\\", "\\EFI\\..\\a+1.efi"])
def test_a_path_that_leaves_the_esp_is_refused(path: str) -> None:
    with pytest.raises(RefusedError):
        slots.split(path)


def test_the_entry_is_renamed_in_place(tmp_path: Path) -> None:
    folder = tmp_path / "EFI" / "Linux"
    folder.mkdir(parents=True)
    (folder / "ainos_0.1.0+1-2.efi").write_bytes(b"uki")
    assert rename(str(tmp_path), "\\EFI\\Linux\\ainos_0.1.0+1-2.efi") == "ainos_0.1.0+3.efi"
    assert [path.name for path in folder.iterdir()] == ["ainos_0.1.0+3.efi"]
    assert (folder / "ainos_0.1.0+3.efi").read_bytes() == b"uki"


def test_a_full_counter_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "EFI" / "Linux"
    folder.mkdir(parents=True)
    (folder / "a+3.efi").write_bytes(b"")
    assert rename(str(tmp_path), "/EFI/Linux/a+3.efi") == "a+3.efi"


def test_a_condemned_entry_has_no_try_left(tmp_path: Path) -> None:
    (tmp_path / "EFI/Linux").mkdir(parents=True)
    (tmp_path / "EFI/Linux/ainos_1+2-1.efi").touch()
    name = rename(str(tmp_path), "\\EFI\\Linux\\ainos_1+2-1.efi", slots.condemned)
    assert name == "ainos_1+0-3.efi"
    assert (tmp_path / "EFI/Linux" / name).exists()
    assert slots.rearmed(name) == "ainos_1+3.efi"


@pytest.mark.parametrize("name", ["plain.efi", "a/b+3.efi"])
def test_what_is_not_counted_cannot_be_condemned(name: str) -> None:
    with pytest.raises(RefusedError):
        slots.condemned(name)
