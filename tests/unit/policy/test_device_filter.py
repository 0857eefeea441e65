"""The program that judges devices, run as the kernel runs it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import device_filter

BLOCK, CHARACTER = 1, 2
MKNOD, READ, WRITE = 1, 2, 4
MEMORY = [(1, minor) for minor in (3, 5, 7, 8, 9)]

numbers = st.tuples(st.integers(0, 4095), st.integers(0, (1 << 20) - 1))


def judge(code: bytes, kind: int, access: int, device: tuple[int, int]) -> bool:
    """What the program answers: an interpreter of the instructions that it is made of."""
    context = struct.pack("<3I", access << 16 | kind, *device)
    registers = [0] * 11
    at = 0
    while True:
        operation, register, offset, value = struct.unpack_from("<BBhi", code, at * 8)
        target = register & 15
        at += 1
        match operation:
            case 0x61:  # load
                assert register >> 4 == 1
                (registers[target],) = struct.unpack_from("<I", context, offset)
            case 0x57:
                registers[target] &= value
            case 0xB7:
                registers[target] = value
            case 0x05:
                at += offset
            case 0x15:
                at += offset if registers[target] == value else 0
            case 0x55:
                at += offset if registers[target] != value else 0
            case 0x95:
                return registers[0] == 1
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


@given(st.sets(numbers, min_size=1, max_size=20), numbers, st.sampled_from([READ, WRITE, MKNOD]))
def test_what_is_listed_and_nothing_else(
    listed: set[tuple[int, int]], other: tuple[int, int], access: int
) -> None:
    code = device_filter.program(listed)
    for device in listed:
        assert judge(code, CHARACTER, access, device)
        assert not judge(code, BLOCK, access, device)
    assert judge(code, CHARACTER, access, other) == (other in listed)


@pytest.mark.parametrize(
    "device", [(1, 1), (1, 2), (1, 4), (1, 11), (5, 0), (10, 200), (195, 255), (3, 1), (257, 3)]
)
def test_an_agent_without_a_gpu_has_five(device: tuple[int, int]) -> None:
    code = device_filter.program(MEMORY)
    assert not judge(code, CHARACTER, READ, device)
    assert all(judge(code, CHARACTER, READ | WRITE, each) for each in MEMORY)
