"""Windows of up to 16 jobs, all there at the start, against the optimum that CP-SAT finds.

One optional interval for each job and placement, no two overlapping on a memory slice; the sum of
ends is least. Lengths are known, nothing is stopped, and instances cost nothing to the solver,
which is warm-started with the best that rules, partitions and the policy without moves found. The
policy pays for its instances, and may stop and move.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np

from . import metrics, run, static, workload
from .boards import Board, board
from .engine import SLOTS, Jobs, World
from .rules import Rule
from .workload import MISO, Scenario

SECONDS = 10.0
SCALE = 10.0  # of the solver's clock: tenths of a second


@dataclass(frozen=True, slots=True)
class Window:
    """A window's mean completion times, in seconds, and whether the solver proved its own."""

    policy: float
    without_moves: float
    fallback: float
    static: float
    solver: float
    bound: float
    proved: bool


def jobs_of(number: int, target: str, gpus: int, count: int) -> Jobs:
    """A window's jobs, all there at time zero."""
    scenario = Scenario(gpus, 1.0, target, jobs=count, split="test", durations=MISO, inference=0.0)
    jobs = workload.make(scenario, 5000 + number)
    return jobs._replace(
        arrival=np.zeros(count),
        deadline=jobs.deadline - jobs.arrival,
        fails=np.zeros(count, np.bool_),
    )


def window(number: int, scorer: run.Scorer) -> Window:
    """One window: 10 to 16 jobs on one or two GPUs."""
    name = ("A100-40GB", "H100-80GB")[number % 2]
    gpus, count = 1 + number // 2 % 2, 10 + 2 * (number % 4)
    target, jobs = board(name), jobs_of(number, name, gpus, count)

    def mean(world: World | None) -> float:
        return float("inf") if world is None else metrics.of(target, jobs, world).mean

    policy = run.scored(target, jobs, gpus, scorer)
    unmoved = run.scored(target, jobs, gpus, scorer._replace(moves=False))
    fallback = run.ruled(target, jobs, gpus, Rule.FGD_SJF)
    fixed = min((partitioned(target, jobs, gpus, each) for each in usable(name, jobs)), key=mean)
    hint = min((fixed, fallback, unmoved or fallback), key=mean)
    least, bound, proved = solve(target, jobs, gpus, hint)
    return Window(
        mean(policy),
        mean(unmoved),
        mean(fallback),
        mean(fixed),
        min(least, mean(hint)),
        bound,
        proved,
    )


def usable(name: str, jobs: Jobs) -> list[tuple[int, ...]]:
    """The partitions that can hold all jobs."""
    return [each for each in static.partitions(name) if static.able(board(name), jobs, each)]


def partitioned(target: Board, jobs: Jobs, gpus: int, partition: tuple[int, ...]) -> World:
    """The world after shortest-job-first on a static partition."""
    return run.ruled(target, jobs, gpus, Rule.STATIC_SJF, static.allowed(target, partition))


def solve(
    target: Board, jobs: Jobs, gpus: int, hint: World, seconds: float = SECONDS
) -> tuple[float, float, bool]:
    """Least mean completion time found, the solver's bound of it, and whether they are one."""
    cp = importlib.import_module("ortools.sat.python.cp_model")
    model = cp.CpModel()
    count, places = len(jobs.work), len(target.mask)
    horizon = int(SCALE * (jobs.work / np.where(jobs.speeds > 0, jobs.speeds, 1).max(1)).sum()) + 1
    taken: list[list[list[object]]] = [[[] for _ in range(SLOTS)] for _ in range(gpus)]
    ends = []
    for job in range(count):
        end, chosen = model.new_int_var(0, horizon * 4, ""), []
        for gpu in range(gpus):
            for place in range(places):
                speed = jobs.speeds[job, target.profile[place]]
                if speed <= 0:
                    continue
                length = max(int(SCALE * jobs.work[job] / speed), 1)
                here = model.new_bool_var("")
                begin = model.new_int_var(0, horizon * 4, "")
                interval = model.new_optional_interval_var(begin, length, begin + length, here, "")
                model.add(end == begin + length).only_enforce_if(here)
                hinted = hint.gpu[job] == gpu and hint.place[job] == place
                model.add_hint(here, bool(hinted))
                model.add_hint(begin, max(int(SCALE * hint.finish[job]) - length, 0))
                chosen.append(here)
                for slot in range(SLOTS):
                    if target.mask[place] >> slot & 1:
                        taken[gpu][slot].append(interval)
        model.add_exactly_one(chosen)
        model.add_hint(end, int(SCALE * hint.finish[job]))
        ends.append(end)
    for intervals in [each for slots in taken for each in slots]:
        model.add_no_overlap(intervals)
    model.minimize(sum(ends))
    solver = cp.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    if status not in (cp.OPTIMAL, cp.FEASIBLE):
        return float("nan"), float("nan"), False
    scale = SCALE * count
    return (
        solver.objective_value / scale,
        solver.best_objective_bound / scale,
        status == cp.OPTIMAL,
    )
