"""BPF instructions, as few as our programs need (kernel documentation, bpf/instruction-set.rst).

PURE: a program is a list of instructions and labels; `assemble` makes bytes of it.

>>> assemble([put(R0, 0), leave()]).hex()
'b7000000000000009500000000000000'
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Registers. A call takes R1 to R5, answers in R0, and keeps R6 to R9; R10 is the end of the stack.
R0, R1, R2, R3, R4, _R5, R6, R7, R8, R9, R10 = range(11)

# Helpers of the kernel, by number (enum bpf_func_id).
MAP_LOOKUP = 1
ANCESTOR_CGROUP_ID = 123
TASK_STORAGE_GET = 156
CURRENT_TASK = 158
DYNPTR_FROM_MEMORY = 197

_PSEUDO_MAP = 1  # the source of a 64-bit constant: a map's descriptor
_PSEUDO_KFUNC = 2  # the source of a call: a function of the kernel, by its id in BTF
_WIDTHS = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}


class Instruction:
    """One instruction; ``to`` names the label that a jump goes to, ``wide`` is one of two slots."""

    __slots__ = ("code", "offset", "source", "target", "to", "value", "wide")

    def __init__(
        self,
        code: int,
        target: int = 0,
        source: int = 0,
        offset: int = 0,
        *,
        value: int = 0,
        to: str = "",
        wide: bool = False,
    ) -> None:
        self.code = code
        self.target = target
        self.source = source
        self.offset = offset
        self.value = value
        self.to = to
        self.wide = wide


class Label:
    """A place in a program."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


Part = Instruction | Label


def put(register: int, value: int) -> Instruction:
    """register = a number of 32 bits, with its sign."""
    return Instruction(0xB7, register, value=value)


def copy(register: int, source: int) -> Instruction:
    """register = source."""
    return Instruction(0xBF, register, source)


def add(register: int, value: int) -> Instruction:
    """register += a number."""
    return Instruction(0x07, register, value=value)


def mask(register: int, value: int) -> Instruction:
    """register &= a number."""
    return Instruction(0x57, register, value=value)


def shift_left(register: int, bits: int) -> Instruction:
    """register <<= bits."""
    return Instruction(0x67, register, value=bits)


def load(register: int, base: int, offset: int, width: int) -> Instruction:
    """register = ``width`` bytes at base + offset."""
    return Instruction(0x61 | _WIDTHS[width], register, base, offset)


def store(base: int, offset: int, source: int, width: int) -> Instruction:
    """``width`` bytes at base + offset = source."""
    return Instruction(0x63 | _WIDTHS[width], base, source, offset)


def count(base: int, offset: int, source: int) -> Instruction:
    """The eight bytes at base + offset grow by source, whoever else counts meanwhile."""
    return Instruction(0xDB, base, source, offset)


def constant(register: int, value: int) -> Instruction:
    """register = a number of 64 bits without sign."""
    return Instruction(0x18, register, value=value, wide=True)


def map_of(register: int, descriptor: int) -> Instruction:
    """register = a map."""
    return Instruction(0x18, register, _PSEUDO_MAP, value=descriptor, wide=True)


def call(helper: int) -> Instruction:
    """Call a helper."""
    return Instruction(0x85, value=helper)


def call_kernel(function: int) -> Instruction:
    """Call a function of the kernel that is there for programs, by its id."""
    return Instruction(0x85, 0, _PSEUDO_KFUNC, value=function)


def leave() -> Instruction:
    """Return R0."""
    return Instruction(0x95)


def jump(to: str) -> Instruction:
    """Go on at a label."""
    return Instruction(0x05, to=to)


def if_equal(register: int, value: int, to: str) -> Instruction:
    """Go on at a label if the register holds a number."""
    return Instruction(0x15, register, value=value, to=to)


def if_not(register: int, value: int, to: str) -> Instruction:
    """Go on at a label unless the register holds a number."""
    return Instruction(0x55, register, value=value, to=to)


def if_differs(register: int, other: int, to: str) -> Instruction:
    """Go on at a label unless two registers are equal."""
    return Instruction(0x5D, register, other, to=to)


def if_negative(register: int, to: str) -> Instruction:
    """Go on at a label if the register, with its sign, is below zero."""
    return Instruction(0xC5, register, value=0, to=to)


def assemble(parts: Iterable[Part]) -> bytes:
    """The bytes of a program. Raises KeyError for a jump to nowhere."""
    places: dict[str, int] = {}
    found: list[tuple[int, Instruction]] = []
    at = 0
    for part in parts:
        if isinstance(part, Label):
            places[part.name] = at
        else:
            found.append((at, part))
            at += 2 if part.wide else 1
    code = b""
    for place, each in found:
        offset = places[each.to] - place - 1 if each.to else each.offset
        registers = each.source << 4 | each.target
        low = each.value & 0xFFFFFFFF
        code += struct.pack("<BBhI", each.code, registers, offset, low)
        if each.wide:
            code += struct.pack("<BBhI", 0, 0, 0, each.value >> 32 & 0xFFFFFFFF)
    return code
