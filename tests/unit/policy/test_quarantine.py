"""What becomes of a unit in quarantine, and what it is when it is let go."""

from __future__ import annotations

import pytest

from ainit.policy import machine, plan, quarantine
from ainit.policy import state as life
from ainit.policy.state import Event, State
from tests.support.units import make_unit

NOW = 1000.0
GPU: dict[str, object] = {"uuid": "MIG-0"}


class Unit:
    """One unit, and what is asked of it."""

    def __init__(self, state: str, **keys: object) -> None:
        self.unit = make_unit(**keys)
        self.state = State("u")
        self.state.state, self.state.desired = state, life.UP
        if state in life.RUNNING:
            self.state.pid = 42

    def feed(self, kind: str, now: float = NOW, **fields: object) -> list[str]:
        event = Event(kind, **fields)  # type: ignore[arg-type]
        return machine.step(self.unit, self.state, event, now)

    def hold(self) -> Unit:
        self.feed(life.QUARANTINE, reason="odd")
        return self


def test_it_has_some_seconds_to_stand_still() -> None:
    held = Unit(life.READY).hold()
    assert (held.state.state, held.state.reason) == (life.QUARANTINED, "odd")
    assert held.state.deadline == NOW + quarantine.FREEZE_SECONDS
    assert held.feed(life.DEADLINE, NOW + 1) == []
    assert held.feed(life.DEADLINE, NOW + quarantine.FREEZE_SECONDS) == [life.EVIDENCE]
    assert held.state.reason == "odd; a process has not stopped in 5 s"
    assert held.feed(life.FROZEN, NOW + 60) == []  # what there was to see was kept
    assert held.state.reason == "odd"


def test_a_second_reason_does_not_replace_the_first() -> None:
    held = Unit(life.READY).hold()
    assert held.feed(life.QUARANTINE, reason="something else") == []
    assert held.state.quarantine == "odd"


def test_one_without_a_reason_has_one_all_the_same() -> None:
    held = Unit(life.READY)
    held.feed(life.QUARANTINE)
    assert held.state.quarantine


@pytest.mark.parametrize(
    ("was", "seconds"), [(life.STARTING, 10.0), (life.READY, 0.0), (life.STOPPING, 5.0)]
)
def test_what_was_under_way_goes_on_with_its_full_time(was: str, seconds: float) -> None:
    held = Unit(was, stop_timeout=5.0).hold()
    later = NOW + 3600
    assert held.feed(life.LET_GO, later) == [life.THAW]
    assert (held.state.state, held.state.pid) == (was, 42)
    assert held.state.deadline == (later + seconds if seconds else 0.0)
    assert not held.state.quarantine


def test_its_watchdog_rests_meanwhile() -> None:
    held = Unit(life.READY, type=plan.NOTIFY)
    held.state.watchdog, held.state.watchdog_at = 3.0, NOW + 3
    held.hold().feed(life.FROZEN)
    assert held.state.next_deadline == 0.0
    held.feed(life.LET_GO, NOW + 60)
    assert held.state.watchdog_at == NOW + 63


def test_what_it_had_said_before_it_froze_counts() -> None:
    held = Unit(life.STARTING, type=plan.NOTIFY).hold()
    assert held.feed(life.NOTIFIED_READY) == []
    assert held.state.state == life.QUARANTINED
    held.feed(life.LET_GO, NOW + 60)
    assert (held.state.state, held.state.ready_at) == (life.READY, NOW + 60)


def test_a_stop_kills_it_and_it_stays() -> None:
    held = Unit(life.READY).hold()
    held.state.gpu = GPU
    assert held.feed(life.STOP) == [life.KILL]
    assert held.feed(life.DEADLINE, NOW + 60) == [life.KILL]  # again, as of any other
    assert held.feed(life.EXIT, pid=42, status=-9, left=False) == [life.RELEASE, life.EVIDENCE]
    assert held.state.state == life.QUARANTINED
    assert held.state.is_stopped
    held.feed(life.LET_GO)
    assert held.state.state == life.INACTIVE


