"""The compiled filter says what the rules say, for any call, and the kernel would take it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import call_rules, sandbox, seccomp
from ainit.policy.call_rules import ALLOW, DENY, KILL, NO_FAMILY, NO_SUCH_CALL, Question, Rule
from ainit.policy.system_calls import AARCH64, ARCHITECTURES, X86_64, numbers
from tests.support.seccomp import EDGES, compare, disagreements, load, run

MACHINES = (X86_64, AARCH64)
EVERY = (*sandbox.CLASSES, *sandbox.IMPLIED)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("calls", [(), *((name,) for name in EVERY), EVERY], ids="+".join)
def test_the_program_says_what_the_rules_say(machine: str, calls: tuple[str, ...]) -> None:
    seen = disagreements(Random(7), machine, calls, 3000)
    assert seen[-1] == 0
    assert {ALLOW, DENY, KILL, NO_SUCH_CALL, NO_FAMILY} <= seen.keys()


def test_any_set_of_classes_on_both_machines() -> None:
    assert compare(40_000) == (40_000, 0)


def test_a_program_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = seccomp.program
    deny, allow = seccomp.ENTRY.pack(0x06, 0, 0, DENY), seccomp.ENTRY.pack(0x06, 0, 0, ALLOW)

    def wrong(calls: Collection[str], machine: str) -> bytes:
        return whole(calls, machine).replace(deny, allow)

    monkeypatch.setattr(seccomp, "program", wrong)
    compared, differing = compare(2000)
    assert 0 < differing < compared


@given(st.sets(st.sampled_from(EVERY)), st.sampled_from(MACHINES), st.integers(0, 1 << 32))
def test_any_set_of_classes(calls: set[str], machine: str, seed: int) -> None:
    assert disagreements(Random(seed), machine, sorted(calls), 100)[-1] == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_without_arguments(machine: str) -> None:
    rules = call_rules.rules((), machine)
    code = load(seccomp.program((), machine))
    for number in (*range(600), *EDGES):
        expected = call_rules.action(rules, machine, number, [0] * 6)
        assert run(code, ARCHITECTURES[machine], number, [0] * 6)[0] == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_is_killed(machine: str) -> None:
    """Its numbers mean other calls: number 1 is exit on i386, and write on x86-64."""
    code = load(seccomp.program((), machine))
    others = [value for name, value in ARCHITECTURES.items() if name != machine]
    for architecture in (0x40000003, 0, 0xFFFFFFFF, *others):
        for number in range(500):
            assert run(code, architecture, number, [0] * 6) == (KILL, 3)


def test_x32_is_killed() -> None:
    code = load(seccomp.program(EVERY, X86_64))
    for number in (0x40000000, 0x40000001, 0x40000000 + 520, 0xFFFFFFFF):
        assert run(code, ARCHITECTURES[X86_64], number, [0] * 6)[0] == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_the_order_of_classes_is_nothing(machine: str) -> None:
    assert seccomp.program(EVERY, machine) == seccomp.program(EVERY[::-1], machine)


def test_a_filter_stays_as_it_is() -> None:
    """What an image is measured with comes out again: a change of the rules changes this line."""
    digests = [hashlib.sha256(seccomp.program((), machine)).hexdigest() for machine in MACHINES]
    assert [digest[:16] for digest in digests] == ["5aded92d13254736", "f13f5c7095dc83ba"]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_common_call_takes_few_instructions(machine: str) -> None:
    code = load(seccomp.program((), machine))
    known = numbers(machine)
    for name in ("read", "write", "futex", "openat", "clock_gettime", "epoll_pwait"):
        assert run(code, ARCHITECTURES[machine], known[name], [0] * 6)[1] <= 14


@pytest.mark.parametrize("count", [2, 3, 100, 250, 251, 252, 260, 500, 1100])
def test_a_program_of_any_length_reaches_everywhere(count: int) -> None:
    """More ranges than a jump can pass over, with returns and questions far from each other."""
    values = [number * 7 + 1 for number in range(count)]
    rule = Rule(
        Question(0, (3, 5), ALLOW, inside=True),
        Question(1, (4,), KILL, mask=6, inside=False),
        otherwise=DENY,
    )
    decisions: list[int | Rule] = [ALLOW, DENY, rule, KILL, NO_SUCH_CALL]
    ranges = [(0, NO_FAMILY), *((value, decisions[value % 5]) for value in values)]
    code = load(seccomp.assemble(ranges, 9))
    for index, (first, decision) in enumerate(ranges):
        last = ranges[index + 1][0] - 1 if index < count else 0xFFFFFFFF
        for number in (first, last):
            for words in ([3, 0, 0, 0, 0, 0], [4, 5, 0, 0, 0, 0], [4, 2, 0, 0, 0, 0]):
                expected = decision.action(words) if isinstance(decision, Rule) else decision
                assert run(code, 9, number, words)[0] == expected
        assert run(code, 8, first, [0] * 6)[0] == KILL


def test_a_program_that_the_kernel_would_not_take_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranges = [(number, ALLOW if number % 2 else DENY) for number in range(40)]
    length = len(load(seccomp.assemble(ranges, 9)))
    assert seccomp.INSTRUCTIONS_MAX == 4096
    monkeypatch.setattr(seccomp, "INSTRUCTIONS_MAX", length)
    assert len(load(seccomp.assemble(ranges, 9))) == length
    monkeypatch.setattr(seccomp, "INSTRUCTIONS_MAX", length - 1)
    with pytest.raises(ValueError, match=f"a program of {length} instructions is too long"):
        seccomp.assemble(ranges, 9)


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="no class of system calls everything"):
        seccomp.program(("everything",), X86_64)
    with pytest.raises(ValueError, match="no table of the system calls of riscv64"):
        seccomp.program((), "riscv64")


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x06",
        seccomp.ENTRY.pack(0x20, 0, 0, 0),
        seccomp.ENTRY.pack(0x15, 0, 1, 0) + seccomp.ENTRY.pack(0x06, 0, 0, 0),
        seccomp.ENTRY.pack(0x05, 0, 0, 1) + seccomp.ENTRY.pack(0x06, 0, 0, 0),
        seccomp.ENTRY.pack(0x20, 0, 0, 2) + seccomp.ENTRY.pack(0x06, 0, 0, 0),
        seccomp.ENTRY.pack(0x20, 0, 0, 64) + seccomp.ENTRY.pack(0x06, 0, 0, 0),
        seccomp.ENTRY.pack(0x16, 0, 0, 0),
        seccomp.ENTRY.pack(0x06, 0, 0, 0) * 4097,
    ],
)
def test_the_reference_refuses_what_the_kernel_would(program: bytes) -> None:
    with pytest.raises(ValueError, match=r"length|out of|no word|unknown|no return"):
        load(program)
