"""Which calls each class allows, with which arguments; what is dangerous stays shut in all."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from ainit.policy import call_rules, sandbox
from ainit.policy.call_rules import (
    ALLOW,
    DENY,
    KILL,
    KILLED,
    NEVER,
    NO_DEVICE,
    NO_FAMILY,
    NO_SUCH_CALL,
    Rule,
    rules,
)
from ainit.policy.system_calls import AARCH64, X86_64, numbers
from tests.support.seccomp import arguments

MACHINES = (X86_64, AARCH64)
EVERY = (*sandbox.CLASSES, *sandbox.IMPLIED)
HIGH = 0xDEADBEEF << 32
KNOWN = {machine: numbers(machine) for machine in MACHINES}


def answer(name: str, *arguments: int, calls: tuple[str, ...] = (), machine: str = X86_64) -> int:
    """What is done about a call by its name."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    return call_rules.action(rules(calls, machine), machine, KNOWN[machine][name], padded)


def test_every_name_is_a_call() -> None:
    known = KNOWN[X86_64].keys() | KNOWN[AARCH64].keys()
    listed = call_rules._BASE.split()
    named = {
        *listed,
        *NEVER,
        *(name for one in call_rules._CLASSES.values() for name in one.split()),
    }
    assert named <= known
    assert len(set(listed)) == len(listed)
    assert KILLED < NEVER


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("count", range(len(EVERY) + 1))
def test_what_nobody_has_no_set_of_classes_gives(count: int, machine: str) -> None:
    for calls in itertools.combinations(EVERY, count):
        found = rules(calls, machine)
        for name in NEVER & KNOWN[machine].keys():
            expected = (
                KILL if name in KILLED else NO_SUCH_CALL if name == "clone3" else DENY
            )  # fmt: skip
            assert found[KNOWN[machine][name]] == expected, (name, calls)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", EVERY)
def test_a_class_only_adds(name: str, machine: str) -> None:
    """Whatever is allowed without a class is allowed with it."""
    before, after = rules((), machine), rules((name,), machine)
    tests = [
        test for rule in (*before.values(), *after.values()) if isinstance(rule, Rule)
        for test in rule.questions
    ]  # fmt: skip
    interesting = sorted({value for test in tests for value in (*test.values, test.mask)})
    random = Random(3)
    for number in before:
        for _ in range(40 if isinstance(after[number], Rule) else 1):
            given = arguments(random, interesting)
            was, now = (
                call_rules.action(found, machine, number, given) for found in (before, after)
            )
            assert now == ALLOW or was != ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_what_a_program_needs_is_there(machine: str) -> None:
    for name in (
        "read", "write", "mmap", "munmap", "brk", "openat", "close", "newfstatat", "futex",
        "execve", "exit_group", "rt_sigreturn", "restart_syscall", "clock_nanosleep", "getrandom",
        "memfd_create", "rseq", "sendmsg", "recvmsg", "accept4", "epoll_pwait", "sched_setaffinity",
    ):  # fmt: skip
        assert answer(name, machine=machine) == ALLOW, name


def test_a_call_of_a_later_kernel_does_not_exist() -> None:
    assert call_rules.action(rules((), X86_64), X86_64, 463, [0] * 6) == NO_SUCH_CALL
    assert call_rules.action(rules((), AARCH64), AARCH64, 250, [0] * 6) == NO_SUCH_CALL


