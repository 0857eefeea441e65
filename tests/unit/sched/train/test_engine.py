from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ainit.sched.train import bound, engine, metrics, options, run, static, workload
from ainit.sched.train.boards import Board, board, names
from ainit.sched.train.engine import Jobs, World
from ainit.sched.train.rules import Rule
from ainit.sched.train.workload import Scenario

SCENARIO = Scenario(2, 0.9, burst=4.0, sigma=1.0, jobs=40)
A100 = board("A100-40GB")


def check(target: Board, jobs: Jobs, world: World) -> None:
    """Nothing overlaps, and masks say what runs."""
    for gpu in range(len(world.filled)):
        taken = 0
        for job in world.running[gpu, : world.filled[gpu]]:
            bits = int(target.mask[world.place[job]])
            assert not bits & taken
            assert jobs.speeds[job, target.profile[world.place[job]]] > 0
            taken |= bits
        assert taken == world.occupied[gpu]
        assert not taken & world.held[gpu]


@pytest.mark.parametrize("name", names())
def test_random_decisions_keep_gpus_whole_and_finish_every_job(name: str) -> None:
    target = board(name)
    jobs = workload.make(replace(SCENARIO, board=name), 1)
    jobs = jobs._replace(fails=np.arange(40) % 3 == 0)
    world, buffers = engine.new_world(jobs, 2), options.new_options(target, 2)
    random = np.random.default_rng(2)
    while engine.advance(target, jobs, world):
        for _ in range(3):
            count = options.fill(target, jobs, world, buffers, True)
            what = buffers.what[int(random.integers(count))].copy()
            run.take(target, jobs, world, what)
            check(target, jobs, world)
        if int(world.clock[engine.NOW]) > 10**7:
            break
    assert (world.status == engine.DONE).all()
    best = np.where(jobs.speeds > 0, jobs.work[:, None] / np.maximum(jobs.speeds, 1e-9), 1e18)
    assert (world.finish - jobs.arrival >= best.min(axis=1) - 1e-6).all()


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_ends_above_the_bound(rule: Rule) -> None:
    jobs = workload.make(SCENARIO, 3)
    partition = next(
        each for each in static.partitions("A100-40GB") if static.able(A100, jobs, each)
    )
    usable = static.allowed(A100, partition) if rule is Rule.STATIC_SJF else None
    found = metrics.of(A100, jobs, run.ruled(A100, jobs, 2, rule, usable))
    assert found.mean >= bound.mean(A100, jobs, 2)
    assert 0.0 <= found.slo <= 1.0
    assert 0.0 < found.utilised <= 1.0


def test_the_planner_runs_all_and_pays_for_moves() -> None:
    jobs = workload.make(SCENARIO, 4)
    found = metrics.of(A100, jobs, run.planned(A100, jobs, 2))
    assert found.mean >= bound.mean(A100, jobs, 2)
    assert found.created == pytest.approx(1 + found.stopped)


def test_work_that_is_stopped_is_kept_and_starting_again_costs() -> None:
    jobs = workload.make(replace(SCENARIO, jobs=2), 5)
    jobs = jobs._replace(
        arrival=np.array([0.0, 50.0]), work=np.array([100.0, 10.0]), estimate=np.array([1e5, 10.0]),
        speeds=np.ones_like(jobs.speeds), restart=np.array([30.0, 0.0]), drain=np.array([5.0, 0.0]),
        change=np.array([0.0, 0.0]), movable=np.array([True, True]), fails=np.zeros(2, np.bool_),
    )  # fmt: skip
    whole = len(A100.mask) - 1
    world = engine.new_world(jobs, 1)
    engine.advance(A100, jobs, world)
    engine.start(A100, jobs, world, 0, 0, whole)
    engine.advance(A100, jobs, world)
    engine.start(A100, jobs, world, 1, 0, whole)
    assert world.attained[0] == 50.0
    while world.status[1] != engine.DONE:
        engine.advance(A100, jobs, world)
    assert world.finish[1] == 50.0 + 5.0 + 10.0  # it waits for the checkpoint
    engine.start(A100, jobs, world, 0, 0, whole)
    while engine.advance(A100, jobs, world):
        pass
    assert world.finish[0] == 65.0 + 30.0 + 50.0


def test_a_destroy_that_fails_holds_its_slices_for_a_minute() -> None:
    jobs = workload.make(replace(SCENARIO, jobs=1), 6)
    jobs = jobs._replace(fails=np.array([True]), speeds=np.ones_like(jobs.speeds))
    later = jobs._replace(**{
        name: np.concatenate([getattr(jobs, name)] * 2) for name in jobs._fields
    })  # fmt: skip
    later.arrival[1] = 1e6
    world = engine.new_world(later, 1)
    engine.advance(A100, later, world)
    engine.start(A100, later, world, 0, 0, 0)
    engine.advance(A100, later, world)
    assert world.held[0] == A100.mask[0]
    engine.advance(A100, later, world)
    assert (world.held[0], world.clock[engine.NOW]) == (0, world.finish[0] + engine.QUARANTINE_S)


def test_there_are_as_many_partitions_as_nvidia_lists() -> None:
    """18 and 4g+3g, without the double-memory profile; all of them, 38 kinds of sets."""
    plain = [
        each
        for each in static.partitions("A100-40GB")
        if all(A100.profile[place] != 1 for place in each)
    ]
    assert len(static.partitions("A100-40GB")) == 38
    assert 10 <= len(plain) <= 19
