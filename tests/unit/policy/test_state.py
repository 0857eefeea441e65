"""The state of a unit, its JSON form, and its next deadline."""

from __future__ import annotations

import pytest

from ainit.policy import state as life
from ainit.policy.state import Event, State
from ainit.wire.codec import dumps, loads


def test_a_unit_that_never_ran_has_nothing_to_say() -> None:
    assert State("a").to_record() == {"name": "a"}


def test_the_json_form_is_all_of_it() -> None:
    state = State("a")
    for number, slot in enumerate(State.__slots__):
        match getattr(state, slot):
            case bool():
                setattr(state, slot, True)
            case str():
                setattr(state, slot, f"text {number}")
            case int() | float() as value:
                setattr(state, slot, type(value)(number))
    state.gpu, state.todo = {"uuid": "MIG-0"}, [life.KILL]
    record = loads(dumps(state.to_record()))
    assert isinstance(record, dict)
    assert set(record) == set(State.__slots__)
    again = State.from_record(record)
    assert {s: getattr(again, s) for s in State.__slots__} == {
        s: getattr(state, s) for s in State.__slots__
    }


def test_the_words_are_those_that_other_versions_wrote() -> None:
    """A PID 1 takes over from one of another version, and clients know the states by these."""
    states = (*life.SETTLED, *life.RUNNING, life.WAITING, life.ALLOCATING, life.DRAINING)
    assert {*states, life.BACKOFF} == {
        "inactive", "waiting", "allocating", "starting", "ready", "stopping", "draining", "backoff",
        "exited", "failed", "refused", "quarantined",
    }  # fmt: skip
    actions = (life.ALLOCATE, life.SPAWN, life.TERMINATE, life.KILL, life.RELEASE)
    more = (life.FREEZE, life.THAW, life.EVIDENCE)
    assert {*actions, *more, life.SIGNAL_RELOAD, life.EXHAUST, life.UP, life.DOWN} == {
        "allocate", "spawn", "terminate", "kill", "release", "signal-reload", "exhaust", "up",
        "down", "freeze", "thaw", "evidence",
    }  # fmt: skip


def test_what_another_version_says_besides_is_left_out() -> None:
    state = State.from_record({"name": "a", "state": "ready", "colour": "red", "__class__": 3})
    assert state.to_record() == {"name": "a", "state": "ready"}


def test_a_record_without_a_name_is_none() -> None:
    with pytest.raises(KeyError, match="name"):
        State.from_record({"state": "ready"})


@pytest.mark.parametrize(
    ("deadline", "watchdog_at", "expected"),
    [(0.0, 0.0, 0.0), (5.0, 0.0, 5.0), (0.0, 5.0, 5.0), (4.0, 5.0, 4.0), (6.0, 5.0, 5.0)],
)
def test_the_next_deadline_is_the_nearer_one(
    deadline: float, watchdog_at: float, expected: float
) -> None:
    state = State("a")
    state.deadline, state.watchdog_at = deadline, watchdog_at
    assert state.next_deadline == expected


@pytest.mark.parametrize(
    ("name", "alive"),
    [
        (life.INACTIVE, False), (life.WAITING, False), (life.ALLOCATING, False),
        (life.STARTING, True), (life.READY, True), (life.STOPPING, True), (life.DRAINING, True),
        (life.BACKOFF, False), (life.EXITED, False), (life.FAILED, False), (life.REFUSED, False),
    ],
)  # fmt: skip
def test_what_is_alive(name: str, alive: bool) -> None:
    state = State("a")
    state.state = name
    assert state.is_alive is alive


@pytest.mark.parametrize("was", [life.STARTING, life.READY, life.STOPPING])
def test_what_is_frozen_is_alive(was: str) -> None:
    state = State("a")
    state.state, state.was = life.QUARANTINED, was
    assert (state.is_alive, state.is_stopped, state.is_down) == (True, False, False)


@pytest.mark.parametrize("was", [life.WAITING, life.INACTIVE, life.EXITED, life.FAILED])
def test_what_is_kept_down_is_not(was: str) -> None:
    state = State("a")
    state.state, state.was = life.QUARANTINED, was
    assert (state.is_alive, state.is_stopped, state.is_down) == (False, True, True)


def test_an_event_carries_what_it_is_given() -> None:
    given = {
        "reason": "x", "pid": 1, "started": 2, "status": 3, "gpu": {}, "left": True, "main": 4,
        "seconds": 5.0,
    }  # fmt: skip
    event = Event(life.EXIT, **given)  # type: ignore[arg-type]
    assert {key: getattr(event, key) for key in given} == given
    bare = Event(life.EXIT)
    assert (bare.kind, bare.reason, bare.pid, bare.started, bare.status) == ("exit", "", 0, 0, 0)
    assert (bare.gpu, bare.left, bare.main, bare.seconds) == (None, False, 0, 0.0)
