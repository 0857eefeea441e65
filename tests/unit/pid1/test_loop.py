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
