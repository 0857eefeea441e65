"""Instructions as the kernel's documentation writes them."""

from __future__ import annotations

import pytest

from ainit.policy import assembler as asm
from ainit.policy.assembler import R0, R1, R2, R6, R10, Label, Part


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (asm.put(R0, -13), "b7000000f3ffffff"),
        (asm.copy(R6, R1), "bf16000000000000"),
        (asm.add(R2, -8), "07020000f8ffffff"),
        (asm.load(R1, R6, 40, 8), "7961280000000000"),
        (asm.load(R1, R6, 0, 2), "6961000000000000"),
        (asm.load(R1, R6, 16, 4), "6161100000000000"),
        (asm.store(R10, -16, R1, 4), "631af0ff00000000"),
        (asm.count(R0, 0, R1), "db10000000000000"),
        (asm.call(1), "8500000001000000"),
        (asm.call_kernel(41796), "8520000044a30000"),
        (asm.map_of(R1, 5), "18110000050000000000000000000000"),
        (asm.constant(R2, 0x62696C2F7261762F), "180200002f766172000000002f6c6962"),
        (asm.shift_left(R0, 32), "6700000020000000"),
        (asm.leave(), "9500000000000000"),
    ],
)
def test_encoding(part: Part, code: str) -> None:
    assert asm.assemble([part]).hex() == code


def test_a_wide_instruction_counts_twice_for_a_jump() -> None:
    parts: list[Part] = [asm.if_equal(R0, 0, "end"), asm.map_of(R1, 1), Label("end"), asm.leave()]
    assert asm.assemble(parts)[2:4] == (2).to_bytes(2, "little")


def test_a_jump_to_nowhere_is_no_program() -> None:
    with pytest.raises(KeyError):
        asm.assemble([asm.jump("nowhere")])
