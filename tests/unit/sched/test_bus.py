"""What the device service says of the bus."""

from __future__ import annotations

import pytest

from ainit.sched import bus


def test_addresses_are_read_in_order() -> None:
    data = b'{"gpus": ["0000:a1:00.0", "0000:41:00.0"], "switches": []}'
    assert bus.parse(data) == ("0000:41:00.0", "0000:a1:00.0")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"gpus": [7]}', b'{"gpus": "x"}', b"\xff"])
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        bus.parse(data)


def test_what_came_and_what_went() -> None:
    assert bus.changes(("a", "b"), ("b", "c")) == (("c",), ("a",))
    assert bus.changes((), ()) == ((), ())


@pytest.mark.parametrize(
    ("given", "short"),
    [
        ("00000000:41:00.0", "0000:41:00.0"),
        ("0000:41:00.0", "0000:41:00.0"),
        ("00010000:A1:00.0", "10000:a1:00.0"),
        ("", ""),
        ("fake", "fake"),
    ],
)
def test_nvmls_addresses_are_written_as_the_kernels(given: str, short: str) -> None:
    assert bus.short(given) == short
