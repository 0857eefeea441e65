"""Signals come through the pipe, also when the handler in C could not write."""

from __future__ import annotations

import _signal
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from ainit.pid1 import signals
from ainit.pid1.loop import Loop


@pytest.fixture
def told() -> Iterator[tuple[Loop, list[int]]]:
    """SIGUSR1 is watched; afterwards all is as before."""
    before = signal.getsignal(signal.SIGUSR1)
    wakeup = signal.set_wakeup_fd(-1)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    events, found = Loop(), list[int]()
    opened = set(events._callbacks)
    signals.watch(events, [signal.SIGUSR1], found.extend)
    yield events, found
    writer = signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGUSR1, before)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for descriptor in (*(set(events._callbacks) - opened), writer):
        if descriptor >= 0:
            os.close(descriptor)


def test_a_signal_is_told_once(told: tuple[Loop, list[int]]) -> None:
    events, found = told
    os.kill(os.getpid(), signal.SIGUSR1)
    events.turn()
    assert found == [signal.SIGUSR1]


def test_a_byte_that_could_not_be_written_is_written_again(told: tuple[Loop, list[int]]) -> None:
    """The kernel refuses the handler in C; the wait is interrupted all the same."""
    events, found = told
    writer = _signal.set_wakeup_fd(-1)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    events.turn()
    timer.join()
    _signal.set_wakeup_fd(writer)
    assert found == [signal.SIGUSR1]
