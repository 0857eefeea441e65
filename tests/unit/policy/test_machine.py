"""Each event in each state: what changes, what is to be done, and that nothing else does."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ainit.policy import machine, plan
from ainit.policy import state as life
from ainit.policy.state import Event, State
from tests.support.units import make_unit

NOW = 1000.0
GPU: dict[str, object] = {"uuid": "MIG-0"}
HELD_GPU: dict[str, object] = {"gpu": GPU}
STATES = [
    life.INACTIVE, life.WAITING, life.ALLOCATING, life.STARTING, life.READY, life.STOPPING,
    life.DRAINING, life.BACKOFF, life.EXITED, life.FAILED, life.REFUSED,
    life.QUARANTINED,
]  # fmt: skip
EVENTS = {
    life.START: Event(life.START),
    life.STOP: Event(life.STOP),
    life.RESTART: Event(life.RESTART),
    life.RELOAD: Event(life.RELOAD),
    life.REVOKED: Event(life.REVOKED, gpu=GPU, reason="its GPU is cordoned"),
    life.GO: Event(life.GO),
    life.ALLOCATED: Event(life.ALLOCATED, gpu=GPU),
    life.NOT_ALLOCATED: Event(life.NOT_ALLOCATED, reason="full"),
    life.QUEUED: Event(life.QUEUED, reason="second of two", seconds=5.0),
    life.TURN: Event(life.TURN),
    life.MOVE: Event(life.MOVE, reason="its GPU instance is moved"),
    life.SPAWNED: Event(life.SPAWNED, pid=43, started=7),
    life.NOT_SPAWNED: Event(life.NOT_SPAWNED, reason="no memory"),
    life.DENIED: Event(life.DENIED, reason="unsigned"),
    life.DEADLINE: Event(life.DEADLINE),
    life.EXIT: Event(life.EXIT, pid=42, status=3, reason="exited with status 3"),
    life.EMPTIED: Event(life.EMPTIED),
    life.NOTIFIED_READY: Event(life.NOTIFIED_READY),
    life.RELOADING: Event(life.RELOADING),
    life.NOTIFIED_STOPPING: Event(life.NOTIFIED_STOPPING),
    life.EXTEND: Event(life.EXTEND, seconds=60.0),
    life.MAIN_PID: Event(life.MAIN_PID, pid=43, started=8),
    life.PING: Event(life.PING),
    life.FINDINGS: Event(life.FINDINGS, reason="GPU 1 is lost"),
    life.TROUBLE: Event(life.TROUBLE, reason="its probe failed"),
    life.HOLD: Event(life.HOLD, reason="triggered too often"),
    life.QUARANTINE: Event(life.QUARANTINE, reason="odd connections"),
    life.FROZEN: Event(life.FROZEN),
    life.LET_GO: Event(life.LET_GO),
}
# What a notifying unit with a watchdog and a reload signal does, wanted up and with its deadline
# reached: state → event → next state, and the actions. What is not listed changes nothing.
REACTIONS = {
    life.INACTIVE: {
        "start": "waiting", "restart": "waiting", "allocated": "inactive release",
        "queued": "inactive release", "hold": "failed", "quarantine": "quarantined evidence",
    },
    life.WAITING: {
        "stop": "inactive", "restart": "waiting", "go": "starting spawn",
        "allocated": "waiting release", "queued": "waiting release", "hold": "failed",
        "quarantine": "quarantined evidence",
    },
    life.ALLOCATING: {
        "stop": "inactive release", "restart": "waiting", "allocated": "starting spawn",
        "not-allocated": "backoff", "queued": "allocating", "deadline": "backoff",
        "hold": "failed release", "quarantine": "quarantined release evidence",
    },
    life.STARTING: {
        "stop": "stopping terminate", "restart": "stopping terminate",
        "allocated": "starting release", "queued": "starting release", "spawned": "starting",
        "not-spawned": "backoff",
        "denied": "refused", "deadline": "starting kill", "exit": "backoff",
        "notified-ready": "ready", "extend": "starting", "main-pid": "starting",
        "findings": "starting", "quarantine": "quarantined freeze",
    },
    life.READY: {
        "stop": "stopping terminate", "restart": "stopping terminate",
        "reload": "ready signal-reload", "allocated": "ready release", "queued": "ready release",
        "deadline": "ready kill",
        "exit": "backoff", "reloading": "ready", "notified-stopping": "ready", "main-pid": "ready",
        "ping": "ready", "trouble": "ready kill", "findings": "ready",
        "quarantine": "quarantined freeze",
    },
    life.STOPPING: {
        "start": "stopping", "stop": "stopping", "restart": "stopping",
        "allocated": "stopping release", "queued": "stopping release",
        "deadline": "stopping kill", "exit": "waiting",
        "extend": "stopping", "main-pid": "stopping", "findings": "stopping",
        "quarantine": "quarantined freeze",
    },
    life.DRAINING: {
        "stop": "draining", "restart": "draining", "allocated": "draining release",
        "queued": "draining release",
        "deadline": "draining kill", "emptied": "backoff", "findings": "draining",
        "quarantine": "draining",
    },
    life.BACKOFF: {
        "start": "waiting", "stop": "inactive", "restart": "waiting", "deadline": "waiting",
        "allocated": "backoff release", "queued": "backoff release", "hold": "failed",
        "quarantine": "quarantined evidence",
    },
    **{
        held: {
            "start": "waiting", "stop": "inactive", "restart": "waiting",
            "allocated": f"{held} release", "queued": f"{held} release", "hold": "failed",
            "quarantine": "quarantined evidence",
        }
        for held in (life.EXITED, life.FAILED, life.REFUSED)
    },
    life.QUARANTINED: {
        "stop": "stopping kill", "allocated": "quarantined release",
        "queued": "quarantined release", "deadline": "quarantined evidence",
        "exit": "draining kill", "findings": "quarantined", "frozen": "quarantined evidence",
        "let-go": "ready thaw",
    },
}  # fmt: skip


def state_of(name: str, **fields: object) -> State:
    state = State("u")
    state.state = name
    state.desired = life.DOWN if name == life.INACTIVE else life.UP
    state.since = NOW
    if name in (*life.RUNNING, life.QUARANTINED):
        state.pid = 42
    for key, value in fields.items():
        setattr(state, key, value)
    return state


def typical(name: str) -> State:
    """A unit in this state, with its deadline reached."""
    state = state_of(name, watchdog=5.0)
    if name == life.READY:
        state.watchdog_at = NOW
    elif name in (life.ALLOCATING, *life.RUNNING, life.DRAINING, life.BACKOFF, life.QUARANTINED):
        state.deadline = NOW
    if name == life.DRAINING:
        state.was, state.ended, state.status = life.READY, "exited with status 3", 3
    elif name == life.QUARANTINED:
        state.was, state.quarantine = life.READY, "odd connections"
    return state


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("name", STATES)
def test_each_event_in_each_state(name: str, kind: str) -> None:
    unit = make_unit(type=plan.NOTIFY, watchdog=5.0, reload_signal=1)
    state = typical(name)
    before = state.to_record()
    actions = machine.step(unit, state, EVENTS[kind], NOW)
    expected = REACTIONS[name].get(kind)
    if expected is None:
        assert (actions, state.to_record()) == ([], before)
    else:
        assert " ".join([state.state, *actions]) == expected
        assert actions or state.to_record() != before


def test_every_event_is_among_these() -> None:
    assert set(machine._STEPS) == set(EVENTS)
    assert set(REACTIONS) == set(STATES)


class Case(NamedTuple):
    """A unit in a state, what happens to it, and what must come of it."""

    about: str
    unit: dict[str, object]
    before: tuple[str, dict[str, object]]
    event: Event
    after: tuple[str, dict[str, object]]
    actions: list[str]


L = life
NOTIFY: dict[str, object] = {"type": plan.NOTIFY}
FORKING: dict[str, object] = {"type": plan.FORKING}
TARGET: dict[str, object] = {"type": plan.TARGET}
FOR_GPU: dict[str, object] = {"gpu_profile": "1g"}
CASES = [
    Case(
        "start says why and since when",
        {},
        (L.INACTIVE, {}),
        Event(L.START, reason="its timer"),
        (L.WAITING, {"desired": "up", "trigger": "its timer", "wanted_at": NOW}),
        [],
    ),
    Case(
        "start of what is held forgets its failures",
        {},
        (L.FAILED, {"failures": 9}),
        Event(L.START),
        (L.WAITING, {"failures": 0}),
        [],
    ),
    Case(
        "start takes a delay back",
        {},
        (L.BACKOFF, {"deadline": NOW + 5}),
        Event(L.START),
        (L.WAITING, {"deadline": 0.0}),
        [],
    ),
    Case(
        "start over a stop comes after it",
        {},
        (L.STOPPING, {"desired": "down", "deadline": NOW + 5}),
        Event(L.START),
        (L.STOPPING, {"desired": "up", "again": True, "deadline": NOW + 5}),
        [],
    ),
    Case(
        "start while what is left of a stop is killed comes after it",
        {},
        (L.DRAINING, {"desired": "down", "was": L.STOPPING}),
        Event(L.START),
        (L.DRAINING, {"desired": "up", "again": True}),
        [],
    ),
    Case(
        "start while what is left of a failure is killed changes nothing",
        {},
        (L.DRAINING, {"was": L.READY}),
        Event(L.START),
        (L.DRAINING, {"again": False, "was": L.READY}),
        [],
    ),
    Case(
        "go",
        {},
        (L.WAITING, {"killed": "", "text": "old", "findings": "hot", "ready_at": 9.0}),
        Event(L.GO),
        (L.STARTING, {"deadline": NOW + 10, "text": "", "findings": "", "ready_at": 0.0}),
        [L.SPAWN],
    ),
    Case(
        "a target is ready when it may go",
        TARGET,
        (L.WAITING, {}),
        Event(L.GO),
        (L.READY, {"ready_at": NOW, "pid": 0}),
        [],
    ),
    Case("a target just ends", TARGET, (L.READY, {"pid": 0}), Event(L.STOP), (L.INACTIVE, {}), []),
    Case(
        "a target begins anew",
        TARGET,
        (L.READY, {"pid": 0}),
        Event(L.RESTART),
        (L.WAITING, {"again": False}),
        [],
    ),
    Case(
        "simple is ready at once",
        {},
        (L.STARTING, {"pid": 0}),
        Event(L.SPAWNED, pid=42, started=7),
        (L.READY, {"pid": 42, "started": 7, "spawned_at": NOW, "ready_at": NOW, "deadline": 0.0}),
        [],
    ),
    Case(
        "simple with a probe for readiness is not",
        {"probe_readiness": True},
        (L.STARTING, {"pid": 0, "deadline": NOW + 9}),
        Event(L.SPAWNED, pid=42),
        (L.STARTING, {"pid": 42, "spawned_at": NOW, "deadline": NOW + 9}),
        [],
    ),
    Case(
        "its first success makes it ready",
        {"probe_readiness": True},
        (L.STARTING, {"deadline": NOW + 9}),
        Event(L.NOTIFIED_READY),
        (L.READY, {"ready_at": NOW, "deadline": 0.0}),
        [],
    ),
    *(
        Case(
            f"{type_} is not ready at once",
            {"type": type_},
            (L.STARTING, {"pid": 0, "deadline": NOW + 9}),
            Event(L.SPAWNED, pid=42),
            (L.STARTING, {"pid": 42, "deadline": NOW + 9}),
            [],
        )
        for type_ in (plan.NOTIFY, plan.FORKING, plan.ONESHOT)
    ),
    *(
        Case(
            f"{type_} is not asked whether it is ready",
            {"type": type_},
            (L.STARTING, {}),
            Event(L.NOTIFIED_READY),
            (L.STARTING, {}),
            [],
        )
        for type_ in (plan.SIMPLE, plan.FORKING, plan.ONESHOT)
    ),
    Case(
        "notified, and watched from now on",
        {**NOTIFY, "watchdog": 3.0},
        (L.STARTING, {"deadline": NOW + 9, "watchdog": 3.0}),
        Event(L.NOTIFIED_READY),
        (L.READY, {"ready_at": NOW, "deadline": 0.0, "watchdog_at": NOW + 3}),
        [],
    ),
    Case(
        "notified, unborn",
        NOTIFY,
        (L.STARTING, {"pid": 0}),
        Event(L.NOTIFIED_READY),
        (L.STARTING, {}),
        [],
    ),
    Case(
        "start that never happened",
        {},
        (L.STARTING, {"pid": 0, "deadline": NOW}),
        Event(L.DEADLINE),
        (L.BACKOFF, {"reason": "was not started", "failures": 1}),
        [],
    ),
    Case(
        "start too slow",
        {},
        (L.STARTING, {"deadline": NOW}),
        Event(L.DEADLINE),
        (L.STARTING, {"killed": "not ready in 10 s", "deadline": 0.0}),
        [L.KILL],
    ),
    Case(
        "deadline too early",
        {},
        (L.STARTING, {"deadline": NOW + 1}),
        Event(L.DEADLINE),
        (L.STARTING, {"deadline": NOW + 1, "killed": ""}),
        [],
    ),
    Case(
        "delay over",
        {},
        (L.BACKOFF, {"deadline": NOW, "reason": "x"}),
        Event(L.DEADLINE),
        (L.WAITING, {"deadline": 0.0, "reason": "x"}),
        [],
    ),
    Case(
        "stop",
        {},
        (L.READY, {"watchdog": 3.0, "watchdog_at": NOW + 1}),
        Event(L.STOP),
        (
            L.STOPPING,
            {
                "desired": "down",
                "deadline": NOW + 5,
                "reason": "stopped on request",
                "watchdog_at": 0.0,
            },
        ),
        [L.TERMINATE],
    ),
    Case(
        "stop for a reason",
        {},
        (L.READY, {}),
        Event(L.STOP, reason="conflicts with b"),
        (L.STOPPING, {"reason": "conflicts with b"}),
        [L.TERMINATE],
    ),
    Case(
        "stop twice",
        {},
        (L.STOPPING, {"deadline": NOW + 3}),
        Event(L.STOP),
        (L.STOPPING, {"desired": "down", "deadline": NOW + 3}),
        [],
    ),
    Case(
        "stop while what is left is killed",
        {},
        (L.DRAINING, {"was": L.READY, "deadline": NOW + 3}),
        Event(L.STOP),
        (L.DRAINING, {"desired": "down", "was": L.STOPPING, "deadline": NOW + 3}),
        [],
    ),
    Case(
        "stop takes back a restart",
        {},
        (L.STOPPING, {"again": True}),
        Event(L.STOP),
        (L.STOPPING, {"again": False, "desired": "down"}),
        [],
    ),
    Case(
        "stops too slowly",
        {},
        (L.STOPPING, {"deadline": NOW}),
        Event(L.DEADLINE),
        (L.STOPPING, {"killed": "did not stop in 5 s", "deadline": NOW + 5}),
        [L.KILL],
    ),
    Case(
        "restart",
        {},
        (L.READY, {"failures": 2}),
        Event(L.RESTART),
        (L.STOPPING, {"again": True, "failures": 0, "reason": "restarted on request"}),
        [L.TERMINATE],
    ),
    Case(
        "restart while it stops",
        {},
        (L.STOPPING, {"desired": "down", "deadline": NOW + 3}),
        Event(L.RESTART),
        (L.STOPPING, {"again": True, "desired": "up", "deadline": NOW + 3}),
        [],
    ),
    Case(
        "restart while what is left is killed",
        {},
        (L.DRAINING, {"was": L.READY, "desired": "down"}),
        Event(L.RESTART),
        (L.DRAINING, {"was": L.STOPPING, "again": True, "desired": "up"}),
        [],
    ),
    Case(
        "reload without a signal for it",
        {"reload_signal": 0},
        (L.READY, {}),
        Event(L.RELOAD),
        (L.READY, {}),
        [],
    ),
    Case(
        "says that it reloads",
        NOTIFY,
        (L.READY, {}),
        Event(L.RELOADING),
        (L.READY, {"reloading": True, "deadline": NOW + 10}),
        [],
    ),
    Case("simple has no reload to announce", {}, (L.READY, {}), Event(L.RELOADING),
         (L.READY, {"reloading": False, "deadline": 0.0}), []),
    Case(
        "is ready again",
        NOTIFY,
        (L.READY, {"reloading": True, "deadline": NOW + 10, "ready_at": 7.0}),
        Event(L.NOTIFIED_READY),
        (L.READY, {"reloading": False, "deadline": 0.0, "ready_at": 7.0}),
        [],
    ),
    Case(
        "reloads too slowly",
        NOTIFY,
        (L.READY, {"reloading": True, "deadline": NOW}),
        Event(L.DEADLINE),
        (L.READY, {"killed": "did not reload in 10 s"}),
        [L.KILL],
    ),
    Case(
        "says that it stops",
        NOTIFY,
        (L.READY, {"watchdog": 3.0, "watchdog_at": NOW + 1, "reloading": True}),
        Event(L.NOTIFIED_STOPPING),
        (
            L.READY,
            {
                "watchdog": 0.0,
                "watchdog_at": 0.0,
                "deadline": NOW + 5,
                "reason": "stops by itself",
                "reloading": False,
            },
        ),
        [],
    ),
    Case(
        "stops by itself too slowly",
        NOTIFY,
        (L.READY, {"deadline": NOW}),
        Event(L.DEADLINE),
        (L.READY, {"killed": "did not stop in 5 s"}),
        [L.KILL],
    ),
    *(
        Case(
            f"more time {name}",
            {},
            (name, {"deadline": NOW + 1}),
            Event(L.EXTEND, seconds=60.0),
            (name, {"deadline": NOW + 60}),
            [],
        )
        for name in (L.STARTING, L.STOPPING, L.READY)
    ),
    Case(
        "more time is never less",
        {},
        (L.STARTING, {"deadline": NOW + 9}),
        Event(L.EXTEND, seconds=1.0),
        (L.STARTING, {"deadline": NOW + 9}),
        [],
    ),
    Case(
        "another main process",
        {},
        (L.READY, {"started": 7}),
        Event(L.MAIN_PID, pid=50, started=8),
        (L.READY, {"pid": 50, "started": 8}),
        [],
    ),
    Case("no main process", {}, (L.READY, {}), Event(L.MAIN_PID), (L.READY, {"pid": 42}), []),
    Case(
        "pinged",
        {},
        (L.READY, {"watchdog": 3.0, "watchdog_at": NOW + 1}),
        Event(L.PING),
        (L.READY, {"watchdog_at": NOW + 3}),
        [],
    ),
    Case(
        "pinged with another period",
        {},
        (L.READY, {"watchdog": 3.0, "watchdog_at": NOW + 1}),
        Event(L.PING, seconds=9.0),
        (L.READY, {"watchdog": 9.0, "watchdog_at": NOW + 9}),
        [],
    ),
    Case(
        "another period before it is ready",
        NOTIFY,
        (L.STARTING, {"watchdog": 3.0}),
        Event(L.PING, seconds=9.0),
        (L.STARTING, {"watchdog": 9.0, "watchdog_at": 0.0}),
        [],
    ),
    Case(
        "pinged without a watchdog",
        {},
        (L.READY, {}),
        Event(L.PING),
        (L.READY, {"watchdog_at": 0.0}),
        [],
    ),
    Case(
        "not pinged",
        {},
        (L.READY, {"watchdog": 3.0, "watchdog_at": NOW, "deadline": NOW + 1}),
        Event(L.DEADLINE),
        (L.READY, {"killed": "no watchdog message in 3 s", "watchdog_at": 0.0}),
        [L.KILL],
    ),
    Case(
        "in trouble",
        {},
        (L.READY, {}),
        Event(L.TROUBLE, reason="its probe failed 3 times"),
        (L.READY, {"killed": "its probe failed 3 times"}),
        [L.KILL],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_transition(case: Case) -> None:
    unit = make_unit(**case.unit)
    state = state_of(case.before[0], **case.before[1])
    assert machine.step(unit, state, case.event, NOW) == case.actions
    expected = {"state": case.after[0], **case.after[1]}
    assert {key: getattr(state, key) for key in expected} == expected


def test_a_start_has_the_watchdog_of_its_unit_whatever_the_last_one_set() -> None:
    unit = make_unit(watchdog=5.0)
    state = state_of(life.WAITING, watchdog=99.0)
    machine.step(unit, state, Event(life.GO), NOW)
    machine.step(unit, state, Event(life.SPAWNED, pid=42), NOW + 1)
    assert (state.watchdog, state.watchdog_at) == (5.0, NOW + 6)


def test_what_stops_by_itself_is_watched_no_more_even_when_it_says_that_it_lives() -> None:
    unit = make_unit(type=plan.NOTIFY, watchdog=3.0)
    state = state_of(life.READY, watchdog=3.0, watchdog_at=NOW + 3)
    for kind in (life.NOTIFIED_STOPPING, life.PING):
        machine.step(unit, state, Event(kind), NOW)
    assert (state.watchdog_at, state.deadline) == (0.0, NOW + 5)
