"""The table of architectures: names follow the specifications, and nothing is shared by mistake."""

from __future__ import annotations

from dataclasses import fields

import pytest
from lib.architecture import AARCH64, ARCHITECTURES, X86_64, of
from lib.host import HostError


def test_the_loader_lies_where_firmware_looks() -> None:
    # UEFI 2.10, table 3.2
    assert X86_64.default_loader == "EFI/BOOT/BOOTX64.EFI"
    assert AARCH64.default_loader == "EFI/BOOT/BOOTAA64.EFI"


def test_no_two_architectures_share_a_name() -> None:
    for field in fields(X86_64):
        values = [getattr(each, field.name) for each in ARCHITECTURES.values()]
        assert len(set(values)) == len(values), field.name


def test_an_architecture_is_found_by_its_name_or_the_known_ones_are_named() -> None:
    assert of("aarch64") is AARCH64
    with pytest.raises(HostError, match=r"no architecture 'riscv64'; there are: x86_64, aarch64"):
        of("riscv64")
