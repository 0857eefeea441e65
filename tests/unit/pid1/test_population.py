"""The last process of a group, on real groups and PID 1's own loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux.cgroup import Tree
from ainit.linux.inotify import IN_IGNORED, IN_Q_OVERFLOW, OVERFLOW_WD
from ainit.pid1.loop import Loop
from ainit.pid1.population import Population
from tests.support.groups import member, real_groups
from tests.support.wait import wait_for


class World:
    """A population and what it told."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.loop = Loop()
        self.loop.hook(lambda now: now + 0.01)
        self.emptied: list[str] = []
        self.population = Population(self.loop, tree, self.emptied.append)

    def until_emptied(self, *names: str) -> None:
        def told() -> bool:
            self.loop.turn()
            return sorted(self.emptied) == sorted(names)

        wait_for(told, f"{names} to be emptied")


@pytest.fixture
def world() -> Iterator[World]:
    with real_groups() as tree:
        made = World(tree)
        yield made
        made.population._inotify.close()


def test_each_group_is_told_once(world: World) -> None:
    with member(world.tree, "a") as end_a, member(world.tree, "b") as end_b:
        assert world.population.watch("a")
        assert world.population.watch("a")
        assert world.population.watch("b")
        end_a()
        world.until_emptied("a")
        end_b()
        world.until_emptied("a", "b")


def test_what_else_may_end(world: World) -> None:
    def moves(name: str) -> bool:
        return "frozen 0" in Path(world.tree.events_path(name)).read_text()

    still: list[str] = []
    moving = Population(world.loop, world.tree, still.append, lasts=moves)
    with member(world.tree, "a"):
        assert moving.watch("a")
        world.tree.freeze("a")

        def told() -> bool:
            world.loop.turn()
            return still == ["a"]

        wait_for(told, "it to stand still")
        assert not moving.watch("a")
    moving._inotify.close()


def test_another_process_keeps_the_group(world: World) -> None:
    with member(world.tree, "a") as end, member(world.tree, "a/below"):
        assert world.population.watch("a")
        end()
        world.tree.freeze("a")  # an event that is none of the last process
        world.tree.thaw("a")
        for _ in range(20):
            world.loop.turn()
        assert world.emptied == []
    world.until_emptied("a")


def test_an_empty_group_is_told_at_once(world: World) -> None:
    with member(world.tree, "a"):
        pass
    wait_for(lambda: not world.tree.populated("a"), "the group to be empty")
    assert not world.population.watch("a")
    assert not world.population.watch("never-made")
    assert world.population._watches == {}


def test_a_group_that_is_no_longer_watched_is_silent(world: World) -> None:
    with member(world.tree, "a"), member(world.tree, "b"):
        world.population.watch("a")
        world.population.watch("b")
        world.population.unwatch("a")
        world.population.unwatch("a")
        world.tree.kill("a")
        wait_for(lambda: not world.tree.populated("a"), "the group to be empty")
    world.until_emptied("b")


def test_a_group_that_was_removed_is_empty(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of today say nothing; one that does so is understood."""
    with member(world.tree, "a"):
        world.population.watch("a")
    wait_for(lambda: world.tree.remove("a"), "the group to be removed")
    ignored = [(world.population._watches["a"], IN_IGNORED, "")]
    with monkeypatch.context() as patch:
        patch.setattr(type(world.population._inotify), "read", lambda self: ignored)
        world.population._on_events()
    assert world.emptied == ["a"]
    assert world.population._names == {}


def test_lost_events_are_made_up_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with member(world.tree, "a"), member(world.tree, "b"):
        world.population.watch("a")
        world.population.watch("b")
        world.tree.kill("a")
        wait_for(lambda: not world.tree.populated("a"), "the group to be empty")
        overflow = [(OVERFLOW_WD, IN_Q_OVERFLOW, "")]
        with monkeypatch.context() as patch:
            patch.setattr(type(world.population._inotify), "read", lambda self: overflow)
            world.population._on_events()
        assert world.emptied == ["a"]
