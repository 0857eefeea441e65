"""The clock's watch. The machine's clock is not set here: the kernel's word for that is faked."""

from __future__ import annotations

import errno
import os
from contextlib import closing

import pytest

from ainit.linux.timerfd import ClockWatch
from ainit.pid1 import loop


def test_a_clock_that_nobody_sets_is_quiet() -> None:
    with closing(ClockWatch()) as clock:
        assert not clock.was_set()
        assert not os.get_inheritable(clock.fileno())


def test_the_loop_can_wait_for_it() -> None:
    events, seen = loop.Loop(), list[int]()
    with closing(ClockWatch()) as clock:
        events.add(clock.fileno(), loop.READ, seen.append)
        events.hook(lambda now: now + 0.01)
        events.turn()
        events.remove(clock.fileno())
    assert seen == []


def test_a_cancelled_read_says_that_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(descriptor: int, size: int) -> bytes:
        raise OSError(errno.ECANCELED, "cancelled")

    with closing(ClockWatch()) as clock:
        with monkeypatch.context() as patch:
            patch.setattr(os, "read", cancelled)
            assert clock.was_set()
        assert not clock.was_set()


def test_any_other_error_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, size: int) -> bytes:
        raise OSError(errno.EIO, "broken")

    with closing(ClockWatch()) as clock, monkeypatch.context() as patch:
        patch.setattr(os, "read", broken)
        with pytest.raises(OSError, match="broken"):
            clock.was_set()


def test_it_closes_its_descriptor() -> None:
    clock = ClockWatch()
    descriptor = clock.fileno()
    clock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
