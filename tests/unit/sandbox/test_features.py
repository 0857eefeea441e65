"""A sandbox is refused for each thing that a kernel lacks, by the name of what would bring it."""

from __future__ import annotations

import pytest

from ainit.policy.sandbox import Profile
from ainit.sandbox import features
from ainit.sandbox.features import Features, missing

ALL = frozenset({"mnt", "pid", "ipc", "uts", "cgroup", "net", "user"})
TIGHTEST = Profile({})


def kernel(**changes: object) -> Features:
    """One that has everything, but for these."""
    made = Features(6, True, ALL, True, frozenset(), devices=True)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_kernel_that_has_all_lacks_nothing() -> None:
    assert missing(TIGHTEST, kernel()) == []
    assert missing(TIGHTEST, kernel(landlock=9)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"landlock": 0}, "this kernel has none (CONFIG_SECURITY_LANDLOCK, and landlock in lsm=)"),
        ({"landlock": 5}, "Landlock of ABI 6 is needed, this kernel has 5"),
        ({"filters": False}, "CONFIG_SECCOMP_FILTER"),
        ({"devices": False}, "CONFIG_CGROUP_BPF"),
        ({"memory": False}, "memfd_noexec"),
        ({"namespaces": ALL - {"user"}}, "user.max_user_namespaces"),
        *(
            ({"namespaces": ALL - {kind}}, f"no {kind} namespaces (CONFIG_")
            for kind in sorted(ALL)
        ),
    ],
    ids=str,
)  # fmt: skip
def test_each_thing_is_missed_by_name(changes: dict[str, object], words: str) -> None:
    found = missing(TIGHTEST, kernel(**changes))
    assert len(found) == 1
    assert words in found[0]


def test_all_that_is_missing_is_said_at_once() -> None:
    nothing = kernel(landlock=0, filters=False, devices=False, namespaces=frozenset(), memory=False)
    assert len(missing(TIGHTEST, nothing)) == 4 + len(ALL)


def test_code_that_an_agent_makes_may_lie_in_memory() -> None:
    jit = Profile({"system_calls": ["jit"]})
    assert missing(jit, kernel(memory=False)) == []


def test_whom_it_lists_is_no_matter_of_the_kernel() -> None:
    listed = Profile({"network": ["192.0.2.7:443", "agent:speech"]})
    assert missing(listed, kernel()) == []


def test_what_this_kernel_has_is_read() -> None:
    found = features.read()
    assert found.landlock >= 0
    assert {"mnt", "pid", "net"} <= found.namespaces
