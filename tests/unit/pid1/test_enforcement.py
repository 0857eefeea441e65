"""What PID 1 tells the kernel about agents: all of it before they run, none of it after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.pid1.enforcement import IN_FORCE, Enforcement
from ainit.policy import enforcement
from ainit.policy.enforcement import ADMITTED, AGENTS, HOOKS, SUPERBLOCKS
from tests.support.enforcement import MapKeeper
from tests.support.notebook import Notebook

DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


class Bench:
    """PID 1's side over a kernel of ours; groups are plain directories."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kernel = MapKeeper()
        self.journal = Notebook()
        self.enforcement = Enforcement(self.journal, self.kernel, "/names")

    def taken_over(self, count: int | None = None) -> Enforcement:
        return Enforcement(self.journal.reopened(count), self.kernel, "/names")

    def group(self, name: str) -> int:
        """The identity of a group that is made when it is not there."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path.stat().st_ino

    def admit(
        self, name: str, group: str, *digests: str, directories: tuple[str, ...] = (),
        by: Enforcement | None = None,
    ) -> int:  # fmt: skip
        """Admit and return the group's identity."""
        identity = self.group(group)
        descriptor = os.open(self.directory / group, os.O_RDONLY)
        try:
            (by or self.enforcement).admit(name, descriptor, digests, directories)
        finally:
            os.close(descriptor)
        return identity

    def agents(self) -> dict[int, str]:
        entries = self.kernel.entries(AGENTS).items()
        return {int.from_bytes(key, "little"): enforcement.agent_of(v)[0] for key, v in entries}

    def admitted(self) -> set[bytes]:
        return set(self.kernel.entries(ADMITTED))

    def devices(self) -> set[bytes]:
        return set(self.kernel.entries(SUPERBLOCKS))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.kernel.close()


@pytest.fixture
def held(bench: Bench) -> Bench:
    assert bench.enforcement.hold() == ""
    return bench


@pytest.mark.parametrize("name", [SUPERBLOCKS.name, AGENTS.name, ADMITTED.name, *HOOKS])
def test_it_is_in_force_when_everything_is_held(bench: Bench, name: str) -> None:
    bench.kernel.lacks = {name}
    assert name in bench.enforcement.state
    assert name in bench.enforcement.hold()
    bench.kernel.lacks = set()
    assert bench.enforcement.state == IN_FORCE


def test_what_is_held_needs_no_name_any_more(held: Bench) -> None:
    """Neither here nor for a PID 1 that takes over."""
    held.kernel.lacks = set(held.kernel.numbers)
    assert held.enforcement.state == IN_FORCE
    assert held.taken_over().state == IN_FORCE
    assert set(held.journal.kept) == set(held.kernel.numbers.values())


def test_an_agent_is_known_by_its_group_with_its_models(held: Bench) -> None:
    identity = held.admit("speech", "a", DIGEST, OTHER)
    assert held.agents() == {identity: "speech"}
    assert held.admitted() == {
        enforcement.admission(identity, digest) for digest in (DIGEST, OTHER)
    }


def test_file_systems_made_for_an_agent_are_open_to_agents(held: Bench) -> None:
    held.admit("speech", "a", directories=("/proc", "/proc", "/"))
    expected = {enforcement.superblock(os.stat(path).st_dev) for path in ("/proc", "/")}
    assert held.devices() == expected


def test_what_it_had_before_is_taken_away(held: Bench) -> None:
    held.admit("speech", "a", DIGEST, directories=("/proc",))
    theirs = held.admit("other", "o", DIGEST)
    identity = held.admit("speech", "b", OTHER, directories=("/",))
    assert held.agents() == {identity: "speech", theirs: "other"}
    assert held.admitted() == {
        enforcement.admission(identity, OTHER),
        enforcement.admission(theirs, DIGEST),
    }
    assert held.devices() == {enforcement.superblock(os.stat("/").st_dev)}


def test_what_another_still_has_is_left(held: Bench) -> None:
    held.admit("speech", "a", DIGEST, directories=("/proc",))
    held.admit("other", "o", DIGEST, directories=("/proc",))
    held.enforcement.forget("speech")
    assert held.devices() == {enforcement.superblock(os.stat("/proc").st_dev)}
    held.enforcement.forget("other")
    assert (held.agents(), held.admitted(), held.devices()) == ({}, set(), set())


def test_denials_are_counted_until_it_is_down(held: Bench) -> None:
    identity = held.admit("speech", "a", DIGEST)
    assert held.enforcement.denied("speech") == 0
    held.kernel.deny(identity, 3)
    assert held.enforcement.denied("speech") == 3
    held.admit("speech", "a", DIGEST)  # started again in the same group
    assert held.enforcement.forget("speech") == 3
    assert held.enforcement.forget("speech") == held.enforcement.denied("speech") == 0
    assert held.enforcement.denied("nobody") == 0


def test_whoever_takes_over_takes_all_of_it_away(held: Bench) -> None:
    """At whatever record the former PID 1 failed: nothing is left of an agent that is down."""
    held.admit("speech", "a", DIGEST, directories=("/proc",))
    held.admit("speech", "b", OTHER, directories=("/",))
    entries = {number: dict(content) for number, content in held.kernel.maps.items()}
    for count in range(len(held.kernel.numbers) + 1, len(held.journal.records) + 1):
        held.kernel.maps = {number: dict(content) for number, content in entries.items()}
        heir = held.taken_over(count)
        held.admit("speech", "c", OTHER, by=heir)
        heir.forget("speech")
        later = held.taken_over()  # which knows all that was ever written
        later.forget("speech")
        assert (held.agents(), held.admitted(), held.devices()) == ({}, set(), set())


def test_nothing_is_in_the_kernel_that_is_not_in_the_journal(bench: Bench) -> None:
    """A record that cannot be written stops the rest."""
    bench.enforcement.hold()
    written = len(bench.journal.records)

    def refuse() -> None:
        raise OSError("no room")

    bench.journal._hook = refuse
    with pytest.raises(OSError, match="no room"):
        bench.admit("speech", "a", DIGEST)
    assert len(bench.journal.records) == written
    assert (bench.agents(), bench.admitted()) == ({}, set())
