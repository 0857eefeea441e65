"""The kernel's side of a seccomp filter, for tests: what it accepts, and what a program answers.

Written from linux/filter.h and kernel/seccomp.c, not from the compiler: it knows every operation
that the compiler uses, and refuses any other.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from random import Random

from ainit.policy import call_rules, sandbox, seccomp
from ainit.policy.call_rules import Rule
from ainit.policy.system_calls import ARCHITECTURES

_ENTRY = struct.Struct("=HBBI")
_DATA = struct.Struct("=iIQ6Q")
_WORD = 0xFFFFFFFF
EDGES = (
    0, 1, 334, 335, 336, 423, 424, 462, 463, 0x3FFFFFFF, 0x40000000, 0x40000001, 0x7FFFFFFF,
    0x80000000, _WORD,
)  # fmt: skip

Program = list[tuple[int, int, int, int]]


def load(program: bytes) -> Program:
    """The instructions. ValueError when the kernel would not take them (seccomp_check_filter)."""
    if not program or len(program) % _ENTRY.size or len(program) // _ENTRY.size > 4096:
        raise ValueError("the length of a program is 1 to 4096 instructions")
    code = list(_ENTRY.iter_unpack(program))
    for place, (operation, yes, no, value) in enumerate(code):
        left = len(code) - place - 1
        match operation:
            case 0x20 if value % 4 or value >= 64:
                raise ValueError(f"{place}: loads from {value}, which is no word of seccomp_data")
            case 0x15 | 0x35 if yes >= left or no >= left:
                raise ValueError(f"{place}: jumps out of the program")
            case 0x05 if value >= left:
                raise ValueError(f"{place}: jumps out of the program")
            case 0x20 | 0x54 | 0x15 | 0x35 | 0x05 | 0x06:
                continue
            case _:
                raise ValueError(f"{place}: unknown operation {operation:#x}")
    if code[-1][0] != 0x06:
        raise ValueError("the last instruction is no return")
    return code


def run(code: Program, architecture: int, number: int, arguments: Sequence[int]) -> tuple[int, int]:
    """What the program answers, and how many instructions it took."""
    signed = number - (1 << 32) if number >> 31 else number
    data = _DATA.pack(signed, architecture, 0x7F0000001000, *arguments)
    accumulator, place, steps = 0, 0, 0
    while True:
        operation, yes, no, value = code[place]
        place += 1
        steps += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:
            accumulator &= value
        elif operation == 0x15:
            place += yes if accumulator == value else no
        elif operation == 0x35:
            place += yes if accumulator >= value else no
        elif operation == 0x05:
            place += value
        else:
            return value, steps


def arguments(random: Random, interesting: Sequence[int]) -> list[int]:
    """Six arguments: mostly numbers that a filter may ask about, combined, and with high words."""
    found = []
    for _ in range(6):
        kind = random.randrange(8)
        value = random.choice(interesting)
        if kind < 3:
            value |= random.choice(interesting)
        elif kind == 3:
            value ^= 1 << random.randrange(32)
        elif kind == 4:
            value = random.getrandbits(64)
        if random.randrange(3) == 0:
            value |= random.getrandbits(32) << 32
        found.append(value & (_WORD << 32 | _WORD))
    return found


def disagreements(random: Random, machine: str, calls: Sequence[str], count: int) -> Counter[int]:
    """How often each action was right about so many random calls; -1 counts the differences.

    The compiled program is asked, and the rules themselves. Half of the calls have arguments that
    matter, the rest is any number, and numbers at the edges of what is known.
    """
    rules = call_rules.rules(calls, machine)
    asked = {number: one for number, one in rules.items() if isinstance(one, Rule)}
    tests = [test for rule in asked.values() for test in rule.questions]
    interesting = sorted(
        {0, 1, _WORD, *(value for test in tests for value in (*test.values, test.mask))}
    )
    checked = sorted(asked)
    code = load(seccomp.program(calls, machine))
    seen: Counter[int] = Counter()
    for _ in range(count):
        kind = random.randrange(4)
        if kind < 2:
            number = random.choice(checked)
        elif kind == 2:
            number = random.randrange(470)
        else:
            number = random.choice((*EDGES, random.getrandbits(32)))
        given = arguments(random, interesting)
        answer, _ = run(code, ARCHITECTURES[machine], number, given)
        right = answer == call_rules.action(rules, machine, number, given)
        seen[answer if right else -1] += 1
    return seen


def compare(count: int, seed: int = 0) -> tuple[int, int]:
    """Compare about so many random calls over random sets of classes, on both machines.

    Returns how many calls were compared, and how many of them the program answered otherwise.
    """
    random = Random(seed)
    every = (*sandbox.CLASSES, *sandbox.IMPLIED)
    compared = wrong = 0
    while compared < count:
        calls = [name for name in every if random.randrange(2)]
        machine = random.choice(sorted(ARCHITECTURES))
        seen = disagreements(random, machine, calls, min(5000, count - compared))
        compared += seen.total()
        wrong += seen[-1]
    return compared, wrong