@pytest.mark.parametrize(
    ("calls", "flags", "expected"),
    [
        ((), 0x3D0F00, ALLOW),  # what glibc's pthread_create gives
        ((), 17, DENY),  # a child: SIGCHLD
        ((), 0x4111, DENY),  # what glibc's vfork gives, with CLONE_VM and a signal
        ((sandbox.PROCESSES,), 0x3D0F00, ALLOW),
        ((sandbox.PROCESSES,), 17, ALLOW),
        ((sandbox.PROCESSES,), 0x4111, ALLOW),
        *(
            (calls, base | 1 << bit, DENY)
            for calls in ((), (sandbox.PROCESSES,), EVERY)
            for base in (17, 0x3D0F00)
            for bit in (17, 25, 26, 27, 28, 29, 30)  # CLONE_NEWNS, then CGROUP to NET
        ),
    ],
)
@pytest.mark.parametrize("high", [0, HIGH])
def test_threads_are_free_children_are_not_and_namespaces_never(
    calls: tuple[str, ...], flags: int, expected: int, high: int
) -> None:
    for machine in MACHINES:
        assert answer("clone", high | flags, calls=calls, machine=machine) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("unshare", (0x600,), ALLOW),
        ("unshare", (0x10000000,), DENY),
        ("unshare", (0x80,), DENY),  # CLONE_NEWTIME
        ("unshare", (HIGH | 0x20200,), DENY),
        ("personality", (0,), ALLOW),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0040000,), DENY),  # ADDR_NO_RANDOMIZE
        ("personality", (0x0400000,), DENY),  # READ_IMPLIES_EXEC
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), NO_DEVICE),  # TIOCSTI
        ("ioctl", (0, HIGH | 0x5412), NO_DEVICE),
        ("ioctl", (0, 0x541C), NO_DEVICE),
        ("ioctl", (0, 0xC0104629), NO_DEVICE),
        ("mknodat", (0, 0, 0o10600), ALLOW),
        ("mknodat", (0, 0, 0o20600), DENY),
        ("mknodat", (0, 0, 0o60600), DENY),
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (1, 7), DENY),
        ("prctl", (15,), ALLOW),
        ("prctl", (0x53564D41,), ALLOW),
        ("prctl", (4, 0), ALLOW),
        ("prctl", (4, 1), DENY),  # PR_SET_DUMPABLE: others could look in
        ("prctl", (22, 2), DENY),
        ("prctl", (35, 1), DENY),  # PR_SET_MM
        ("prctl", (0x59616D61, 1), DENY),  # PR_SET_PTRACER
        ("mmap", (0, 4096, 5), ALLOW),
        ("mmap", (0, 4096, 3), ALLOW),
        ("mmap", (0, 4096, 7), DENY),
        ("mmap", (0, 4096, HIGH | 6), DENY),
        ("mprotect", (0, 4096, 1), ALLOW),
        ("mprotect", (0, 4096, 5), DENY),
        ("pkey_mprotect", (0, 4096, 5, 0), DENY),
        ("memfd_create", (0, 1), ALLOW),
        ("memfd_create", (0, 0x8), ALLOW),
        ("memfd_create", (0, 0x11), DENY),
        ("setsockopt", (3, 6, 1), ALLOW),
        ("setsockopt", (3, 1, 9), ALLOW),
        ("setsockopt", (3, 1, 26), DENY),
        ("setsockopt", (3, HIGH | 1, HIGH | 50), DENY),
        ("setsockopt", (3, 6, 26), ALLOW),
        ("socket", (1, 1, 0), ALLOW),
        ("socket", (HIGH | 1, 1, 0), ALLOW),
        *(("socket", (family, 1, 0), NO_FAMILY) for family in (2, 10, 16, 17, 38, 40, 44)),
        ("socketpair", (1, 1, 0), ALLOW),
        ("socketpair", (30, 1, 0), NO_FAMILY),
        ("clone3", (), NO_SUCH_CALL),
    ],
)
def test_arguments_of_the_base_class(name: str, arguments: tuple[int, ...], expected: int) -> None:
    for machine in MACHINES:
        assert answer(name, *arguments, machine=machine) == expected


@pytest.mark.parametrize(
    ("calls", "name", "arguments", "expected"),
    [
        ("internet", "socket", (2, 1, 0), ALLOW),
        ("internet", "socket", (10, 0x80802, 17), ALLOW),
        ("internet", "socket", (2, 1, 6), ALLOW),
        ("internet", "socket", (2, 1, 7), DENY),
        ("internet", "socket", (1, 5, 0), ALLOW),
        ("internet", "socket", (2, 3, 0), DENY),  # SOCK_RAW
        ("internet", "socket", (2, 10, 0), DENY),  # SOCK_PACKET
        ("internet", "socket", (2, 1, 132), DENY),  # SCTP
        ("internet", "socket", (2, 1, 262), DENY),  # MPTCP
        ("internet", "socket", (16, 3, 0), NO_FAMILY),  # netlink
        ("internet", "socket", (17, 3, 0), NO_FAMILY),  # packets
        ("devices", "ioctl", (3, 0xC0104629), ALLOW),
        ("devices", "ioctl", (3, 0x30000001), ALLOW),
        ("devices", "ioctl", (3, HIGH | 0x5412), DENY),
        ("devices", "ioctl", (3, 0x541C), DENY),
        ("devices", "ioctl", (3, 0x541D), DENY),
        ("devices", "ioctl", (3, 0x5423), DENY),
        ("jit", "mmap", (0, 4096, 7), ALLOW),
        ("jit", "mprotect", (0, 4096, 5), ALLOW),
        ("jit", "memfd_create", (0, 0x10), ALLOW),
        ("sandboxing", "prctl", (22, 2), ALLOW),
        ("sandboxing", "seccomp", (1, 0), ALLOW),
        ("sandboxing", "landlock_restrict_self", (3, 0), ALLOW),
        *(("identity", "prctl", (option, 21), ALLOW) for option in (8, 24, 28, 47)),
        ("identity", "prctl", (9, 0), DENY),
        ("identity", "setresuid", (1, 1, 1), ALLOW),
        ("processes", "prctl", (36, 1), ALLOW),
        ("processes", "prctl", (22, 2), DENY),
        ("processes", "wait4", (0,), ALLOW),
        ("ipc", "shmat", (1, 0, 0), ALLOW),
        ("ipc", "shmat", (1, 0, 0x1001), ALLOW),
        ("ipc", "shmat", (1, 0, 0x8000), DENY),
        ("attributes", "fchownat", (0,), ALLOW),
        ("scheduling", "sched_setscheduler", (0, 1), ALLOW),
    ],
)
def test_arguments_with_a_class(
    calls: str, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    for machine in MACHINES:
        assert answer(name, *arguments, calls=(calls,), machine=machine) == expected
    assert answer(name, *arguments) != ALLOW or expected == ALLOW
