"""The loop: who is called when, and that a fault ends it."""

from __future__ import annotations

import os

import pytest

from ainit.pid1 import loop
from ainit.pid1.loop import Loop


def readable() -> int:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    os.close(writer)
    return reader


def test_a_callback_that_raises_ends_the_turn() -> None:
    """Its caller executes PID 1 anew: nothing goes on with half a step done."""
    events, seen = Loop(), list[str]()
    descriptor = readable()

    def broken(_: int) -> None:
        raise RuntimeError("boom")

    events.add(descriptor, loop.READ, broken)
    with pytest.raises(RuntimeError, match="boom"):
        events.turn()
    events.remove(descriptor)
    events.add(descriptor, loop.READ, lambda _: seen.append("again"))
    events.turn()
    assert seen == ["again"]
    events.remove(descriptor)
    os.close(descriptor)


def test_a_hook_that_raises_ends_the_turn() -> None:
    events = Loop()

    def broken(now: float) -> float:
        raise RuntimeError("boom")

    events.hook(broken)
    with pytest.raises(RuntimeError, match="boom"):
        events.turn()


def test_the_nearest_deadline_ends_the_wait() -> None:
    events, calls = Loop(), list[str]()

    def soon(now: float) -> float:
        calls.append("soon")
        return now + 0.01

    events.hook(lambda now: now + 3600)
    events.hook(soon)
    events.hook(lambda now: 0.0)
    events.turn()
    events.turn()
    assert calls == ["soon", "soon"]


def test_a_descriptor_that_was_removed_is_forgotten() -> None:
    events, seen = Loop(), list[str]()
    first, second = readable(), readable()

    def remove_other(own: int, other: int) -> None:
        seen.append("called")
        events.remove(other)
        events.remove(own)

    events.add(first, loop.READ, lambda _: remove_other(first, second))
    events.add(second, loop.READ, lambda _: remove_other(second, first))
    events.turn()
    events.remove(first)
    os.close(first)
    os.close(second)
    assert seen == ["called"]


def test_a_fault_is_described_with_its_place() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        os.stat("/nonexistent")
    text = loop.describe(caught.value)
    assert text.startswith("FileNotFoundError: [Errno 2]")
    assert " at test_loop.py:" in text
    assert text.endswith(" in test_a_fault_is_described_with_its_place")


def test_who_waits_for_an_answer_waits_for_one_piece_of_work() -> None:
    """After a hook or a callback the urgent one is next, not after all of them."""
    events, seen = Loop(), list[str]()
    asking, asked = os.pipe()
    work = [readable() for _ in range(3)]

    def busy(name: str) -> float:
        seen.append(name)
        os.write(asked, b"x")
        return 0.0

    def answer(_: int) -> None:
        os.read(asking, 1)
        seen.append("answer")

    events.hook(lambda _: busy("hook"))
    events.hook(lambda _: busy("hook"))
    events.add(asking, loop.READ, answer, urgent=True)

    def do(_: int) -> None:
        busy("work")

    for descriptor in work:
        events.add(descriptor, loop.READ, do)
    events.turn()
    assert seen[:4] == ["hook", "answer"] * 2
    assert seen[4:] == ["work", "answer"] * 3
    for descriptor in (*work, asking):
        events.remove(descriptor)
        os.close(descriptor)
    os.close(asked)


def test_the_urgent_do_not_keep_the_rest_from_its_work() -> None:
    events, seen = Loop(), list[str]()
    flood, work = readable(), readable()
    events.add(flood, loop.READ, lambda _: seen.append("urgent"), urgent=True)
    events.add(work, loop.READ, lambda _: seen.append("work"))
    for _ in range(5):
        events.turn()
    assert seen.count("work") == 5
    assert seen.count("urgent") <= 2 * 5


def test_a_hook_looks_again_at_what_an_urgent_one_asked_for() -> None:
    """Its deadline came before the call: the turn does not wait for ever."""
    events, wanted, done = Loop(), list[str](), list[str]()
    asking, asked = os.pipe()

    def first(now: float) -> float:
        done.extend(wanted)
        return now + 3600

    def call(_: int) -> None:
        os.read(asking, 1)
        wanted.append("start")

    events.hook(first)
    events.add(asking, loop.READ, call, urgent=True)
    os.write(asked, b"x")
    events.turn()
    events.hook(lambda now: now)  # the second turn waits for nothing
    events.turn()
    assert done == ["start"]


def test_the_urgent_end_the_wait_and_can_be_changed_and_removed() -> None:
    events, seen = Loop(), list[str]()
    asking = readable()
    events.add(asking, 0, lambda _: seen.append("gone"), urgent=True)
    events.hook(lambda now: now + 3600)
    events.modify(asking, loop.READ)
    events.turn()
    assert seen
    events.remove(asking)
    seen.clear()
    events.hook(lambda now: now)
    events.turn()
    assert seen == []
    os.close(asking)
