"""How a unit's processes end, and what follows: a delay, a hold, a new start, or rest."""

from __future__ import annotations

import pytest

from ainit.policy import ending, machine, plan
from ainit.policy import state as life
from ainit.policy.state import Event, State
from tests.support.units import make_unit
from tests.unit.policy.test_machine import FOR_GPU, FORKING, HELD_GPU, NOW, Case, L, state_of

DIED = Event(L.EXIT, pid=42, status=3, reason="exited with status 3")
LEFT = Event(L.EXIT, pid=42, status=0, reason="exited with status 0")
ONESHOT: dict[str, object] = {"type": plan.ONESHOT}
CASES = [
    Case(
        "dies",
        {},
        (L.READY, {"started": 7}),
        DIED,
        (
            L.BACKOFF,
            {
                "pid": 0,
                "started": 0,
                "status": 3,
                "failures": 1,
                "restarts": 1,
                "deadline": NOW + 1,
                "reason": "exited with status 3",
            },
        ),
        [],
    ),
    Case("another pid", {}, (L.READY, {}), Event(L.EXIT, pid=43), (L.READY, {"pid": 42}), []),
    Case(
        "not ready in time",
        {},
        (L.STARTING, {"killed": "not ready in 10 s"}),
        Event(L.EXIT, pid=42, status=-9, reason="killed by signal 9"),
        (L.BACKOFF, {"reason": "not ready in 10 s", "killed": ""}),
        [],
    ),
    Case(
        "exits well when killed",
        ONESHOT,
        (L.STARTING, {"killed": "not ready in 10 s"}),
        LEFT,
        (L.BACKOFF, {"reason": "not ready in 10 s"}),
        [],
    ),
    Case("holding a gpu", FOR_GPU, (L.READY, HELD_GPU), DIED, (L.BACKOFF, HELD_GPU), []),
    Case(
        "again",
        {},
        (L.READY, {"failures": 2, "ready_at": NOW}),
        DIED,
        (L.BACKOFF, {"failures": 3, "deadline": NOW + 4}),
        [],
    ),
    Case(
        "for the last time",
        FOR_GPU,
        (L.READY, {"failures": 3, "ready_at": NOW, **HELD_GPU}),
        DIED,
        (L.FAILED, {"gpu": None, "reason": "exited with status 3; held after 4 failures in a row"}),
        [L.RELEASE],
    ),
    *(
        Case(
            f"for the last time, then {way}",
            {"exhausted": way, **FOR_GPU},
            (L.READY, {"failures": 3, "ready_at": NOW, **HELD_GPU}),
            DIED,
            (L.FAILED, {"gpu": None}),
            [L.RELEASE, L.EXHAUST],
        )
        for way in (plan.REBOOT, plan.FALLBACK)
    ),
    Case(
        "after long",
        {},
        (L.READY, {"failures": 3, "ready_at": NOW - 16}),
        DIED,
        (L.BACKOFF, {"failures": 1}),
        [],
    ),
    Case(
        "not so long after",
        {},
        (L.READY, {"failures": 3, "ready_at": NOW - 15.9}),
        DIED,
        (L.FAILED, {"failures": 4}),
        [],
    ),
    Case(
        "long in starting is not long ready",
        {},
        (L.STARTING, {"failures": 3, "ready_at": 0.0}),
        DIED,
        (L.FAILED, {}),
        [],
    ),
    Case(
        "no limit",
        {"backoff_limit": 0},
        (L.READY, {"failures": 10**9, "ready_at": NOW}),
        DIED,
        (L.BACKOFF, {"deadline": NOW + 8}),
        [],
    ),
    Case("leaves", {}, (L.READY, {}), LEFT, (L.BACKOFF, {"failures": 1}), []),
    Case(
        "leaves, on-failure",
        {"restart": plan.ON_FAILURE},
        (L.READY, {}),
        LEFT,
        (L.EXITED, {"failures": 0, "desired": "up"}),
        [],
    ),
    Case(
        "leaves with a status that means success",
        {"restart": plan.ON_FAILURE, "success_status": [0, 3]},
        (L.READY, {}),
        DIED,
        (L.EXITED, {"status": 3}),
        [],
    ),
    Case(
        "leaves with 0, which does not",
        {"restart": plan.ON_FAILURE, "success_status": [3]},
        (L.READY, {}),
        LEFT,
        (L.BACKOFF, {}),
        [],
    ),
    Case(
        "is killed by the signal that has a success status's number",
        {"restart": plan.ON_FAILURE, "success_status": [9]},
        (L.READY, {}),
        Event(L.EXIT, pid=42, status=-9, reason="killed by signal 9"),
        (L.BACKOFF, {}),
        [],
    ),
    Case(
        "dies, on-failure", {"restart": plan.ON_FAILURE}, (L.READY, {}), DIED, (L.BACKOFF, {}), []
    ),
    Case("leaves, never", {"restart": plan.NEVER}, (L.READY, {}), LEFT, (L.EXITED, {}), []),
    Case(
        "dies, never",
        {"restart": plan.NEVER},
        (L.READY, {}),
        DIED,
        (L.FAILED, {"reason": "exited with status 3", "restarts": 0}),
        [],
    ),
    Case(
        "oneshot done",
        {**ONESHOT, **FOR_GPU},
        (L.STARTING, HELD_GPU),
        LEFT,
        (L.EXITED, {"gpu": None, "deadline": 0.0}),
        [L.RELEASE],
    ),
    Case("oneshot fails", ONESHOT, (L.STARTING, {}), DIED, (L.BACKOFF, {}), []),
    Case(
        "stopped",
        FOR_GPU,
        (L.STOPPING, {"desired": "down", **HELD_GPU}),
        Event(L.EXIT, pid=42, status=-15, reason="killed by signal 15"),
        (L.INACTIVE, {"gpu": None, "reason": "killed by signal 15", "failures": 0}),
        [L.RELEASE],
    ),
    Case(
        "stopped well",
        {},
        (L.STOPPING, {"desired": "down"}),
        LEFT,
        (L.INACTIVE, {"reason": ""}),
        [],
    ),
    Case(
        "restarted",
        FOR_GPU,
        (L.STOPPING, {"again": True, **HELD_GPU}),
        LEFT,
        (L.WAITING, {"again": False, "restarts": 1, **HELD_GPU}),
        [],
    ),
    Case(
        "leaves others behind",
        {},
        (L.READY, {"watchdog": 3.0, "watchdog_at": NOW + 3}),
        Event(L.EXIT, pid=42, status=3, reason="exited with status 3", left=True),
        (
            L.DRAINING,
            {
                "pid": 0,
                "was": L.READY,
                "ended": "exited with status 3",
                "deadline": NOW + 5,
                "watchdog_at": 0.0,
                "failures": 0,
            },
        ),
        [L.KILL],
    ),
    Case(
        "they are gone",
        {},
        (L.DRAINING, {"was": L.READY, "ended": "exited with status 3", "status": 3}),
        Event(L.EMPTIED),
        (L.BACKOFF, {"reason": "exited with status 3", "ended": "", "was": "", "failures": 1}),
        [],
    ),
    Case(
        "they are not gone",
        {},
        (L.DRAINING, {"was": L.READY, "deadline": NOW}),
        Event(L.DEADLINE),
        (L.DRAINING, {"reason": "waits for processes that do not die", "deadline": NOW + 5}),
        [L.KILL],
    ),
    Case(
        "they are gone after a stop",
        FOR_GPU,
        (L.DRAINING, {"was": L.STOPPING, "desired": "down", **HELD_GPU}),
        Event(L.EMPTIED),
        (L.INACTIVE, {"gpu": None, "was": ""}),
        [L.RELEASE],
    ),
    Case(
        "they are gone and it is wanted again",
        {},
        (L.DRAINING, {"was": L.STOPPING, "again": True}),
        Event(L.EMPTIED),
        (L.WAITING, {"again": False, "was": "", "restarts": 1}),
        [],
    ),
    Case(
        "oneshot leaves others behind and is done when they are gone",
        ONESHOT,
        (L.DRAINING, {"was": L.STARTING, "ended": "exited with status 0"}),
        Event(L.EMPTIED),
        (L.EXITED, {"reason": ""}),
        [],
    ),
    Case(
        "forking is ready when its first process ended well",
        {**FORKING, "watchdog": 3.0},
        (L.STARTING, {"started": 7, "watchdog": 3.0}),
        Event(L.EXIT, pid=42, left=True, main=43, started=8),
        (L.READY, {"pid": 43, "started": 8, "ready_at": NOW, "watchdog_at": NOW + 3}),
        [],
    ),
    Case(
        "forking without one main process",
        FORKING,
        (L.STARTING, {"started": 7, "deadline": NOW + 1}),
        Event(L.EXIT, pid=42, left=True),
        (L.READY, {"pid": 0, "started": 0, "deadline": 0.0}),
        [],
    ),
    Case(
        "forking whose first process failed",
        FORKING,
        (L.STARTING, {}),
        Event(L.EXIT, pid=42, status=1, reason="exited with status 1", left=True, main=43),
        (L.DRAINING, {"pid": 0, "was": L.STARTING}),
        [L.KILL],
    ),
    Case("forking that left nobody", FORKING, (L.STARTING, {}), LEFT, (L.BACKOFF, {}), []),
    Case(
        "forking a second time",
        {**FORKING, "start_timeout": 10.0},
        (L.READY, {"ready_at": NOW - 9}),
        Event(L.EXIT, pid=42, status=0, left=True, main=44, started=9),
        (L.READY, {"pid": 44, "started": 9, "ready_at": NOW - 9}),
        [],
    ),
    Case(
        "forking long after it was ready",
        {**FORKING, "start_timeout": 10.0},
        (L.READY, {"ready_at": NOW - 10}),
        Event(L.EXIT, pid=42, status=0, left=True, main=44, started=9),
        (L.DRAINING, {"pid": 0}),
        [L.KILL],
    ),
    Case(
        "forking a second time without one main process",
        FORKING,
        (L.READY, {"ready_at": NOW}),
        Event(L.EXIT, pid=42, status=0, left=True),
        (L.DRAINING, {"pid": 0}),
        [L.KILL],
    ),
    Case(
        "forking whose adopted main process dies",
        FORKING,
        (L.READY, {}),
        Event(L.EXIT, pid=42, status=3, reason="exited with status 3", left=True, main=43),
        (L.DRAINING, {"pid": 0, "was": L.READY}),
        [L.KILL],
    ),
    Case(
        "all of forking ended",
        FORKING,
        (L.READY, {"pid": 0}),
        Event(L.EMPTIED),
        (L.BACKOFF, {"reason": "all its processes ended", "failures": 1}),
        [],
    ),
    Case(
        "all of forking ended after a stop",
        FORKING,
        (L.STOPPING, {"pid": 0, "desired": "down"}),
        Event(L.EMPTIED),
        (L.INACTIVE, {}),
        [],
    ),
    Case(
        "forking with a main process has more to say than its group",
        FORKING,
        (L.READY, {"pid": 42}),
        Event(L.EMPTIED),
        (L.READY, {"pid": 42}),
        [],
    ),
    Case("simple is told of an empty group", {}, (L.READY, {}), Event(L.EMPTIED),
         (L.READY, {"pid": 42}), []),
    Case("a target is told of an empty group", {"type": plan.TARGET}, (L.READY, {"pid": 0}),
         Event(L.EMPTIED), (L.READY, {}), []),
    Case("forking that has not begun is told of an empty group", FORKING,
         (L.STARTING, {"pid": 0}), Event(L.EMPTIED), (L.STARTING, {}), []),
    Case("forking that waits is told of an empty group", FORKING,
         (L.BACKOFF, {"deadline": NOW + 1}), Event(L.EMPTIED), (L.BACKOFF, {}), []),
    Case("nobody's end is not that of one without a process", {}, (L.WAITING, {}),
         Event(L.EXIT, pid=0), (L.WAITING, {}), []),
    Case("an end takes a reload along", {}, (L.READY, {"reloading": True}), DIED,
         (L.BACKOFF, {"reloading": False}), []),
    Case("only forking goes on in what its first process leaves", {"type": plan.NOTIFY},
         (L.STARTING, {}), Event(L.EXIT, pid=42, status=0, left=True, main=43),
         (L.DRAINING, {"pid": 0}), [L.KILL]),
    Case("forking that stops does not go on in what is left", FORKING,
         (L.STOPPING, {"ready_at": NOW}), Event(L.EXIT, pid=42, status=0, left=True, main=43),
         (L.DRAINING, {"pid": 0, "was": L.STOPPING}), [L.KILL]),
    Case("all of forking ended, to begin anew", FORKING,
         (L.STOPPING, {"pid": 0, "again": True}), Event(L.EMPTIED),
         (L.WAITING, {"again": False, "restarts": 1}), []),
    Case("all of forking ended after long", FORKING,
         (L.READY, {"pid": 0, "failures": 3, "ready_at": NOW - 16}), Event(L.EMPTIED),
         (L.BACKOFF, {"failures": 1}), []),
    Case("draining says why", {}, (L.READY, {"since": NOW - 9}),
         Event(L.EXIT, pid=42, status=3, left=True),
         (L.DRAINING, {"since": NOW, "deadline": NOW + 5,
                       "reason": "its main process ended, the others of its cgroup follow"}),
         [L.KILL]),
    Case("who is not wanted any more stays down", FOR_GPU,
         (L.READY, {"desired": L.DOWN, **HELD_GPU}), DIED,
         (L.INACTIVE, {"gpu": None, "failures": 0}), [L.RELEASE]),
    Case("a restart says why", {}, (L.READY, {}), Event(L.RESTART, reason="its memory"),
         (L.STOPPING, {"reason": "its memory"}), [L.TERMINATE]),
    Case("a start has no reason any more", {}, (L.WAITING, {"reason": "exited with status 3"}),
         Event(L.GO), (L.STARTING, {"reason": ""}), [L.SPAWN]),
    Case("a start with what was given has no reason any more", FOR_GPU,
         (L.ALLOCATING, {"reason": "waits for a 1g"}), Event(L.ALLOCATED, gpu={"uuid": "MIG-0"}),
         (L.STARTING, {"reason": ""}), [L.SPAWN]),
    Case("ready said again does not take the time to stop away", {"type": plan.NOTIFY},
         (L.READY, {"deadline": NOW + 5}), Event(L.NOTIFIED_READY),
         (L.READY, {"deadline": NOW + 5}), []),
    Case("a watchdog has its time", {}, (L.READY, {"watchdog_at": NOW + 1}), Event(L.DEADLINE),
         (L.READY, {"watchdog_at": NOW + 1, "killed": ""}), []),
    Case("without a deadline none is over", {}, (L.READY, {}), Event(L.DEADLINE),
         (L.READY, {"killed": ""}), []),
    Case("ready keeps its reason and says since when", {"type": plan.NOTIFY},
         (L.STARTING, {"since": NOW - 9, "reason": "without a GPU: full"}),
         Event(L.NOTIFIED_READY),
         (L.READY, {"since": NOW, "ready_at": NOW, "reason": "without a GPU: full"}), []),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_transition(case: Case) -> None:
    unit = make_unit(**case.unit)
    state = state_of(case.before[0], **case.before[1])
    assert machine.step(unit, state, case.event, NOW) == case.actions
    expected = {"state": case.after[0], **case.after[1]}
    assert {key: getattr(state, key) for key in expected} == expected


def after(*events: Event, unit: plan.Unit | None = None) -> State:
    """What a ready unit comes to."""
    state = state_of(life.READY, ready_at=NOW)
    for event in events:
        machine.step(unit or make_unit(), state, event, NOW)
    return state


DIED_LEAVING = Event(L.EXIT, pid=42, status=3, reason="exited with status 3", left=True)


def test_nothing_starts_before_the_group_is_empty() -> None:
    state = after(DIED_LEAVING, Event(L.START), Event(L.GO), Event(L.DEADLINE))
    assert (state.state, state.pid) == (life.DRAINING, 0)


@pytest.mark.parametrize(
    ("wish", "end"), [(L.STOP, L.INACTIVE), (L.RESTART, L.WAITING), (L.START, L.BACKOFF)]
)
def test_a_wish_while_it_drains_is_heard(wish: str, end: str) -> None:
    assert after(DIED_LEAVING, Event(wish), Event(L.EMPTIED)).state == end


def test_the_last_wish_while_it_drains_counts() -> None:
    assert (
        after(DIED_LEAVING, Event(L.RESTART), Event(L.STOP), Event(L.EMPTIED)).state == "inactive"
    )
    assert after(DIED_LEAVING, Event(L.STOP), Event(L.START), Event(L.EMPTIED)).state == "waiting"


def test_a_killed_unit_says_why_it_was_killed_even_after_draining() -> None:
    trouble = Event(L.TROUBLE, reason="its probe failed")
    state = after(trouble, DIED_LEAVING, Event(L.EMPTIED))
    assert (state.state, state.reason, state.killed) == (life.BACKOFF, "its probe failed", "")


def test_what_does_not_die_is_killed_again_and_again() -> None:
    state = state_of(life.DRAINING, was=life.READY, deadline=NOW)
    for turn in range(3):
        now = NOW + turn * ending.KILL_AGAIN_SECONDS
        assert machine.step(make_unit(), state, Event(L.DEADLINE), now) == [L.KILL]
        assert machine.step(make_unit(), state, Event(L.DEADLINE), now + 4.9) == []
