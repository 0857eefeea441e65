"""The loop outlives its callbacks."""

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


def test_a_callback_that_raises_is_counted_and_others_run() -> None:
    events, seen = Loop(), list[str]()
    first, second = readable(), readable()

    def broken(_: int) -> None:
        raise RuntimeError("boom")

    events.add(first, loop.READ, broken)
    events.add(second, loop.READ, lambda _: seen.append("second"))
    events.turn()
    assert (events.faults, seen) == (1, ["second"])
    for descriptor in (first, second):
        events.remove(descriptor)
        os.close(descriptor)


def test_a_hook_that_raises_is_tried_again_soon() -> None:
    events, calls = Loop(), list[float]()

    def broken(now: float) -> float:
        calls.append(now)
        raise RuntimeError("boom")

    events.hook(broken)
    events.turn()
    events.turn()
    assert (len(calls), events.faults) == (2, 2)


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
    assert events.faults == 0


def test_a_fault_is_described_with_its_place() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        os.stat("/nonexistent")
    text = loop.describe(caught.value)
    assert text.startswith("FileNotFoundError: [Errno 2]")
    assert " at test_loop.py:" in text
    assert text.endswith(" in test_a_fault_is_described_with_its_place")
