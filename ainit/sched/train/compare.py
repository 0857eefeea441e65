"""One cell of the comparison: every policy on the same jobs, seed by seed.

compare.cell(cells.CELLS[0], scorer, report)     # {"learned": [{"mean": …}, …], "fgd_sjf": …}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from . import bound, metrics, run, static, weights, workload
from .boards import board
from .cells import SEEDS, Cell
from .metrics import Metrics
from .rules import Rule
from .workload import GAMMA, Scenario

LEARNED, UNMOVED, BY_HAND, TUNED, HINDSIGHT, MISO, BOUND = (
    "learned", "learned_without_moves", "by_hand_with_moves", "static_tuned", "static_hindsight",
    "miso_oracle", "bound",
)  # fmt: skip
RULES = {
    "whole_gpu_fifo": Rule.WHOLE_FIFO,
    "first_fit": Rule.FIRST_FIT,
    "best_fit": Rule.BEST_FIT,
    "fgd": Rule.FGD,
    "fgd_sjf": Rule.FGD_SJF,
    "moldable_sjf": Rule.MOLDABLE_SJF,
    "moldable_easy": Rule.MOLDABLE_EASY,
}
FALLBACK = "fgd_sjf"
TUNING_SEEDS = 8
FIRST_SEED = 1000

Results = dict[str, list[dict[str, float]]]


@cache
def tuned(scenario: Scenario) -> tuple[int, ...]:
    """The partition that does best on the training split: same board, GPUs, load and noise."""
    known = replace(scenario, split="train", held_out=False, arrivals=GAMMA)
    sums: dict[tuple[int, ...], list[float]] = {}
    for seed in range(TUNING_SEEDS):
        found = static.means(known.board, workload.make(known, seed), known.gpus)
        least = min(each.mean for each in found.values())
        for partition, each in found.items():
            sums.setdefault(partition, []).append(np.log(each.mean / least))
    whole = {each: logs for each, logs in sums.items() if len(logs) == TUNING_SEEDS}
    return min(whole, key=lambda each: sum(whole[each]))


def seed_of(cell: Cell, scorer: run.Scorer, seed: int) -> dict[str, dict[str, float]]:
    """All policies on the jobs of one seed."""
    scenario = cell.scenario
    target, jobs = board(scenario.board), workload.make(scenario, FIRST_SEED + seed)
    gpus = scenario.gpus
    found: dict[str, Metrics] = {
        name: metrics.of(target, jobs, run.ruled(target, jobs, gpus, rule))
        for name, rule in RULES.items()
    }
    scorers = {
        LEARNED: scorer,
        UNMOVED: scorer._replace(moves=False),
        BY_HAND: weights.scorer(weights.start()),
    }
    for name, each in scorers.items():
        world = run.scored(target, jobs, gpus, each)
        if world is None:
            raise RuntimeError(f"{cell.name}, seed {seed}: the policy stops and starts for ever")
        found[name] = metrics.of(target, jobs, world)
    partitions = static.means(scenario.board, jobs, gpus)
    found[HINDSIGHT] = min(partitions.values(), key=lambda each: each.mean)
    found[TUNED] = partitions[tuned(scenario)]
    found[MISO] = metrics.of(target, jobs, run.planned(target, jobs, gpus))
    rows = {name: each._asdict() for name, each in found.items()}
    rows[BOUND] = {"mean": bound.mean(target, jobs, gpus)}
    return rows


def cell(
    each: Cell, scorer: run.Scorer, report: Callable[[str], None], seeds: int = SEEDS
) -> Results:
    """All policies on all seeds."""
    results: Results = {}
    for seed in range(seeds):
        for name, row in seed_of(each, scorer, seed).items():
            results.setdefault(name, []).append(row)
        report(f"{each.name}: seed {seed + 1} of {seeds}")
    return results
