"""What is said to be wrong."""

from __future__ import annotations

from dataclasses import replace

from ainit.sched import health
from ainit.sched.condition import Condition
from ainit.sched.findings import findings, unclaimed
from ainit.sched.presence import Presence
from ainit.sched.readings import STALE_AFTER_S, Fabric, Shot
from tests.unit.sched.fake_health import GPU0, FakeHealth

READING = FakeHealth().read(GPU0)
WELL = health.look(Condition(GPU0), READING, 5.0)
FRESH = Shot(READING, 100.0)


def found(condition: Condition = WELL, shot: Shot | None = FRESH, now: float = 100.0) -> list[str]:
    shots = {} if shot is None else {GPU0: shot}
    return findings(Presence(), "", [condition], shots, now)


def test_a_healthy_gpu_is_none() -> None:
    assert found() == []


def test_an_operators_cordon_is_none_and_others_are() -> None:
    held = health.hold(WELL, "by an operator", 5.0)
    assert found(held) == []
    assert found(health.hear(held, 79, None, 6.0)) == ["GPU 0: Xid 79 (fallen off the bus)"]


def test_the_words_stay_the_same_while_it_is_the_same() -> None:
    lost = health.lose(WELL, "it does not answer any more", 5.0)
    assert found(lost, None) == found(lost, FRESH, 900.0) == ["GPU 0: it does not answer any more"]


def test_silence_and_the_fabric() -> None:
    assert found(now=100.0 + STALE_AFTER_S + 1) == ["GPU 0: it does not answer"]
    waiting = Shot(replace(READING, fabric=Fabric.NOT_STARTED), 100.0)
    assert found(shot=waiting) == ["GPU 0: its fabric is not set up yet"]


def test_what_is_missing_comes_first_with_the_drivers_reason() -> None:
    lost = health.lose(Condition("GPU-x"), "it does not answer any more", 5.0)
    missing = Presence(expected=2, found=0)
    assert findings(missing, "Driver Not Loaded", [lost], {}, 9.0) == [
        "0 of 2 GPUs are there: Driver Not Loaded",
        "GPU-x: it does not answer any more",
    ]


def test_gpus_of_the_bus_that_the_driver_does_not_have() -> None:
    assert unclaimed(["0000:01:00.0", "0000:41:00.0"], [WELL]) == [
        "0000:41:00.0 is on the bus, and the driver does not have it"
    ]
