"""What the policy sees of a candidate. PURE, and the same code in training and service.

A row is two halves: ``request`` describes who would run with which profile, ``placement`` where.
Every feature lies in 0..1: times and areas by their logarithm, ratios by theirs up to sixteen.
``SCHEMA`` is a digest over names and meaning: a policy carries the one it was trained on in its
metadata, and is refused when it differs.

The functions of ``KERNELS`` take and give numbers only, so that training can compile them.
"""

from __future__ import annotations

import hashlib
import math

from ..wire.codec import canonical

REQUEST = (
    "waits",  # 1: do nothing until something happens; all but the next four are 0 then
    "pressure",  # requests that wait, over themselves and the GPUs
    "backlog",  # seconds that the waiting work would take, were it spread evenly
    "idle",  # free slices of all GPUs, of all
    "waited",  # seconds since the request came (of the oldest, for `waits`)
    "slower",  # run time, against the request's fastest profile
    "wasteful",  # slice-seconds, against its thriftiest profile
    "dearer",  # run time and what the others wait for these slices, against its cheapest profile
    "later",  # its end, against the earliest end if it waits for another placement
    "duration",  # seconds
    "area",  # slice-seconds
    "longer",  # its least area, against the least in the queue, up to 10^4
    "than_mean",  # its least area, against the mean of the queue: 0.5 is the mean, 10^3 either way
    "slowdown",  # time waited, over that and its shortest run time
    "misses",  # 1: it would miss its deadline
    "tight",  # run time over the time to the deadline, when it keeps it
    "oldest",  # 1: no request has waited longer
    "moves",  # 1: it runs already, and would be moved
    "gain",  # the time to its end where it is, against that after the move
    "saved",  # seconds by which the move brings its end forward
    "used",  # work done over the estimate, of 2: from 0.5 on it outruns what it said
    "again",  # what starting it again costs, of its run time
    "size",  # memory slices, of the board's
    "crowded",  # size times pressure
)
PLACEMENT = (
    "strands",  # free slices that an average profile cannot use any more, of 8
    "mends",  # free slices that an average profile can use again, of 8
    "free",  # free slices afterwards, of 8
    "opens",  # 1: the GPU is empty now
    "shrinks",  # memory slices by which the largest free placement shrinks, of 8
    "half_until",  # seconds until the rest of its half of the board is free
    "gpu_until",  # seconds until the rest of its GPU is free
    "displaces",  # how many that run would be stopped, of 7
    "displaced_area",  # slice-seconds that they have left
    "displaced_until",  # seconds that the longest of them has left
    "displaced_since",  # seconds that the latest of them has run
    "displaced_cost",  # seconds that starting them again costs
    "displaced_used",  # the most work done over the estimate among them, of 2
    "held",  # slices of the GPU that are held back, of 8
)
NAMES = REQUEST + PLACEMENT
KERNELS = ("squash", "ratio", "request", "waiting", "placement")

LOG_TOP = math.log(1e6)  # 11 days, and what a board does in 35 hours
RATIO_TOP = math.log(16.0)
SPREAD_TOP = math.log(1e4)
MEAN_TOP = 2 * math.log(1e3)
SLICES = 8.0

SCHEMA = hashlib.sha256(
    canonical({"features": list(NAMES), "range": [0, 1], "version": 3})
).hexdigest()
NORMALISATION = (
    "0..1: log(1+x)/log(1e6) of seconds and slice-seconds, log(x)/log(16) of ratios,"
    " log(x)/log(1e4) of longer, 0.5+log(x)/log(1e6) of than_mean, shares as they are"
)


def squash(value: float) -> float:
    """Seconds or slice-seconds by their logarithm."""
    return min(math.log1p(max(value, 0.0)) / LOG_TOP, 1.0)


def ratio(value: float) -> float:
    """A ratio of at least one by its logarithm; 0 for what is less."""
    return min(math.log(value) / RATIO_TOP, 1.0) if value > 1.0 else 0.0


def waiting(count: int, gpus: int, backlog: float, idle: float, oldest: float) -> tuple[float, ...]:
    """The request half of doing nothing: how many wait, and the oldest's time."""
    return (
        1.0, count / max(count + gpus, 1), squash(backlog), idle, squash(oldest),
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        0.0,
    )  # fmt: skip


def request(
    count: int,
    gpus: int,
    backlog: float,
    idle: float,
    waited: float,
    time: float,
    time_least: float,
    area: float,
    area_least: float,
    cost: float,
    cost_least: float,
    end_least: float,
    area_weighted: float,
    area_shortest: float,
    area_mean: float,
    slack: float,
    oldest: float,
    moves: float,
    present: float,
    used: float,
    restart: float,
    size: float,
) -> tuple[float, ...]:
    """The request half. ``slack``: infinite without a deadline. ``present``: for one that runs,
    the seconds to its end where it is. ``area_weighted``: its least area, over its weight.
    ``used``: work done over the estimate; ``restart``: the seconds of ``time`` in which it loads.
    """
    pressure = count / (count + gpus)
    longer = math.log(max(area_weighted / area_shortest, 1.0)) / SPREAD_TOP
    than_mean = 0.5 + math.log(area_weighted / area_mean) / MEAN_TOP
    misses = 1.0 if time > slack else 0.0
    return (
        0.0,
        pressure,
        squash(backlog),
        idle,
        squash(waited),
        ratio(time / time_least),
        ratio(area / area_least),
        ratio(cost / cost_least),
        ratio(time / end_least),
        squash(time),
        squash(area),
        min(longer, 1.0),
        min(max(than_mean, 0.0), 1.0),
        waited / (waited + time_least),
        misses,
        0.0 if misses else time / slack,
        oldest,
        moves,
        ratio(present / time) if moves else 0.0,
        squash(present - time) if moves else 0.0,
        min(used / 2.0, 1.0),
        min(restart / time, 1.0),
        size,
        size * pressure,
    )


def placement(
    stranded_before: float,
    stranded_after: float,
    free: int,
    opens: float,
    shrinks: int,
    half_until: float,
    gpu_until: float,
    displaces: int,
    displaced_area: float,
    displaced_until: float,
    displaced_since: float,
    displaced_cost: float,
    displaced_used: float,
    held: int,
) -> tuple[float, ...]:
    """The placement half. Slices are counted, times are seconds; all 0 for doing nothing."""
    worse = (stranded_after - stranded_before) / SLICES
    return (
        min(max(worse, 0.0), 1.0),
        min(max(-worse, 0.0), 1.0),
        max(free, 0) / SLICES,
        opens,
        max(shrinks, 0) / SLICES,
        squash(half_until),
        squash(gpu_until),
        min(displaces / 7.0, 1.0),
        squash(displaced_area),
        squash(displaced_until),
        squash(displaced_since),
        squash(displaced_cost),
        min(displaced_used / 2.0, 1.0),
        held / SLICES,
    )
