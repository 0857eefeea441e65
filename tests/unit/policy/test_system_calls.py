"""The numbers of system calls are the kernel's, as the C library's headers have them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ainit.policy.system_calls import AARCH64, ARCHITECTURES, X86_64, numbers

X86_64_HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
GENERIC_HEADER = Path("/usr/include/asm-generic/unistd.h")
# What the generic header calls otherwise than the kernel's table of 64-bit machines.
RENAMED = {"3264_fstatat": "newfstatat", "arch_specific_syscall": "", "sync_file_range2": ""}


def generic() -> dict[str, int]:
    """The calls of the generic header, as a 64-bit machine has them."""
    found = {}
    text = GENERIC_HEADER.read_text(encoding="ascii")
    for name, number in re.findall(r"^#define __NR(?:_|(?=3264))(\w+) (\d+)$", text, re.MULTILINE):
        if int(number) < 403 or int(number) > 423:  # those are for 32-bit machines
            plain = RENAMED.get(name, name.removeprefix("3264_"))
            found[plain] = int(number)
    found.pop("", None)
    del found["syscalls"]  # the count
    return found


def test_the_table_of_x86_64_is_that_of_the_header() -> None:
    text = X86_64_HEADER.read_text(encoding="ascii")
    header = {name: int(number) for name, number in re.findall(r"__NR_(\w+) (\d+)", text)}
    ours = numbers(X86_64)
    assert {name: ours.get(name) for name in header} == header
    assert len(header) > 350


def test_the_table_of_aarch64_is_that_of_the_generic_header() -> None:
    header, ours = generic(), numbers(AARCH64)
    assert {name: ours.get(name) for name in header} == header
    assert len(header) > 290


@pytest.mark.parametrize("machine", [X86_64, AARCH64])
def test_no_number_is_given_twice(machine: str) -> None:
    found = numbers(machine)
    assert len(set(found.values())) == len(found)
    assert "-" not in found
    assert found["mseal"] == 462


def test_machines_are_called_as_uname_does() -> None:
    assert (X86_64, AARCH64) == ("x86_64", "aarch64")
    with pytest.raises(KeyError):
        numbers("riscv64")


def test_the_two_agree_on_what_is_recent() -> None:
    recent = [
        {name: number for name, number in numbers(machine).items() if number >= 424}
        for machine in (X86_64, AARCH64)
    ]
    assert recent[0] == recent[1]
    assert len(recent[0]) == 39


def test_architectures_are_those_of_the_audit_header() -> None:
    """AUDIT_ARCH_*: the machine of elf-em.h (62, 183), 64 bits, little-endian."""
    assert {name: value & 0xFFFF for name, value in ARCHITECTURES.items()} == {
        X86_64: 62, AARCH64: 183,
    }  # fmt: skip
    assert all(value >> 16 == 0xC000 for value in ARCHITECTURES.values())