def test_killed_from_outside_it_stays_and_starts_when_it_is_let_go() -> None:
    held = Unit(life.READY).hold()
    assert held.feed(life.EXIT, pid=42, status=-9, reason="killed by signal 9") == [life.KILL]
    assert held.state.state == life.DRAINING
    assert held.feed(life.EMPTIED) == [life.EVIDENCE]
    assert held.state.reason == "odd; killed by signal 9"
    held.feed(life.LET_GO)
    assert held.state.state == life.WAITING


def test_a_job_that_was_killed_is_not_run_again() -> None:
    held = Unit(life.READY, restart=plan.NEVER).hold()
    held.feed(life.EXIT, pid=42, status=-9, reason="killed by signal 9")
    held.feed(life.EMPTIED)
    held.feed(life.LET_GO)
    assert (held.state.state, held.state.desired) == (life.INACTIVE, life.DOWN)


def test_a_gpu_that_may_not_be_used_any_more_is_not_held() -> None:
    held = Unit(life.READY, gpu_profile="1g").hold()
    held.state.gpu = GPU
    assert held.feed(life.REVOKED, gpu=GPU, reason="its GPU is lost") == [life.KILL]
    assert life.RELEASE in held.feed(life.EXIT, pid=42, status=-9)
    assert held.state.state == life.QUARANTINED


@pytest.mark.parametrize("name", life.DOWN_STATES)
def test_what_is_down_is_kept_down_and_is_what_it_was_afterwards(name: str) -> None:
    held = Unit(name)
    held.state.reason = "unsigned"
    assert held.feed(life.QUARANTINE, reason="odd") == [life.EVIDENCE]
    held.feed(life.HOLD, reason="triggered too often")
    assert held.feed(life.GO) == []
    held.feed(life.LET_GO)
    assert (held.state.state, held.state.reason, held.state.ended) == (name, "unsigned", "")


@pytest.mark.parametrize("name", [life.INACTIVE, life.FAILED, life.BACKOFF])
def test_what_is_wanted_meanwhile_comes_afterwards(name: str) -> None:
    held = Unit(name).hold()
    assert held.feed(life.START) == []
    assert held.state.state == life.QUARANTINED
    held.feed(life.LET_GO)
    assert held.state.state == life.WAITING
    held.hold().feed(life.STOP)
    held.feed(life.LET_GO)
    assert held.state.state == life.INACTIVE


def test_who_stood_in_the_queue_for_a_gpu_leaves_it() -> None:
    held = Unit(life.ALLOCATING, gpu_profile="1g")
    assert held.feed(life.QUARANTINE, reason="odd") == [life.RELEASE, life.EVIDENCE]
    assert held.feed(life.ALLOCATED, gpu=GPU) == [life.RELEASE]


def test_what_was_being_killed_ends_in_it() -> None:
    held = Unit(life.DRAINING)
    held.state.was = life.READY
    assert held.feed(life.QUARANTINE, reason="odd") == []
    assert held.feed(life.EMPTIED) == [life.EVIDENCE]
    assert held.state.state == life.QUARANTINED


def test_let_go_on_its_way_down_it_goes_down_as_any_other() -> None:
    held = Unit(life.READY).hold()
    held.feed(life.STOP)
    assert held.feed(life.LET_GO) == [life.THAW]
    held.feed(life.EXIT, pid=42, status=-9)
    assert held.state.state == life.INACTIVE


def test_a_target_has_nothing_to_freeze() -> None:
    held = Unit(life.READY, type=plan.TARGET).hold()
    assert (held.state.state, held.state.quarantine) == (life.READY, "")


def test_nobody_is_let_go_who_was_not_held() -> None:
    free = Unit(life.READY)
    assert free.feed(life.LET_GO) == []
    assert free.feed(life.FROZEN) == []
    assert free.state.state == life.READY
