"""The clock is set forward by what was signed, and never back."""

from __future__ import annotations

import time

import pytest

from ainit.child.server import VarlinkError
from ainit.net.__main__ import set_forward


def test_forward() -> None:
    steps: list[float] = []
    assert set_forward({"time": time.time() + 1e6}, steps.append) == {"set": True}
    assert steps == [pytest.approx(1e6, abs=1e5)]


def test_never_back() -> None:
    steps: list[float] = []
    assert set_forward({"time": 1.0}, steps.append) == {"set": False}
    assert steps == []


@pytest.mark.parametrize("wrong", [None, "5", True])
def test_what_is_no_time(wrong: object) -> None:
    with pytest.raises(VarlinkError, match="InvalidParameter"):
        set_forward({"time": wrong}, lambda _: None)
