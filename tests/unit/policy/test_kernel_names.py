"""The names and numbers are this kernel's."""

from __future__ import annotations

import resource
import signal

from ainit.policy.kernel_names import BYTE_LIMITS, CAPABILITIES, LIMITS, SIGNALS


def test_signals_have_their_numbers() -> None:
    assert len(SIGNALS) == 31
    known = {name: getattr(signal, f"SIG{name}", None) for name in SIGNALS}
    assert {name: number for name, number in known.items() if number} == {
        name: number for name, number in SIGNALS.items() if known[name]
    }


def test_capabilities_have_their_places() -> None:
    assert (len(CAPABILITIES), len(set(CAPABILITIES))) == (41, 41)
    places = {"CAP_CHOWN": 0, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SETFCAP": 31}
    places |= {"CAP_AUDIT_READ": 37, "CAP_CHECKPOINT_RESTORE": 40}
    assert {name: CAPABILITIES.index(name) for name in places} == places


def test_limits_have_their_numbers() -> None:
    known = {name: getattr(resource, f"RLIMIT_{name.upper()}", None) for name in LIMITS}
    assert {name: number for name, number in known.items() if number is not None} == {
        name: number for number, name in enumerate(LIMITS) if known[name] is not None
    }
    assert set(BYTE_LIMITS) < set(LIMITS)
