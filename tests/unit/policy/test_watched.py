"""Audit mode is told of what a class is needed for, and of files and addresses; of nothing else."""

from __future__ import annotations

from random import Random

import pytest

from ainit.policy import call_rules, sandbox, watched
from ainit.policy.call_rules import ALLOW
from ainit.policy.system_calls import AARCH64, ARCHITECTURES, X86_64, numbers
from ainit.policy.watched import TOLD
from tests.support.seccomp import arguments, load, run

MACHINES = (X86_64, AARCH64)
NAMED = (*watched.FILES, *watched.DESCRIPTORS, *watched.ADDRESSES)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("has_gpu", [False, True])
def test_whatever_needs_a_class_is_told(machine: str, has_gpu: bool) -> None:
    """Held against the rules: a call that is allowed with all classes and not with none."""
    random = Random(3)
    code = load(watched.program(has_gpu, machine))
    implied = (sandbox.DEVICES,) if has_gpu else ()
    few = call_rules.rules(implied, machine)
    all_ = call_rules.rules((*sandbox.CLASSES, *sandbox.IMPLIED), machine)
    known = numbers(machine)
    named = {known[name] for name in NAMED if name in known}
    told = 0
    for _ in range(20_000):
        number = random.choice(list(known.values()))
        given = arguments(random, [0, 1, 2, 4, 7, 0x11, 0x10000, 0x5401, 22, 8])
        action = run(code, ARCHITECTURES[machine], number, given)[0]
        with_all = call_rules.action(all_, machine, number, given)
        with_few = call_rules.action(few, machine, number, given)
        if with_all == ALLOW and with_few != ALLOW:
            assert action == TOLD
            told += 1
        elif with_few == ALLOW and number not in named:
            assert action == ALLOW
    assert told > 500


@pytest.mark.parametrize("machine", MACHINES)
def test_files_and_addresses_are_told(machine: str) -> None:
    code = load(watched.program(False, machine))
    for name in NAMED:
        if (number := numbers(machine).get(name)) is not None:
            given = [5, 5, 5, 5, 5, 5]
            assert run(code, ARCHITECTURES[machine], number, given)[0] == TOLD, name


@pytest.mark.parametrize("machine", MACHINES)
def test_what_names_no_file_is_not(machine: str) -> None:
    """fstat(2) as the C library makes it, sending to whom one is connected, handing over."""
    code, known = load(watched.program(False, machine)), numbers(machine)
    quiet = {
        "newfstatat": [5, 5, 5, 0x1000, 0, 0],
        "statx": [5, 5, 0x1000, 0, 0, 0],
        "sendto": [5, 5, 5, 0, 0, 0],
        "sendmsg": [5, 5, 0x4040, 0, 0, 0],
        **{name: [0] * 6 for name in ("read", "write", "close", "futex", "exit_group")},
    }
    for name, given in quiet.items():
        assert run(code, ARCHITECTURES[machine], known[name], given)[0] == ALLOW, name


def test_every_call_that_names_a_file_is_known_of() -> None:
    """Of the base class and the others, by their names: what has a path in it and is missing here
    would let an entry go that is needed.
    """
    known = {*numbers(X86_64), *numbers(AARCH64)}
    allowed = {
        name
        for machine in MACHINES
        for name, number in numbers(machine).items()
        if call_rules.rules((*sandbox.CLASSES, *sandbox.IMPLIED), machine)[number]
        not in (call_rules.DENY, call_rules.KILL, call_rules.NO_SUCH_CALL)
    }
    assert set(NAMED) <= known
    stems = ("open", "stat", "access", "link", "dir", "chmod", "chown", "rename", "xattr", "mknod")
    by_descriptor = {
        "fstat", "fstatfs", "fgetxattr", "flistxattr", "fchdir",
        "pidfd_open", "mq_open", "mq_unlink",
    }  # fmt: skip
    similar = {name for name in allowed if any(stem in name for stem in stems)}
    assert similar - set(NAMED) == by_descriptor


@pytest.mark.parametrize("machine", MACHINES)
def test_which_arguments_decide(machine: str) -> None:
    found = watched.asked(machine, sandbox.CLASSES)
    known = numbers(machine)
    assert found[known["clone"]] == (0,)
    assert found[known["mmap"]] == (2,)
    assert found[known["prctl"]] == (0, 1)
    assert found[known["socket"]] == (0,)
    assert watched.asked(machine, (sandbox.INTERNET,))[known["socket"]] == (0, 1, 2)
