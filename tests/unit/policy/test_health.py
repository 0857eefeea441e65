"""What keeps a machine from being healthy."""

from __future__ import annotations

import pytest

from ainit.policy import health
from ainit.policy import state as life
from ainit.policy.state import State
from tests.support.units import make_unit


def found(state: str, desired: str = life.UP, reason: str = "", **fields: object) -> list[str]:
    """The findings of a machine of one unit."""
    one = State("u")
    one.state, one.desired, one.reason = state, desired, reason
    return health.findings([make_unit("u", **fields)], {"u": one})


@pytest.mark.parametrize("state", [life.READY, life.EXITED])
def test_what_is_up_is_no_finding(state: str) -> None:
    assert found(state) == []


@pytest.mark.parametrize("state", [life.INACTIVE, life.STARTING, life.BACKOFF, life.FAILED])
def test_what_is_wanted_and_not_up_is_one(state: str) -> None:
    assert found(state) == [f"u is {state}"]
    assert found(state, reason="no room") == [f"u is {state}: no room"]
    assert found(state, essential=False) == []


def test_what_the_boot_starts_is_wanted_even_before_that() -> None:
    assert found(life.INACTIVE, life.DOWN) == ["u is inactive"]
    assert found(life.INACTIVE, life.DOWN, autostart=False) == []
    assert found(life.INACTIVE, life.UP, autostart=False) == ["u is inactive"]


def test_what_waits_for_its_trigger_is_as_it_should_be() -> None:
    for state in (life.INACTIVE, life.WAITING):
        assert found(state, life.DOWN, timer_boot=5.0) == []
        assert found(state, life.UP, timer_boot=5.0) == []
    assert found(life.FAILED, life.DOWN, timer_boot=5.0) == []
    assert found(life.FAILED, life.UP, timer_boot=5.0) == ["u is failed"]


def test_every_unit_is_looked_at() -> None:
    units = [make_unit("a", essential=False), make_unit("b"), make_unit("c")]
    states = {name: State(name) for name in "abc"}
    assert health.findings(units, states) == ["b is inactive", "c is inactive"]


@pytest.mark.parametrize(
    ("state", "told"), [(life.READY, True), (life.STOPPING, True), (life.EXITED, False)]
)
def test_what_a_unit_says_of_itself_is_one_while_it_is_up(state: str, told: bool) -> None:
    one = State("gpu")
    one.state, one.desired, one.findings = state, life.UP, "GPU 1 is lost"
    found = health.findings([make_unit("gpu", essential=False)], {"gpu": one})
    assert found == (["gpu: GPU 1 is lost"] if told else [])
