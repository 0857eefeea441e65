"""The names and numbers are this kernel's."""

from __future__ import annotations

import resource
import signal
import subprocess

from ainit.policy.kernel_names import BYTE_LIMITS, CAPABILITIES, LIMITS, SIGNALS


def test_signals_have_their_numbers() -> None:
    known = {one.name.removeprefix("SIG"): one.value for one in signal.Signals if one.value < 32}
    assert known == SIGNALS


def test_capabilities_have_their_places() -> None:
    """Those that setpriv(1) knows; a newer kernel may have more."""
    run = subprocess.run(["setpriv", "--list-caps"], capture_output=True, text=True, check=True)
    known = [f"CAP_{name.upper()}" for name in run.stdout.split()]
    assert known[: len(CAPABILITIES)] == list(CAPABILITIES)


def test_limits_have_their_numbers() -> None:
    names = {name: getattr(resource, f"RLIMIT_{name.upper()}", None) for name in LIMITS}
    assert names == {
        **{name: number for number, name in enumerate(LIMITS)},
        "locks": None,  # Python has no name for it
    }


def test_limits_of_bytes() -> None:
    """Those that getrlimit(2) gives in bytes."""
    assert set(BYTE_LIMITS) == {
        "fsize", "data", "stack", "core", "rss", "memlock", "as", "msgqueue",
    }  # fmt: skip
    assert LIMITS.index("locks") == 10
