"""What a service says of itself, however badly it says it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import notification


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"READY=1", {"READY": "1"}),
        (b"READY=1\n", {"READY": "1"}),
        (b"READY=1\nSTATUS=a=b c\n", {"READY": "1", "STATUS": "a=b c"}),
        (b"STATUS=", {"STATUS": ""}),
        (b"STATUS=one\nSTATUS=two", {"STATUS": "two"}),
        (b"STATUS=\xff\xc3\xa4", {"STATUS": "\ufffd\xe4"}),
        (b"", {}),
        (b"\n\n\n", {}),
        (b"READY", {}),
        (b"ready=1", {}),
        (b" READY=1", {}),
        (b"X_READY=1", {}),
        (b"X_AINOS_FINDINGS=GPU 1 is lost", {"X_AINOS_FINDINGS": "GPU 1 is lost"}),
        (b"=1", {}),
        (b"\xffREADY=1", {}),
        (b"\0", {}),
    ],
)
def test_parse(data: bytes, said: dict[str, str]) -> None:
    assert notification.parse(data) == said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1500000", 1.5), ("1", 1e-6), ("0", 0.0), (None, 0.0), ("", 0.0), ("-1", 0.0),
        ("1.5", 0.0), ("1e6", 0.0), ("\u0663", 0.0), (" 1", 0.0), ("9" * 20, 86400.0),
        ("9" * 21, 0.0), ("86400000000", 86400.0), ("86400000001", 86400.0),
    ],
)  # fmt: skip
def test_seconds(text: str | None, seconds: float) -> None:
    assert notification.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "pid"),
    [("42", 42), (None, 0), ("", 0), ("-1", 0), ("x", 0), ("\xb2", 0), ("\u0663", 0),
     ("4194304", 4194304), ("9999999999", 9999999999), ("10000000000", 0)],
)  # fmt: skip
def test_pid(text: str | None, pid: int) -> None:
    assert notification.pid(text) == pid


@pytest.mark.parametrize(
    ("text", "name"),
    [("sock", "sock"), ("a", "a"), ("a b", "a b"), ("", "stored"), ("a:b", "stored"),
     ("\xe4", "stored"), ("a\nb", "stored"), ("x" * 255, "x" * 255), ("x" * 256, "stored")],
)  # fmt: skip
def test_name(text: str, name: str) -> None:
    assert notification.name(text) == name


def test_a_status_fits_into_a_table() -> None:
    assert notification.status("a\tb\x1b[2J") == "a b [2J"
    assert len(notification.status("x" * 1000)) == 256


@given(st.binary(max_size=4096))
def test_nothing_that_is_said_disturbs(data: bytes) -> None:
    said = notification.parse(data)
    assert said.keys() <= notification.KNOWN
    for value in said.values():
        assert 0 <= notification.seconds(value) <= 86400
        assert notification.pid(value) >= 0
        assert notification.status(value).isprintable()
        assert ":" not in notification.name(value)


def test_every_variable_that_means_something_is_known() -> None:
    names = [
        *("READY", "STATUS", "RELOADING", "STOPPING", "WATCHDOG", "WATCHDOG_USEC", "ERRNO"),
        *("EXTEND_TIMEOUT_USEC", "MAINPID", "FDSTORE", "FDSTOREREMOVE", "FDNAME", "FDPOLL"),
        "BARRIER",
    ]
    said = "\n".join(f"{name}=1" for name in names)
    assert notification.parse(said.encode()) == dict.fromkeys(names, "1")
