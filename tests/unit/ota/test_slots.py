"""Boot counting: names in, names out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lib import disk

from ainit.errors import RefusedError
from ainit.ota import slots


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ainos_0.1.0+2-1.efi", "ainos_0.1.0+3-0.efi"),
        ("ainos_0.1.0+0-3.efi", "ainos_0.1.0+3-0.efi"),
        ("ainos_0.1.0+3-0.efi", "ainos_0.1.0+3-0.efi"),
        ("ainos_0.1.0+2.efi", "ainos_0.1.0+3.efi"),
        ("ainos_0.1.0+3.efi", "ainos_0.1.0+3.efi"),
        ("ainos_1+2+1-2.efi", "ainos_1+2+3-0.efi"),
    ],
)
def test_tries_are_given_back(name: str, wanted: str) -> None:
    assert slots.rearmed(name) == wanted


@pytest.mark.parametrize(
    "name", ["ainos.efi", "a+1.txt", "", "x/a+1.efi", "..\\a+1.efi", "a+10-0.efi"]
)
def test_an_entry_without_a_counter_is_refused(name: str) -> None:
    with pytest.raises(RefusedError):
        slots.rearmed(name)


@pytest.mark.parametrize("path", ["", "\\", "\\EFI\\..\\a+1.efi"])
def test_a_path_that_leaves_the_esp_is_refused(path: str) -> None:
    with pytest.raises(RefusedError):
        slots.split(path)


@pytest.mark.parametrize("name", ["ainos_1+3-0.efi", "ainos_1+0-3.efi", "ainos_1+2.efi"])
def test_an_entry_has_its_name(name: str) -> None:
    found = slots.entry(name)
    assert found is not None
    assert found.name == name


@settings(max_examples=200)
@given(*[st.integers(0, 9)] * 4, st.tuples(*[st.booleans()] * 20))
def test_a_mixture_of_two_names_is_a_counter(
    left: int, done: int, later: int, more: int, chosen: tuple[bool, ...]
) -> None:
    first, second = slots.Entry("ainos_0.1.0", left, done), slots.Entry("ainos_0.1.0", later, more)
    mixed = "".join(
        one if is_first else other
        for one, other, is_first in zip(first.name, second.name, chosen, strict=False)
    )
    found = slots.entry(mixed.ljust(len(first.name), "?"))
    assert len(mixed) == len(first.name) == len(second.name)
    assert found is not None
    assert found.stem == "ainos_0.1.0"


def test_the_image_names_its_entry_so() -> None:
    assert disk.entry_name("0.1.0") == f"EFI/Linux/{slots.Entry(slots.stem('0.1.0'), 3).name}"
    assert disk.approval_name("0.1.0") == f"EFI/Linux/{slots.stem('0.1.0')}{slots.APPROVAL}"
