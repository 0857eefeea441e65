"""System calls that would wait for ever."""

from __future__ import annotations

import os
import signal

import pytest

from ainit.linux.alarm import Alarm


def test_a_call_is_interrupted_again_and_again() -> None:
    """The first two signals find a handler that lets the read go on; the third ends it."""
    reader, writer = os.pipe()
    try:
        with Alarm(0.001):
            signals = iter((None, None, InterruptedError))

            def handle(number: int, frame: object) -> None:
                if (error := next(signals)) is not None:
                    raise error

            signal.signal(signal.SIGALRM, handle)
            with pytest.raises(InterruptedError):
                os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)


def test_nothing_is_left_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with Alarm(60.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
