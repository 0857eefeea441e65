"""The seccomp filter of an agent: rules over system calls become a classic BPF program.

The architecture is checked first, because numbers mean something else on another one. Then a binary
search over ranges of numbers with the same answer ends in a return or in the questions about a
call's arguments: about eight comparisons whatever the call. Built from the end, so that a jump
knows where it goes. The same input gives the same bytes. Leaves out which call is allowed
(``call_rules``), and installing it. Source: linux/bpf_common.h, linux/seccomp.h.

>>> len(program((), "x86_64")) % 8
0
"""

from __future__ import annotations

import struct

from .call_rules import KILL, NO_SUCH_CALL, WORD, X32, Rule, rules
from .system_calls import ARCHITECTURES, X86_64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Decision = int | Rule

INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS
ENTRY = struct.Struct("<HBBI")  # struct sock_filter

# Operations: BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|JEQ|K, JGE, JA, BPF_RET|K.
LOAD, AND, EQUAL, AT_LEAST, JUMP, RETURN = 0x20, 0x54, 0x15, 0x35, 0x05, 0x06
# Offsets into struct seccomp_data; an argument is 64 bits, and its low word comes first.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16

_REACH = 250  # a conditional jump reaches 255 instructions: less those that may come in between


def program(calls: Collection[str], machine: str) -> bytes:
    """The filter for these classes, as an array of ``struct sock_filter``.

    ``calls`` is ``Profile.calls``, ``machine`` uname's. Raises ValueError for one that is unknown.
    """
    return compiled(rules(calls, machine), machine, NO_SUCH_CALL)


def compiled(found: Mapping[int, Decision], machine: str, unknown: int) -> bytes:
    """The filter for rules by numbers; ``unknown`` is done about a call that they do not name."""
    ranges: list[tuple[int, Decision]] = []
    for number in range(max(found) + 2):
        decision = found.get(number, unknown)
        if not ranges or ranges[-1][1] != decision:
            ranges.append((number, decision))
    if machine == X86_64:
        ranges.append((X32, KILL))
    return assemble(ranges, ARCHITECTURES[machine])


def assemble(ranges: Sequence[tuple[int, Decision]], architecture: int) -> bytes:
    """The program for ranges of numbers, each its first number and what is done from there on.

    The first range begins at 0. Raises ValueError when the kernel would not take so long a one.
    """
    return _Program().build(ranges, architecture)


class _Program:
    """A program that grows at its beginning. A place is a distance from its end."""

    def __init__(self) -> None:
        self._code: list[bytes] = []  # the last instruction first
        self._returns: dict[int, int] = {}  # action → the place that returns it

    def build(self, ranges: Sequence[tuple[int, Decision]], architecture: int) -> bytes:
        search = self._search(ranges)
        assert search == len(self._code) - 1, "what follows the load is the search"
        search = self._add(LOAD, NUMBER)
        self._compare(EQUAL, architecture, search, self._return(KILL))
        self._add(LOAD, ARCHITECTURE)
        if len(self._code) > INSTRUCTIONS_MAX:
            raise ValueError(f"a program of {len(self._code)} instructions is too long")
        return b"".join(reversed(self._code))

    def _search(self, ranges: Sequence[tuple[int, Decision]]) -> int:
        """The place that finds the range of a number and acts on it."""
        if len(ranges) == 1:
            decision = ranges[0][1]
            return self._ask(decision) if isinstance(decision, Rule) else self._return(decision)
        middle = len(ranges) // 2
        above = self._search(ranges[middle:])
        below = self._search(ranges[:middle])
        return self._compare(AT_LEAST, ranges[middle][0], above, below)

    def _ask(self, rule: Rule) -> int:
        """The place that asks a rule's questions."""
        place = self._return(rule.otherwise)
        for question in reversed(rule.questions):
            acts = self._return(question.action)
            yes, no = (acts, place) if question.inside else (place, acts)
            place = no
            for value in reversed(question.values):
                place = self._compare(EQUAL, value, yes, place)
            if question.mask != WORD:
                self._add(AND, question.mask)
            place = self._add(LOAD, ARGUMENTS + 8 * question.argument)
        return place

    def _return(self, action: int) -> int:
        place = self._returns.get(action)
        if place is None or len(self._code) - place > _REACH:
            place = self._returns[action] = self._add(RETURN, action)
        return place

    def _compare(self, operation: int, value: int, yes: int, no: int) -> int:
        near = [self._near(yes), self._near(no)]
        here = len(self._code)
        return self._add(operation, value, *(here - place - 1 for place in near))

    def _near(self, place: int) -> int:
        """``place``, or a jump to it that a conditional one reaches."""
        here = len(self._code)
        return place if here - place <= _REACH else self._add(JUMP, here - place - 1)

    def _add(self, operation: int, value: int, yes: int = 0, no: int = 0) -> int:
        self._code.append(ENTRY.pack(operation, yes, no, value))
        return len(self._code) - 1
