from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ainit.sched import watch as watch_module
from ainit.sched.watch import Watch

CLOCKS: list[Clock] = []


@pytest.fixture(autouse=True)
def let_threads_sleep() -> Iterator[None]:
    yield
    while CLOCKS:
        CLOCKS.pop().now += 1e6


class Clock:
    """Set by hand; once its test is over it is so late that the thread goes to sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        CLOCKS.append(self)

    def __call__(self) -> float:
        return self.now


def test_what_is_over_in_time_is_left_alone() -> None:
    clock, ended = Clock(), list[int]()
    watch = Watch(clock)
    watch.begin(0.5, lambda: ended.append(1))
    watch.look()
    assert watch.finish() is False
    clock.now += 10.0
    watch.look()
    assert ended == []


def test_what_takes_too_long_is_ended() -> None:
    clock, ended = Clock(), threading.Event()
    watch = Watch(clock)
    watch.begin(0.02, ended.set)
    clock.now += 0.02
    assert ended.wait(60), "nobody looked"
    assert watch.finish() is True


def test_it_wakes_again_for_the_next() -> None:
    clock = Clock()
    watch = Watch(clock)
    for _ in range(3):
        ended = threading.Event()
        watch.begin(0.02, ended.set)
        clock.now += 0.02
        assert ended.wait(60), "nobody looked"
        assert watch.finish() is True
        clock.now += 100.0  # the thread goes to sleep


def test_the_next_is_not_ended_for_the_one_before() -> None:
    clock, ended = Clock(), list[str]()
    watch = Watch(clock)
    watch.begin(0.5, lambda: ended.append("first"))
    watch.finish()
    clock.now += 0.4
    watch.begin(0.5, lambda: ended.append("second"))
    clock.now += 0.4
    watch.look()
    assert (ended, watch.finish()) == ([], False)


def test_it_does_not_sleep_over_what_it_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when that may take longer than it stays awake for."""
    monkeypatch.setattr(watch_module, "_AWAKE_S", 0.0)
    ended = threading.Event()
    watch = Watch()
    watch.begin(0.05, ended.set)
    assert ended.wait(60), "nobody looked"
