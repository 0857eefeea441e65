"""The wall clock's jumps."""

from __future__ import annotations

from ainit.pid1.clock import WallClock


def test_a_clock_that_goes_on_was_not_set() -> None:
    clock = WallClock(10.0, 1000.0)
    assert not clock.was_set(500.0, 1490.9)
    assert clock.was_set(500.0, 1491.0)
    assert clock.was_set(500.0, 1489.0)


def test_what_was_shown_is_remembered_as_stretches() -> None:
    clock = WallClock(0.0, 1000.0)
    clock.set(10.0, 5000.0)
    clock.set(20.0, 1005.0)
    assert [clock.shown(at) for at in (1000, 1001, 1010, 1011, 5000, 5010, 5011)] == [
        None, 1010.0, 1010.0, None, None, 5010.0, None,
    ]  # fmt: skip


def test_stretches_are_bounded_and_the_oldest_are_forgotten() -> None:
    clock = WallClock(0.0, 0.0)
    for number in range(1, 100):
        clock.set(float(number), number * 1000.0)
    shown = clock.to_record()["shown"]
    assert isinstance(shown, list)
    assert len(shown) == 8
    assert clock.shown(1) is None


def test_it_survives_its_record_and_ignores_another() -> None:
    clock, other = WallClock(0.0, 1000.0), WallClock(50.0, 9.0)
    clock.set(10.0, 5000.0)
    other.resume({"offset": 1})
    assert other.expected(50.0) == 9.0
    other.resume(clock.to_record())
    assert other.to_record() == clock.to_record()
    assert other.expected(11.0) == 5001.0
