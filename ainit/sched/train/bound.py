"""A lower bound of the mean completion time, for any policy that knows everything.

Preemptive shortest-remaining-first on one machine of all memory slices, each job needing its least
slice-seconds; and no job ends sooner than on its fastest profile. The greater of the two holds.
"""

from __future__ import annotations

import heapq

import numpy as np

from .boards import Board
from .engine import NEVER, SLOTS, Jobs


def mean(board: Board, jobs: Jobs, gpus: int) -> float:
    """The bound, in seconds."""
    with np.errstate(divide="ignore"):
        times = np.where(jobs.speeds > 0, jobs.work[:, None] / jobs.speeds, NEVER)
    areas = (times * board.memory).min(axis=1) / (SLOTS * gpus)
    waiting: list[tuple[float, int]] = []
    now, total = 0.0, 0.0
    for job in [*range(len(areas)), -1]:
        until = jobs.arrival[job] if job >= 0 else NEVER
        while waiting and now < until:
            left, who = heapq.heappop(waiting)
            if now + left <= until:
                now += left
                total += now - jobs.arrival[who]
            else:
                heapq.heappush(waiting, (left - (until - now), who))
                break
        now = until
        if job >= 0:
            heapq.heappush(waiting, (float(areas[job]), job))
    return max(total / len(areas), float(times.min(axis=1).mean()))
