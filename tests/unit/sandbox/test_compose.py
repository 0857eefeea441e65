"""The order of a sandbox's steps, and what follows from a profile and a processor."""

from __future__ import annotations

from ainit.linux import namespaces, speculation
from ainit.policy.sandbox import Profile
from ainit.sandbox.compose import Sandbox, compose
from ainit.sandbox.facts import Facts
from ainit.sandbox.features import Features
from ainit.sandbox.operation import LANDLOCK, MEMORY, NO_NEW_PRIVILEGES, SECCOMP, SPECULATION

BOTH = frozenset({speculation.STORE_BYPASS, speculation.INDIRECT_BRANCH})


def made(profile: Profile, control: frozenset[int] = frozenset()) -> Sandbox:
    facts = Facts("notes", 61184, free=3, root="/run/ainit/root")
    return compose(
        profile, facts, Features(6, True, frozenset(), True, control, devices=True), b"12345678"
    )


def mechanisms(profile: Profile, control: frozenset[int] = frozenset()) -> list[str]:
    found = made(profile, control)
    return [each.mechanism for each in (*found.first, *found.last)]


def test_the_filter_is_last_and_privileges_go_before_landlock() -> None:
    found = mechanisms(Profile({}))
    assert found[-1] == SECCOMP
    assert found[-4:] == [NO_NEW_PRIVILEGES, "user", LANDLOCK, SECCOMP]
    assert made(Profile({})).namespaces == namespaces.NEW_PID


def test_a_capability_means_the_machine_s_own_users() -> None:
    assert "user" not in mechanisms(Profile({}, capabilities=["CAP_IPC_LOCK"]))


def test_branches_always_and_stores_for_code_that_it_makes() -> None:
    jit = Profile({"system_calls": ["jit"]})
    assert mechanisms(Profile({}), BOTH).count(SPECULATION) == 1
    assert mechanisms(jit, BOTH).count(SPECULATION) == 2
    assert mechanisms(jit, frozenset()).count(SPECULATION) == 0
    assert MEMORY in mechanisms(Profile({}))
    assert MEMORY not in mechanisms(jit)


def test_it_says_what_it_does() -> None:
    words = made(Profile({})).describe()
    assert words[0] == "its processes are the only ones"
    assert words[-1] == "system calls are filtered"
    assert len(words) == len(set(words))
