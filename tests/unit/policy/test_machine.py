"""The life of one unit, transition by transition."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from ainit.policy import machine, plan
from ainit.policy.machine import Event, State
from tests.support.units import make_unit

NOW = 1000.0


def state_of(name: str, **fields: object) -> State:
    state = State("u")
    state.state = name
    state.desired = machine.DOWN if name == machine.INACTIVE else machine.UP
    if name in machine.RUNNING:
        state.pid = 42
    for key, value in fields.items():
        setattr(state, key, value)
    return state


class Case(NamedTuple):
    """A unit in a state, what happens to it, and what must come of it."""

    about: str
    unit: dict[str, object]
    before: tuple[str, dict[str, object]]
    event: Event
    after: tuple[str, dict[str, object]]
    actions: list[str]


GPU: dict[str, object] = {"uuid": "MIG-0"}
HELD_GPU: dict[str, object] = {"gpu": GPU}
DIED = Event(machine.EXIT, pid=42, status=3, reason="exited with status 3")
LEFT = Event(machine.EXIT, pid=42, status=0, reason="exited with status 0")
M = machine
CASES = [
    Case("start", {}, (M.INACTIVE, {}), Event(M.START), (M.WAITING, {"desired": "up"}), []),
    Case("start again", {}, (M.READY, {}), Event(M.START), (M.READY, {}), []),
    Case(
        "start held",
        {},
        (M.FAILED, {"failures": 9}),
        Event(M.START),
        (M.WAITING, {"failures": 0}),
        [],
    ),
    Case("start refused", {}, (M.REFUSED, {}), Event(M.START), (M.WAITING, {}), []),
    Case("start exited", {}, (M.EXITED, {}), Event(M.START), (M.WAITING, {}), []),
    Case(
        "start now",
        {},
        (M.BACKOFF, {"deadline": NOW + 5}),
        Event(M.START),
        (M.WAITING, {"deadline": 0.0}),
        [],
    ),
    Case(
        "start stopping",
        {},
        (M.STOPPING, {"desired": "down", "deadline": NOW + 5}),
        Event(M.START),
        (M.STOPPING, {"desired": "up", "again": True, "deadline": NOW + 5}),
        [],
    ),
    Case("go", {}, (M.WAITING, {}), Event(M.GO), (M.STARTING, {"deadline": NOW + 10}), [M.SPAWN]),
    Case("go unasked", {}, (M.INACTIVE, {}), Event(M.GO), (M.INACTIVE, {}), []),
    Case(
        "go for a gpu",
        {"gpu_profile": "1g"},
        (M.WAITING, {}),
        Event(M.GO),
        (M.ALLOCATING, {"deadline": NOW + 60, "reason": "waits for a 1g"}),
        [M.ALLOCATE],
    ),
    Case(
        "go with a gpu",
        {"gpu_profile": "1g"},
        (M.WAITING, HELD_GPU),
        Event(M.GO),
        (M.STARTING, HELD_GPU),
        [M.SPAWN],
    ),
    Case(
        "gpu given",
        {"gpu_profile": "1g"},
        (M.ALLOCATING, {"deadline": NOW + 5}),
        Event(M.ALLOCATED, gpu=GPU),
        (M.STARTING, {"deadline": NOW + 10, **HELD_GPU}),
        [M.SPAWN],
    ),
    Case(
        "gpu denied",
        {"gpu_profile": "1g"},
        (M.ALLOCATING, {}),
        Event(M.NOT_ALLOCATED, reason="full"),
        (M.BACKOFF, {"reason": "full", "deadline": NOW + 1}),
        [],
    ),
    Case(
        "gpu never",
        {"gpu_profile": "1g"},
        (M.ALLOCATING, {"deadline": NOW}),
        Event(M.DEADLINE),
        (M.BACKOFF, {"reason": "no GPU instance in 60 s"}),
        [],
    ),
    Case(
        "gpu denied and not required",
        {"gpu_profile": "1g", "gpu_required": False},
        (M.ALLOCATING, {}),
        Event(M.NOT_ALLOCATED, reason="no driver"),
        (M.STARTING, {"reason": "without a GPU: no driver", "deadline": NOW + 10}),
        [M.SPAWN],
    ),
    Case(
        "gpu never and not required",
        {"gpu_profile": "1g", "gpu_required": False},
        (M.ALLOCATING, {"deadline": NOW}),
        Event(M.DEADLINE),
        (M.STARTING, {"reason": "without a GPU: no GPU instance in 60 s"}),
        [M.SPAWN],
    ),
    Case(
        "gpu late",
        {"gpu_profile": "1g"},
        (M.BACKOFF, {"deadline": NOW + 5}),
        Event(M.ALLOCATED, gpu=GPU),
        (M.BACKOFF, {"gpu": None, "deadline": NOW + 5}),
        [M.RELEASE],
    ),
    Case(
        "gpu after stop",
        {"gpu_profile": "1g"},
        (M.INACTIVE, {}),
        Event(M.ALLOCATED, gpu=GPU),
        (M.INACTIVE, {"gpu": None}),
        [M.RELEASE],
    ),
    Case(
        "gpu twice",
        {"gpu_profile": "1g"},
        (M.READY, HELD_GPU),
        Event(M.ALLOCATED, gpu=GPU),
        (M.READY, HELD_GPU),
        [],
    ),
    Case(
        "simple is ready at once",
        {},
        (M.STARTING, {"pid": 0}),
        Event(M.SPAWNED, pid=42, started=7),
        (M.READY, {"pid": 42, "started": 7, "ready_at": NOW, "deadline": 0.0}),
        [],
    ),
    Case(
        "notify is not",
        {"type": plan.NOTIFY},
        (M.STARTING, {"pid": 0, "deadline": NOW + 9}),
        Event(M.SPAWNED, pid=42),
        (M.STARTING, {"pid": 42, "deadline": NOW + 9}),
        [],
    ),
    Case(
        "oneshot is not",
        {"type": plan.ONESHOT},
        (M.STARTING, {"pid": 0, "deadline": NOW + 9}),
        Event(M.SPAWNED, pid=42),
        (M.STARTING, {"pid": 42, "deadline": NOW + 9}),
        [],
    ),
    Case(
        "notified",
        {"type": plan.NOTIFY},
        (M.STARTING, {"deadline": NOW + 9}),
        Event(M.NOTIFIED_READY),
        (M.READY, {"ready_at": NOW, "deadline": 0.0}),
        [],
    ),
    Case(
        "notified, oneshot",
        {"type": plan.ONESHOT},
        (M.STARTING, {"deadline": NOW + 9}),
        Event(M.NOTIFIED_READY),
        (M.STARTING, {}),
        [],
    ),
    Case(
        "notified, unborn",
        {"type": plan.NOTIFY},
        (M.STARTING, {"pid": 0}),
        Event(M.NOTIFIED_READY),
        (M.STARTING, {}),
        [],
    ),
    Case(
        "notified, stopping",
        {"type": plan.NOTIFY},
        (M.STOPPING, {"deadline": NOW + 9}),
        Event(M.NOTIFIED_READY),
        (M.STOPPING, {"deadline": NOW + 9}),
        [],
    ),
    Case(
        "not spawned",
        {},
        (M.STARTING, {"pid": 0}),
        Event(M.NOT_SPAWNED, reason="no memory"),
        (M.BACKOFF, {"reason": "no memory", "deadline": NOW + 1, "restarts": 1}),
        [],
    ),
    Case(
        "denied",
        {},
        (M.STARTING, {"pid": 0}),
        Event(M.DENIED, reason="unsigned"),
        (M.REFUSED, {"reason": "unsigned", "deadline": 0.0}),
        [],
    ),
    Case(
        "denied with a gpu",
        {"gpu_profile": "1g"},
        (M.STARTING, {"pid": 0, **HELD_GPU}),
        Event(M.DENIED, reason="unsigned"),
        (M.REFUSED, {"gpu": None}),
        [M.RELEASE],
    ),
    Case(
        "start that never happened",
        {},
        (M.STARTING, {"pid": 0, "deadline": NOW}),
        Event(M.DEADLINE),
        (M.BACKOFF, {"reason": "was not started", "failures": 1}),
        [],
    ),
    Case(
        "start too slow",
        {},
        (M.STARTING, {"deadline": NOW}),
        Event(M.DEADLINE),
        (M.STARTING, {"killed": "not ready in 10 s"}),
        [M.KILL],
    ),
    Case(
        "deadline too early",
        {},
        (M.STARTING, {"deadline": NOW + 1}),
        Event(M.DEADLINE),
        (M.STARTING, {"deadline": NOW + 1}),
        [],
    ),
    Case(
        "dies slowly starting",
        {},
        (M.STARTING, {"killed": "not ready in 10 s"}),
        Event(M.EXIT, pid=42, status=-9, reason="killed"),
        (M.BACKOFF, {"reason": "not ready in 10 s", "killed": ""}),
        [M.KILL],
    ),
    Case(
        "exits 0 when killed",
        {"type": plan.ONESHOT},
        (M.STARTING, {"killed": "not ready in 10 s"}),
        LEFT,
        (M.BACKOFF, {"reason": "not ready in 10 s"}),
        [M.KILL],
    ),
    Case(
        "dies",
        {},
        (M.READY, {}),
        DIED,
        (
            M.BACKOFF,
            {
                "pid": 0,
                "status": 3,
                "failures": 1,
                "restarts": 1,
                "deadline": NOW + 1,
                "reason": "exited with status 3",
            },
        ),
        [M.KILL],
    ),
    Case(
        "dies holding a gpu",
        {"gpu_profile": "1g"},
        (M.READY, HELD_GPU),
        DIED,
        (M.BACKOFF, HELD_GPU),
        [M.KILL],
    ),
    Case(
        "dies again",
        {},
        (M.READY, {"failures": 2, "ready_at": NOW}),
        DIED,
        (M.BACKOFF, {"failures": 3, "deadline": NOW + 4}),
        [M.KILL],
    ),
    Case(
        "dies for the last time",
        {"gpu_profile": "1g"},
        (M.READY, {"failures": 3, "ready_at": NOW, **HELD_GPU}),
        DIED,
        (M.FAILED, {"gpu": None, "reason": "exited with status 3; held after 4 failures in a row"}),
        [M.KILL, M.RELEASE],
    ),
    Case(
        "dies after long",
        {},
        (M.READY, {"failures": 3, "ready_at": NOW - 16}),
        DIED,
        (M.BACKOFF, {"failures": 1}),
        [M.KILL],
    ),
    Case(
        "dies not so long after",
        {},
        (M.READY, {"failures": 3, "ready_at": NOW - 15}),
        DIED,
        (M.FAILED, {}),
        [M.KILL],
    ),
    Case(
        "no limit",
        {"backoff_limit": 0},
        (M.READY, {"failures": 10**9, "ready_at": NOW}),
        DIED,
        (M.BACKOFF, {"deadline": NOW + 8}),
        [M.KILL],
    ),
    Case(
        "another pid",
        {},
        (M.READY, {}),
        Event(M.EXIT, pid=43, status=1),
        (M.READY, {"pid": 42}),
        [],
    ),
    Case("leaves", {}, (M.READY, {}), LEFT, (M.BACKOFF, {}), [M.KILL]),
    Case(
        "leaves, on-failure",
        {"restart": plan.ON_FAILURE},
        (M.READY, {}),
        LEFT,
        (M.EXITED, {"failures": 0}),
        [M.KILL],
    ),
    Case(
        "dies, on-failure",
        {"restart": plan.ON_FAILURE},
        (M.READY, {}),
        DIED,
        (M.BACKOFF, {}),
        [M.KILL],
    ),
    Case("leaves, never", {"restart": plan.NEVER}, (M.READY, {}), LEFT, (M.EXITED, {}), [M.KILL]),
    Case(
        "dies, never",
        {"restart": plan.NEVER},
        (M.READY, {}),
        DIED,
        (M.FAILED, {"reason": "exited with status 3", "restarts": 0}),
        [M.KILL],
    ),
    Case(
        "oneshot done",
        {"type": plan.ONESHOT, "gpu_profile": "1g"},
        (M.STARTING, HELD_GPU),
        LEFT,
        (M.EXITED, {"gpu": None, "deadline": 0.0}),
        [M.KILL, M.RELEASE],
    ),
    Case(
        "oneshot fails", {"type": plan.ONESHOT}, (M.STARTING, {}), DIED, (M.BACKOFF, {}), [M.KILL]
    ),
    Case(
        "delay over",
        {},
        (M.BACKOFF, {"deadline": NOW, "reason": "x"}),
        Event(M.DEADLINE),
        (M.WAITING, {"deadline": 0.0}),
        [],
    ),
    Case(
        "stop",
        {},
        (M.READY, {}),
        Event(M.STOP),
        (M.STOPPING, {"desired": "down", "deadline": NOW + 5, "reason": "stopped on request"}),
        [M.TERMINATE],
    ),
    Case(
        "stop twice",
        {},
        (M.STOPPING, {"deadline": NOW + 3}),
        Event(M.STOP),
        (M.STOPPING, {"desired": "down", "deadline": NOW + 3}),
        [],
    ),
    Case("stop starting", {}, (M.STARTING, {}), Event(M.STOP), (M.STOPPING, {}), [M.TERMINATE]),
    Case("stop waiting", {}, (M.WAITING, {}), Event(M.STOP), (M.INACTIVE, {"desired": "down"}), []),
    Case(
        "stop waiting with gpu",
        {"gpu_profile": "1g"},
        (M.BACKOFF, {"deadline": NOW, **HELD_GPU}),
        Event(M.STOP),
        (M.INACTIVE, {"gpu": None, "deadline": 0.0}),
        [M.RELEASE],
    ),
    Case(
        "stop allocating",
        {"gpu_profile": "1g"},
        (M.ALLOCATING, {"deadline": NOW}),
        Event(M.STOP),
        (M.INACTIVE, {"deadline": 0.0}),
        [],
    ),
    Case("stop failed", {}, (M.FAILED, {}), Event(M.STOP), (M.INACTIVE, {}), []),
    Case(
        "stop takes back a restart",
        {},
        (M.STOPPING, {"again": True}),
        Event(M.STOP),
        (M.STOPPING, {"again": False, "desired": "down"}),
        [],
    ),
    Case(
        "stopped",
        {"gpu_profile": "1g"},
        (M.STOPPING, {"desired": "down", **HELD_GPU}),
        Event(M.EXIT, pid=42, status=-15, reason="killed by signal 15"),
        (M.INACTIVE, {"gpu": None, "reason": "killed by signal 15", "failures": 0}),
        [M.KILL, M.RELEASE],
    ),
    Case(
        "stops too slowly",
        {},
        (M.STOPPING, {"deadline": NOW}),
        Event(M.DEADLINE),
        (M.STOPPING, {"killed": "did not stop in 5 s"}),
        [M.KILL],
    ),
    Case(
        "restart",
        {},
        (M.READY, {"failures": 2}),
        Event(M.RESTART),
        (M.STOPPING, {"again": True, "failures": 0, "reason": "restarted on request"}),
        [M.TERMINATE],
    ),
    Case(
        "restart stopping",
        {},
        (M.STOPPING, {"desired": "down", "deadline": NOW + 3}),
        Event(M.RESTART),
        (M.STOPPING, {"again": True, "deadline": NOW + 3}),
        [],
    ),
    Case(
        "restart inactive",
        {},
        (M.INACTIVE, {}),
        Event(M.RESTART),
        (M.WAITING, {"desired": "up"}),
        [],
    ),
    Case(
        "restart allocating",
        {"gpu_profile": "1g"},
        (M.ALLOCATING, {"deadline": NOW + 3}),
        Event(M.RESTART),
        (M.WAITING, {"deadline": 0.0}),
        [],
    ),
    Case(
        "restarted",
        {"gpu_profile": "1g"},
        (M.STOPPING, {"again": True, **HELD_GPU}),
        LEFT,
        (M.WAITING, {"again": False, "restarts": 1, **HELD_GPU}),
        [M.KILL],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_transition(case: Case) -> None:
    unit = make_unit(**case.unit)
    state = state_of(case.before[0], **case.before[1])
    assert machine.step(unit, state, case.event, NOW) == case.actions
    expected = {"state": case.after[0], **case.after[1]}
    assert {key: getattr(state, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (10**12, 8.0)]
)
def test_the_delay_grows_and_is_bounded(failures: int, seconds: float) -> None:
    assert make_unit().backoff(failures) == seconds


def test_the_largest_allowed_backoff_does_not_overflow() -> None:
    unit = make_unit(backoff_first=3600.0, backoff_factor=10.0, backoff_max=86400.0)
    assert unit.backoff(1_000_000) == 86400.0
