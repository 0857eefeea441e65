"""A policy under which jobs wait longer than under the heuristic is set aside."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from ainit.sched import decide
from ainit.sched import promise as module
from ainit.sched.decide import Decider
from ainit.sched.promise import Promise
from ainit.sched.state import Request
from tests.unit.sched.fake_nvml import board
from tests.unit.sched.test_decide import Answer
from tests.unit.sched.test_place import holding
from tests.unit.sched.test_rounds import Hall

BOARDS = (board("H100-80GB", 0),)
WHOLE = {"7g.80gb": 1.0}


def job(number: int, seconds: float = 100.0) -> Request:
    return Request(f"{number}.job", WHOLE, seconds)


def served(promise: Promise, count: int, real: float) -> None:
    """So many jobs, each alone in the machine, that waited for so long in reality."""
    for number in range(count):
        at = 1000.0 * number
        promise.came(job(number), at)
        promise.advance(at, BOARDS)
        promise.served(real)
        promise.ended(f"{number}.job", "7g.80gb", 100.0)
        promise.advance(at + 500.0, BOARDS)


def test_who_waits_no_longer_is_left_alone() -> None:
    promise = Promise()
    served(promise, 20, real=20.0)
    assert promise.broken(1e5) == promise.broken(1e6) == ""


def test_who_waits_longer_for_a_while_is_told_of() -> None:
    promise = Promise()
    served(promise, 20, real=400.0)
    assert promise.broken(1e5) == ""
    assert promise.broken(1e5 + module.PATIENCE_S - 1) == ""
    why = promise.broken(1e5 + module.PATIENCE_S)
    assert why == (
        "the last 20 jobs waited 400 s on average, under the heuristic it would have been 0 s"
    )


def test_a_better_time_in_between_is_a_new_beginning() -> None:
    promise = Promise()
    served(promise, 20, real=400.0)
    assert promise.broken(1e5) == ""
    for _ in range(module.KEPT):
        promise.served(0.0)
    assert promise.broken(1e5 + 300) == ""
    for _ in range(module.KEPT):
        promise.served(400.0)
    assert promise.broken(1e5 + module.PATIENCE_S + 1) == ""


def test_few_jobs_say_nothing() -> None:
    promise = Promise()
    served(promise, module.LEAST - 1, real=1e6)
    assert promise.broken(1e5) == promise.broken(1e6) == ""


def test_a_queue_is_a_queue_for_the_heuristic_too() -> None:
    """Three jobs at once on one GPU: the second and the third wait for those before."""
    promise = Promise()
    promise.judge([job(1), job(2), job(3)], BOARDS, 0.0)
    for at in (150.0, 250.0, 350.0):
        promise.advance(at, BOARDS)
    assert sorted(promise._virtual) == [0.0, 100.0, 200.0]


def test_how_long_a_job_really_was_is_learned_when_it_ends() -> None:
    promise = Promise()
    promise.judge([job(1, 1000.0), job(2)], BOARDS, 0.0)
    promise.ended("2.job", "7g.80gb", 300.0)  # it had said 100
    promise.ended("1.job", "7g.80gb", 50.0)
    promise.advance(301.0, BOARDS)
    assert sorted(promise._virtual) == [0.0, 300.0]


def test_who_was_cancelled_is_in_nobodys_way() -> None:
    promise = Promise()
    promise.judge([job(1), job(2)], BOARDS, 0.0)
    waiting = next(iter(promise._queue))
    promise.left(waiting)
    promise.advance(1e4, BOARDS)
    assert len(promise._virtual) == 1


def test_what_services_have_is_not_there_for_jobs() -> None:
    full = (holding(BOARDS[0], ("1g.10gb", 0)),)
    promise = Promise()
    promise.judge([job(1)], full, 0.0)
    assert not promise._virtual


class Waits:
    """A policy that always waits."""

    def propose(self, rows: Any, legal: Any, boards: Collection[str]) -> Answer:
        return Answer(len(legal) - 1)


def test_a_policy_that_lets_jobs_wait_for_nothing_is_set_aside(tmp_path: Path) -> None:
    hall = Hall(tmp_path, wait_max_s=2000.0)
    decider = hall.scheduler.queueing.rounds.decider
    assert isinstance(decider, Decider)
    decider.take_over(Waits(), decide.ACTIVE)
    for number in range(40):
        name = f"{number}.job"
        assert not hall.ask(name, "7g.80gb", estimate_s=60).granted
        hall.now += 2000.0  # until room is kept for it, and it is served whatever the policy says
        if hall.ask(name, "7g.80gb", estimate_s=60, since=hall.now - 2000).granted:
            hall.now += 60.0
            hall.release(name)
        if decider.state == decide.SET_ASIDE:
            break
    assert decider.state == decide.SET_ASIDE
    assert "under the heuristic it would have been" in decider.reason
    assert hall.ask("last.job", "7g.80gb").granted
