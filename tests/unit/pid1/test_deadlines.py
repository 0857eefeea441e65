"""Deadlines by name."""

from __future__ import annotations

from ainit.pid1.deadlines import Deadlines


def test_the_nearest_of_a_name_is_told_once() -> None:
    deadlines = Deadlines()
    for name, due in (("a", 9.0), ("b", 5.0), ("a", 3.0), ("a", 7.0), ("c", 0.0)):
        deadlines.arm(name, due)
    assert deadlines.next == 3.0
    assert list(deadlines.passed(2.9)) == []
    assert list(deadlines.passed(5.0)) == ["a", "b"]
    assert list(deadlines.passed(99.0)) == []
    assert deadlines.next == 0.0


def test_one_that_was_told_may_be_armed_again_at_once() -> None:
    deadlines = Deadlines()
    deadlines.arm("a", 1.0)
    for name in deadlines.passed(2.0):
        deadlines.arm(name, 4.0)
    assert (deadlines.next, list(deadlines.passed(4.0))) == (4.0, ["a"])
