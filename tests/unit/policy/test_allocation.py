"""A unit and its GPU instance: asked for, waited for, given, moved, taken away for another."""

from __future__ import annotations

import pytest

from ainit.policy import machine, plan
from ainit.policy import state as life
from ainit.policy.state import Event
from tests.support.units import make_unit
from tests.unit.policy.test_machine import FOR_GPU, GPU, HELD_GPU, NOW, Case, state_of

CASES = [
    Case(
        "go for a gpu",
        FOR_GPU,
        (life.WAITING, {}),
        Event(life.GO),
        (life.ALLOCATING, {"deadline": NOW + 60, "reason": "waits for a 1g"}),
        [life.ALLOCATE],
    ),
    Case(
        "go with a gpu",
        FOR_GPU,
        (life.WAITING, HELD_GPU),
        Event(life.GO),
        (life.STARTING, HELD_GPU),
        [life.SPAWN],
    ),
    Case(
        "gpu given",
        FOR_GPU,
        (life.ALLOCATING, {"deadline": NOW + 5}),
        Event(life.ALLOCATED, gpu=GPU),
        (life.STARTING, {"deadline": NOW + 10, **HELD_GPU}),
        [life.SPAWN],
    ),
    Case(
        "in the queue for a gpu",
        FOR_GPU,
        (life.ALLOCATING, {"deadline": NOW + 5}),
        Event(life.QUEUED, reason="second of two", seconds=15.0),
        (life.ALLOCATING, {"deadline": NOW + 15, "reason": "second of two", "queued": True}),
        [],
    ),
    Case(
        "who stands in the queue asks again",
        FOR_GPU,
        (life.ALLOCATING, {"deadline": NOW, "queued": True, "reason": "second of two"}),
        Event(life.DEADLINE),
        (life.ALLOCATING, {"deadline": NOW + 60, "queued": False, "reason": "second of two"}),
        [life.ALLOCATE],
    ),
    Case(
        "it may be its turn",
        FOR_GPU,
        (life.ALLOCATING, {"deadline": NOW + 15, "queued": True}),
        Event(life.TURN),
        (life.ALLOCATING, {"deadline": NOW + 60, "queued": False}),
        [life.ALLOCATE],
    ),
    Case(
        "its turn out of the queue",
        FOR_GPU,
        (life.ALLOCATING, {"deadline": NOW + 15, "queued": True}),
        Event(life.ALLOCATED, gpu=GPU),
        (life.STARTING, {"deadline": NOW + 10, "queued": False, **HELD_GPU}),
        [life.SPAWN],
    ),
    Case(
        "who leaves the queue says so",
        FOR_GPU,
        (life.ALLOCATING, {"deadline": NOW + 15, "queued": True}),
        Event(life.STOP),
        (life.INACTIVE, {"deadline": 0.0, "queued": False}),
        [life.RELEASE],
    ),
    Case(
        "a gpu is moved under who can bear it",
        {**FOR_GPU, "gpu_resizable": True},
        (life.READY, HELD_GPU),
        Event(life.MOVE, reason="its GPU instance is moved"),
        (life.STOPPING, {"again": True, "moving": True, "deadline": NOW + 5, **HELD_GPU}),
        [life.TERMINATE],
    ),
    Case(
        "a gpu is moved under nobody else",
        FOR_GPU,
        (life.READY, HELD_GPU),
        Event(life.MOVE),
        (life.READY, HELD_GPU),
        [],
    ),
    Case(
        "who is down for a move asks for another",
        {**FOR_GPU, "gpu_resizable": True},
        (life.STOPPING, {"again": True, "moving": True, **HELD_GPU}),
        Event(life.EXIT, pid=42, status=0),
        (life.WAITING, {"again": False, "moving": True, **HELD_GPU}),
        [],
    ),
    Case(
        "who is stopped in the middle of a move gives back what it had",
        {**FOR_GPU, "gpu_resizable": True},
        (life.WAITING, {"moving": True, **HELD_GPU}),
        Event(life.STOP),
        (life.INACTIVE, {"moving": False, "gpu": None}),
        [life.RELEASE],
    ),
    Case(
        "who is moved goes for one of several",
        {**FOR_GPU, "gpu_profiles": ["1g", "2g"]},
        (life.WAITING, {"moving": True, **HELD_GPU}),
        Event(life.GO),
        (life.ALLOCATING, {"moving": True, "reason": "waits for a 1g or 2g"}),
        [life.ALLOCATE],
    ),
    Case(
        "the other gpu is there",
        FOR_GPU,
        (life.ALLOCATING, {"moving": True, "gpu": {"uuid": "MIG-9"}}),
        Event(life.ALLOCATED, gpu=GPU),
        (life.STARTING, {"moving": False, **HELD_GPU}),
        [life.SPAWN],
    ),
    Case(
        "there is no other gpu, and none is required",
        {**FOR_GPU, "gpu_required": False},
        (life.ALLOCATING, {"moving": True, **HELD_GPU}),
        Event(life.NOT_ALLOCATED, reason="full"),
        (life.STARTING, {"moving": False, "gpu": None}),
        [life.RELEASE, life.SPAWN],
    ),
    Case(
        "gpu denied",
        FOR_GPU,
        (life.ALLOCATING, {}),
        Event(life.NOT_ALLOCATED, reason="full"),
        (life.BACKOFF, {"reason": "full", "deadline": NOW + 1}),
        [],
    ),
    Case(
        "gpu never",
        FOR_GPU,
        (life.ALLOCATING, {"deadline": NOW}),
        Event(life.DEADLINE),
        (life.BACKOFF, {"reason": "no GPU instance in 60 s"}),
        [],
    ),
    Case(
        "gpu denied and not required",
        {**FOR_GPU, "gpu_required": False},
        (life.ALLOCATING, {}),
        Event(life.NOT_ALLOCATED, reason="no driver"),
        (life.STARTING, {"reason": "without a GPU: no driver", "deadline": NOW + 10}),
        [life.SPAWN],
    ),
    Case(
        "gpu never and not required",
        {**FOR_GPU, "gpu_required": False},
        (life.ALLOCATING, {"deadline": NOW}),
        Event(life.DEADLINE),
        (life.STARTING, {"reason": "without a GPU: no GPU instance in 60 s"}),
        [life.SPAWN],
    ),
    Case(
        "gpu twice",
        FOR_GPU,
        (life.READY, HELD_GPU),
        Event(life.ALLOCATED, gpu=GPU),
        (life.READY, HELD_GPU),
        [],
    ),
    Case(
        "denied with a gpu",
        FOR_GPU,
        (life.STARTING, {"pid": 0, **HELD_GPU}),
        Event(life.DENIED, reason="unsigned"),
        (life.REFUSED, {"gpu": None, "reason": "unsigned", "deadline": 0.0}),
        [life.RELEASE],
    ),
    Case(
        "stop in a delay gives the gpu back",
        FOR_GPU,
        (life.BACKOFF, {"deadline": NOW, **HELD_GPU}),
        Event(life.STOP),
        (life.INACTIVE, {"gpu": None, "deadline": 0.0}),
        [life.RELEASE],
    ),
    Case(
        "held in a delay, the gpu goes back",
        FOR_GPU,
        (life.BACKOFF, {"deadline": NOW, **HELD_GPU}),
        Event(life.HOLD, reason="triggered too often"),
        (life.FAILED, {"gpu": None, "deadline": 0.0, "reason": "triggered too often"}),
        [life.RELEASE],
    ),
    Case(
        "gpu revoked while it is up",
        {**FOR_GPU, "type": plan.NOTIFY},
        (life.READY, HELD_GPU),
        Event(life.REVOKED, gpu=GPU, reason="GPU 0 is lost"),
        (
            life.STOPPING,
            {"gpu": GPU, "moving": True, "again": True, "reason": "GPU 0 is lost", "desired": "up"},
        ),
        [life.TERMINATE],
    ),
    Case(
        "gpu revoked while it waits to start anew",
        FOR_GPU,
        (life.BACKOFF, {**HELD_GPU, "deadline": NOW + 5}),
        Event(life.REVOKED, gpu=GPU, reason="GPU 0 is lost"),
        (life.BACKOFF, {"gpu": GPU, "moving": True, "deadline": NOW + 5}),
        [],
    ),
    Case(
        "gpu revoked while it stops",
        FOR_GPU,
        (life.STOPPING, {**HELD_GPU, "desired": "down", "deadline": NOW + 5}),
        Event(life.REVOKED, gpu=GPU, reason="GPU 0 is lost"),
        (life.STOPPING, {"gpu": GPU, "moving": True, "desired": "down", "again": False}),
        [],
    ),
    Case(
        "another gpu revoked",
        FOR_GPU,
        (life.READY, HELD_GPU),
        Event(life.REVOKED, gpu={"uuid": "MIG-1"}, reason="GPU 1 is lost"),
        (life.READY, HELD_GPU),
        [],
    ),
    Case(
        "go with a gpu that was revoked",
        FOR_GPU,
        (life.WAITING, {"gpu": GPU, "moving": True}),
        Event(life.GO),
        (life.ALLOCATING, {"gpu": GPU, "moving": True, "deadline": NOW + 60}),
        [life.ALLOCATE],
    ),
    Case(
        "another gpu given",
        FOR_GPU,
        (life.ALLOCATING, {"gpu": GPU, "moving": True, "deadline": NOW + 5}),
        Event(life.ALLOCATED, gpu={"uuid": "MIG-1"}),
        (life.STARTING, {"gpu": {"uuid": "MIG-1"}, "moving": False}),
        [life.SPAWN],
    ),
    Case(
        "no other gpu and none required",
        {**FOR_GPU, "gpu_required": False},
        (life.ALLOCATING, {"gpu": GPU, "moving": True}),
        Event(life.NOT_ALLOCATED, reason="full"),
        (life.STARTING, {"gpu": None, "reason": "without a GPU: full"}),
        [life.RELEASE, life.SPAWN],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_transition(case: Case) -> None:
    unit = make_unit(**case.unit)
    state = state_of(case.before[0], **case.before[1])
    assert machine.step(unit, state, case.event, NOW) == case.actions
    expected = {"state": case.after[0], **case.after[1]}
    assert {key: getattr(state, key) for key in expected} == expected
