"""A scenario and a seed become jobs. The same seed gives the same jobs to every policy.

Load is by area: what the jobs need at least (memory slices times seconds, on their thriftiest
profile) over what the GPUs have while they come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .boards import Board, Floats, board
from .engine import NEVER, SLOTS, Jobs
from .traces import SHARES, Kind, Source, source

GAMMA, REPLAYED, REQUESTS = "gamma", "replayed", "requests"
OPENB, MISO = "openb", "miso"

# Constants of published measurements. Instances: artecs-group's MIG scheduler, A100, by size.
# Reload: Alibaba's GenAI trace of 2026, load of a base model, p50 22.7 s, p90 42.0 s. Checkpoint
# and the rate of failed destroys are assumptions.
CREATE_S = (0.16, 0.24)
DESTROY_S = (0.20, 0.22)
SPREAD = 0.5
CHECKPOINT_S = (2.0, 10.0)
RELOAD_MEDIAN_S = 22.7
RELOAD_SIGMA = np.log(42.0 / 22.7) / 1.2816
FAILS = 0.005
DEADLINE = (2.0, 6.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated. ``burst``: coefficient of variation of the gaps between arrivals;
    ``sigma``: of the logarithm of estimates over lengths; ``inference``: share of that class, which
    may not be stopped; ``restarts``: whether anything may.
    """

    gpus: int
    load: float
    board: str = "A100-40GB"
    burst: float = 1.0
    sigma: float = 0.0
    jobs: int = 400
    split: str = "train"
    held_out: bool = False
    arrivals: str = GAMMA
    durations: str = OPENB
    inference: float = 0.2


def speeds_on(target: Board, kind: Kind) -> Floats:
    """Speeds of a kind by profile of a board: those measured, by share of the SMs in between.

    Below the least slice that was measured speed falls as it did above it.
    """
    measured = np.array(kind.speeds)
    known = measured > 0.0
    x, y = np.log(SHARES[known]), np.log(measured[known])
    slope = (y[1] - y[0]) / (x[1] - x[0])
    points = np.log(target.share)
    values = np.where(points < x[0], y[0] + slope * (points - x[0]), np.interp(points, x, y))
    fits = (target.mib >= kind.floor_mib) | (np.arange(len(points)) == len(points) - 1)
    return np.where(fits, np.minimum(np.exp(values), 1.0), 0.0)


@lru_cache(maxsize=256)
def make(scenario: Scenario, seed: int) -> Jobs:
    """The jobs of a scenario."""
    random = np.random.default_rng((seed, 20_260_730))
    target = board(scenario.board)
    offered = source(scenario.split, scenario.held_out)
    n = scenario.jobs
    table = offered.durations if scenario.durations == OPENB else offered.miso
    work = random.choice(table, n)
    kinds = _draw_kinds(offered, scenario.inference, n, random)
    curves = np.array([speeds_on(target, kind) for kind in offered.kinds])
    speeds = np.ascontiguousarray(curves[kinds])
    inference = np.array([kind.inference for kind in offered.kinds])[kinds]
    with np.errstate(divide="ignore"):
        times = np.where(speeds > 0.0, work[:, None] / speeds, NEVER)
    area = (times * target.memory).min(axis=1)
    gaps = _gaps(scenario, offered, n, random)
    span = area.sum() / (scenario.load * SLOTS * scenario.gpus)
    arrival = np.cumsum(gaps * span / gaps.sum())
    arrival -= arrival[0]
    noise = np.exp(scenario.sigma * random.standard_normal(n))
    reload = RELOAD_MEDIAN_S * np.exp(RELOAD_SIGMA * random.standard_normal(n))
    drain = random.uniform(*CHECKPOINT_S, n)
    change = (random.uniform(*CREATE_S, n) + random.uniform(*DESTROY_S, n)) * random.uniform(
        1 - SPREAD, 1 + SPREAD, n
    )
    return Jobs(
        arrival,
        work,
        work * noise,
        speeds,
        reload * random.uniform(1 - SPREAD, 1 + SPREAD, n) + drain,
        drain,
        arrival + random.uniform(*DEADLINE, n) * times.min(axis=1),
        change,
        ~inference,
        random.random(n) < FAILS,
    )


def _draw_kinds(
    offered: Source, inference: float, count: int, random: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The kind of each job, evenly within its class."""
    classes = np.array([kind.inference for kind in offered.kinds])
    weights = np.where(classes, inference / classes.sum(), (1 - inference) / (~classes).sum())
    return random.choice(len(classes), count, p=weights / weights.sum())


def _gaps(scenario: Scenario, offered: Source, count: int, random: np.random.Generator) -> Floats:
    """Gaps between arrivals, of any scale: drawn, or a stretch of a trace."""
    trace = {REPLAYED: offered.gaps, REQUESTS: offered.requests}.get(scenario.arrivals)
    if trace is not None and len(trace):
        first = int(random.integers(max(len(trace) - count, 1)))
        return np.resize(np.roll(trace, -first), count)
    burst = scenario.burst if scenario.arrivals == GAMMA else 4.0
    shape = 1.0 / burst**2
    return np.maximum(random.gamma(shape, 1.0 / shape, count), 1e-9)
