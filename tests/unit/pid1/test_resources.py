"""Memory pressure that leads to something, and accounts in pages."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ainit.linux import pressure as stalls
from ainit.linux.cgroup import Tree
from ainit.pid1.loop import Loop
from ainit.pid1.resources import MACHINE, Accounts, Pressure
from ainit.policy import plan, resources
from ainit.policy.state import FAILED, READY, State
from ainit.wire.protocol import Call, VarlinkError
from tests.support import descriptors
from tests.support.groups import FakeGroups, member, real_groups
from tests.support.idl import Interface
from tests.support.units import make_unit
from tests.support.wait import wait_for

BUSY = ("/usr/bin/env", "taskset", "-c", "0", "/bin/sh", "-c", "while :; do :; done")


class Pressed(Tree):
    """A tree whose units wait for the processor: a pressure that a test can make."""

    def pressure_path(self, name: str) -> str:
        return f"{self.path(name)}/cpu.pressure"


class World:
    """Pressure on real groups, and what it led to."""

    def __init__(self, root: str, machine_path: str = stalls.MACHINE) -> None:
        self.tree = Pressed(root)
        self.loop = Loop()
        self.loop.hook(lambda now: now + 0.01)
        self.acted: list[tuple[str, str, str]] = []
        self.pressure = Pressure(
            self.loop, self.tree, lambda *what: self.acted.append(what), machine_path=machine_path
        )

    def until(self, count: int) -> None:
        def enough() -> bool:
            self.loop.turn()
            return len(self.acted) >= count

        wait_for(enough, f"{count} actions")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(resources, "pressure_trigger", lambda percent: "some 20000 2000000")
    with real_groups() as tree:
        made = World(tree.path("x").removesuffix("/x"))
        yield made
        for name in list(made.pressure._triggers):
            made.pressure.unwatch(name)


def test_a_unit_under_pressure_is_acted_upon_until_it_stops(world: World) -> None:
    unit = make_unit("a", memory_pressure=20.0, memory_pressure_action=plan.RESTART)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(member(world.tree, "a", *BUSY))
        before = len(descriptors.at_first())
        world.pressure.watch(unit)
        world.pressure.watch(unit)
        assert len(descriptors.now()) == before + 1
        world.until(2)
        name, action, words = world.acted[0]
        assert (name, action) == ("a", "restart")
        assert words.startswith(
            "memory pressure: tasks waited for memory for over 20 % of 10 s (av"
        )
        world.pressure.unwatch("a")
        world.pressure.unwatch("a")
        assert len(descriptors.now()) == before
    assert world.pressure.findings() == []


def test_a_unit_that_does_not_ask_costs_nothing(world: World) -> None:
    before = len(descriptors.at_first())
    world.pressure.watch(make_unit("a"))
    assert len(descriptors.now()) == before


def test_a_group_that_is_gone_is_let_go(world: World) -> None:
    os.mkdir(world.tree.path("a"))
    before = len(descriptors.at_first())
    world.pressure.watch(make_unit("a", memory_pressure=20.0))
    assert world.tree.remove("a")

    def closed() -> bool:
        world.loop.turn()
        return len(descriptors.now()) == before

    wait_for(closed, "the trigger to be closed")
    assert world.acted == []


def test_the_machine_is_watched_by_the_kernel_s_own_file() -> None:
    with real_groups() as tree:
        world = World(tree.path("x"))
        world.pressure.watch_machine()
        assert list(world.pressure._triggers) == [MACHINE]
        assert world.pressure.findings() == []
        world.pressure.unwatch(MACHINE)


def test_a_kernel_without_stall_information_is_a_finding(tmp_path: Path) -> None:
    world = World(str(tmp_path), str(tmp_path / "memory"))
    world.pressure.watch(make_unit("a", memory_pressure=20.0))
    world.pressure.watch_machine()
    first, second = world.pressure.findings()
    assert first.startswith("a: memory pressure is not watched: the kernel keeps no account of st")
    assert second.startswith("the machine: memory pressure is not watched: ")
    world.pressure.unwatch("a")
    assert world.pressure.findings() == [second]


def test_the_loop_is_told_which_event_to_wait_for(tmp_path: Path) -> None:
    assert stalls.PRESSED == select.EPOLLPRI
    assert stalls.GONE == select.EPOLLERR


# Accounts.


class Books:
    """Accounts of units on files, and a clock."""

    def __init__(self, groups: FakeGroups, count: int) -> None:
        self.groups = groups
        self.now = 100.0
        self.accounts = Accounts(groups.tree, lambda: self.now)
        self.states = {name: State(name) for name in (f"u{n:03}" for n in range(count))}
        for name in self.states:
            os.mkdir(groups.root / name)

    def ask(self, **parameters: object) -> dict[str, object]:
        call = Call({"method": "org.ainos.Control.Accounting", "parameters": parameters})
        reply = self.accounts.answer(self.states, call)
        assert Interface.named("org.ainos.Control").wrong_reply("Accounting", reply) == []
        return reply

    def names(self, **parameters: object) -> tuple[list[str], object]:
        reply = self.ask(**parameters)
        units = reply["units"]
        assert isinstance(units, list)
        return [unit["name"] for unit in units], reply["next"]


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGroups:
    return FakeGroups(tmp_path / "ainos", monkeypatch)


def test_an_account_says_whose_it_is_and_when_it_was_read(groups: FakeGroups) -> None:
    books = Books(groups, 1)
    books.states["u000"].state, books.states["u000"].restarts = READY, 3
    reply = books.ask()
    assert (reply["time"], reply["next"]) == (100.0, None)
    assert reply["units"] == [
        {
            "name": "u000",
            "state": "ready",
            "restarts": 3,
            "time": 100.0,
            **groups.tree.accounting("u000"),
        }
    ]


def test_a_thousand_units_come_in_pages(groups: FakeGroups) -> None:
    books = Books(groups, 250)
    seen: list[str] = []
    after: object = None
    for _ in range(3):
        names, after = books.names(after=after)
        assert len(names) <= 100
        seen += names
    assert seen == sorted(books.states)
    assert after is None


def test_pages_that_end_with_the_last_unit(groups: FakeGroups) -> None:
    books = Books(groups, 100)
    assert books.names()[1] is None
    assert books.names(after="u099") == ([], None)


def test_units_by_name(groups: FakeGroups) -> None:
    books = Books(groups, 3)
    assert books.names(names=["u002", "nobody", "u000"]) == (["u002", "u000"], None)


@pytest.mark.parametrize("names", [["a"] * 101, "a", [1], {"a": 1}])
def test_what_is_no_list_of_names_is_refused(groups: FakeGroups, names: object) -> None:
    with pytest.raises(VarlinkError) as caught:
        Books(groups, 1).ask(names=names)
    assert caught.value.parameters == {"parameter": "names"}


def test_who_asks_often_is_answered_from_memory(groups: FakeGroups) -> None:
    books = Books(groups, 1)
    first = books.ask()["units"]
    (groups.root / "u000/pids.current").write_text("9\n")
    books.now += 0.99
    assert books.ask()["units"] == first
    books.now += 0.01
    units = books.ask()["units"]
    assert isinstance(units, list)
    assert [(unit["pids"], unit["time"]) for unit in units] == [(9, 101.0)]


def test_one_account_is_kept_for_a_second(groups: FakeGroups) -> None:
    books = Books(groups, 1)
    assert books.accounts.of(books.states["u000"])[1]["pids"] == 4
    (groups.root / "u000/pids.current").write_text("9\n")
    books.now += 0.99
    assert books.accounts.of(books.states["u000"]) == (
        100.0,
        {**groups.tree.accounting("u000"), "pids": 4},
    )
    books.now += 0.01
    assert books.accounts.of(books.states["u000"]) == (101.0, groups.tree.accounting("u000"))


def test_an_account_of_what_was_before_is_not_told_of_what_is_now(groups: FakeGroups) -> None:
    books = Books(groups, 1)
    state = books.states["u000"]
    state.state, state.pid = READY, 7
    assert books.accounts.of(state)[1]["oom_kills"] == 0
    (groups.root / "u000/memory.events").write_text("oom_kill 2\n")
    state.state, state.pid = FAILED, 0
    assert books.accounts.of(state)[1]["oom_kills"] == 2
    (groups.root / "u000/memory.events").write_text("oom_kill 3\n")
    state.state, state.pid = READY, 8
    assert books.accounts.of(state)[1]["oom_kills"] == 3
    (groups.root / "u000/memory.events").write_text("oom_kill 4\n")
    state.pid = 9  # once more the same, with another process
    assert books.accounts.of(state)[1]["oom_kills"] == 4


def test_what_nobody_asks_for_is_forgotten(groups: FakeGroups) -> None:
    books = Books(groups, 100)
    books.ask()
    books.now += 1.0
    books.ask(names=["u000"])
    assert list(books.accounts._cache) == ["u000"]
