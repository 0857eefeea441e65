"""A step is data: its calls arrive in a child's list as they were written."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ainit.linux import native
from ainit.sandbox.operation import Operation


class Recorder(native.Job):
    """A list that can be read."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        super().__init__("test")
        self.calls: list[tuple[int, tuple[int, ...], str, int]] = []

    def add(self, number: int, *arguments: int, what: str, flags: int = 0) -> None:
        self.calls.append((number, arguments, what, flags))

    def data(self, value: bytes) -> int:
        return 1000 + len(value)

    def longs(self, values: Sequence[int]) -> int:
        return 2000 + sum(values)


def test_calls_arrive_in_order_with_their_words() -> None:
    job = Recorder()
    step = Operation("m", "words", ((native.CHDIR, "/abc"), (native.WRITE, None, b"xy", 2)))
    step.add(job)
    assert step.describe() == "words"
    assert job.calls == [
        (native.CHDIR, (1004,), "words", 0),
        (native.WRITE, (0, 1002, 2), "words", native.FIRST_IS_RESULT),
    ]


def test_no_step_may_fail() -> None:
    job = Recorder()
    Operation("m", "w", ((native.CLOSE, 3), (native.IOCTL, None, 1, b""))).add(job)
    assert not [flags for *_, flags in job.calls if flags & native.MAY_FAIL]


def test_an_array_holds_numbers_and_addresses() -> None:
    job = Recorder()
    Operation("m", "w", ((native.SECCOMP, 1, 0, (7, b"abc")),)).add(job)
    assert job.calls[0][1] == (1, 0, 2000 + 7 + 1003)


def test_a_call_without_a_number_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        Operation("m", "w", (("chdir", "/"),)).add(Recorder())
