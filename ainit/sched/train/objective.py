"""The objective of docs/gpu-scheduler.md, in numbers."""

from __future__ import annotations

import math
from functools import lru_cache

from . import metrics, run, workload
from .boards import board
from .metrics import Metrics
from .rules import Rule
from .workload import Scenario

GAMMA = 1.0
ALPHA = 0.1  # a deadline missed by every job
BETA = 0.02  # the heuristic's energy
DELTA = 0.1  # the heuristic's 99th percentile
GAVE_UP = 20.0  # the cost of a policy that does nothing but stop and start


@lru_cache(maxsize=4096)
def reference(scenario: Scenario, seed: int) -> Metrics:
    """FGD with shortest-job-first on the same jobs."""
    target, jobs = board(scenario.board), workload.make(scenario, seed)
    return metrics.of(target, jobs, run.ruled(target, jobs, scenario.gpus, Rule.FGD_SJF))


def cost(found: Metrics, beside: Metrics) -> float:
    """The negated return of an episode."""
    return (
        found.mean / beside.mean
        + ALPHA * (1 - found.slo)
        + BETA * found.energy_mj / beside.energy_mj
        + DELTA * found.p99 / beside.p99
    )


def loss(scorer: run.Scorer, scenario: Scenario, seed: int) -> float:
    """The logarithm of the cost of one episode."""
    target, jobs = board(scenario.board), workload.make(scenario, seed)
    world = run.scored(target, jobs, scenario.gpus, scorer)
    if world is None:
        return math.log(GAVE_UP)
    found = metrics.of(target, jobs, world)
    return math.log(min(cost(found, reference(scenario, seed)), GAVE_UP))
