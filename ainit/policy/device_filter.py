"""Which devices an agent may use, as a program that the kernel asks at each open(2) and mknod(2) of
a device, in whatever file system its node lies (kernel documentation, cgroup-v2.rst, "Device
controller").

To make a node of a device that one may use is allowed as well: it gives nothing, and a sandbox
makes its nodes when the program is in force already.

>>> len(program([(1, 3)])) // 8
13
"""

from __future__ import annotations

from . import assembler as asm
from .assembler import R0, R1, R2, R3, R4, Label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .assembler import Part

# struct bpf_cgroup_dev_ctx: three numbers of four bytes. The low half of the first is the type.
_TYPE, _MAJOR, _MINOR = 0, 4, 8
_TYPE_MASK, _CHARACTER = 0xFFFF, 2


def program(devices: Iterable[tuple[int, int]]) -> bytes:
    """Allow these character devices, by major and minor number, and no other device."""
    numbers: dict[int, set[int]] = {}
    for major, minor in devices:
        numbers.setdefault(major, set()).add(minor)
    parts: list[Part] = [
        asm.load(R2, R1, _TYPE, 4),
        asm.mask(R2, _TYPE_MASK),
        asm.if_not(R2, _CHARACTER, "deny"),
        asm.load(R3, R1, _MAJOR, 4),
        asm.load(R4, R1, _MINOR, 4),
    ]
    for major, minors in sorted(numbers.items()):
        parts.append(asm.if_not(R3, major, f"after {major}"))
        parts += (asm.if_equal(R4, minor, "allow") for minor in sorted(minors))
        parts += (asm.jump("deny"), Label(f"after {major}"))
    parts += [
        Label("deny"),
        asm.put(R0, 0),
        asm.leave(),
        Label("allow"),
        asm.put(R0, 1),
        asm.leave(),
    ]
    return asm.assemble(parts)
