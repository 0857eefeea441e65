"""What a run amounts to. Energy is modelled, everything is simulated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .boards import Board
from .engine import BUSY_SLICES, BUSY_SMS, LOST, NOW, SLOTS, STOPPED, STRANDED, Jobs, World

IDLE_W = 60.0  # ACME's clusters, A100-80GB (InternLM/AcmeTrace): idle 60 W, p90 395 to 404 W
BOUND_S = 10.0  # of the bounded slowdown


class Metrics(NamedTuple):
    """Of one run. Times in seconds; ``slo``: share of deadlines kept; ``utilised``: of the memory
    slices, while jobs came and ran; ``stranded``: free slices that an average profile cannot use,
    of all; ``energy_mj``: modelled; ``created``: instances made by job; ``stopped``: stops by job.
    """

    mean: float
    p99: float
    slowdown: float
    slo: float
    utilised: float
    busy_sms: float
    stranded: float
    energy_mj: float
    created: float
    stopped: float
    lost: float
    longest: float


def of(board: Board, jobs: Jobs, world: World) -> Metrics:
    """The metrics of a run that has ended."""
    took = world.finish - jobs.arrival
    with np.errstate(divide="ignore"):
        best = (jobs.work[:, None] / np.where(jobs.speeds > 0, jobs.speeds, 1e-9)).min(axis=1)
    span = float(world.clock[NOW]) * len(world.filled)
    watts = IDLE_W * span + (board.watts - IDLE_W) * world.clock[BUSY_SMS]
    n = len(took)
    return Metrics(
        float(took.mean()),
        float(np.quantile(took, 0.99)),
        float((took / np.maximum(best, BOUND_S)).mean()),
        float((world.finish <= jobs.deadline).mean()),
        float(world.clock[BUSY_SLICES] / (span * SLOTS)),
        float(world.clock[BUSY_SMS] / span),
        float(world.clock[STRANDED] / (span * SLOTS)),
        float(watts / 1e6),
        float(world.starts.sum() / n),
        float(world.clock[STOPPED] / n),
        float(world.clock[LOST] / n),
        float(took.max()),
    )
