"""The request half of features, as arrays: a row for each request and profile. See ``tables``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import features
from .boards import Array, Boards
from .occupied import NEVER
from .state import Request, left

HALF = len(features.REQUEST)
_AT = {name: place for place, name in enumerate(features.REQUEST)}
_RATIOS = slice(_AT["slower"], _AT["later"] + 1)
_SIZES = slice(_AT["duration"], _AT["area"] + 1)


@dataclass(slots=True)
class Totals:
    """What is to be known of the whole queue, and of all GPUs; see ``candidates``."""

    slices: int
    gpus: int
    idle: float
    count: int = 0
    oldest: float = 0.0
    backlog: float = 0.0
    shortest: float = 1.0
    mean: float = 1.0


def times_of(boards: Boards, requests: Sequence[Request], work: Array) -> Array:
    """Seconds of running, by request and profile; for ever where it cannot."""
    tables = np.concatenate([boards.speeds(each.speeds)[1] for each in requests])
    fast = tables.reshape(len(requests), 2, -1)
    times: Array = work / fast[:, 0]
    times += fast[:, 1]
    return times


def rows_of(
    boards: Boards,
    requests: Sequence[Request],
    until: Sequence[float],
    totals: Totals,
    free_at: Array,
) -> tuple[Array, Array]:
    """The rows, and slice-seconds by request and profile. The last of the requests run, ``until``
    then; the others wait. ``free_at``: seconds until a placement of each profile is free.
    """
    count, waiting = totals.count, len(requests) - len(until)
    work, waited, restart, weight, used, slack = np.array(
        [
            [left(each.estimate_s, each.attained_s) for each in requests],
            [each.waited_s for each in requests],
            [each.restart_s for each in requests],
            [each.weight for each in requests],
            [each.used for each in requests],
            [math.inf if e.slack_s is None else max(e.slack_s, 1e-3) for e in requests],
        ]
    )[:, :, None]
    times = times_of(boards, requests, work) + restart
    np.minimum(times, NEVER, out=times)  # what cannot be used is no candidate, nor a NaN
    columns = np.zeros((HALF, *times.shape))
    pressure = count / (count + totals.gpus)
    columns[_AT["pressure"]] = pressure
    columns[_AT["backlog"]] = features.squash(totals.backlog)
    columns[_AT["idle"]] = totals.idle
    columns[_AT["waited"]] = np.minimum(np.log1p(waited) / features.LOG_TOP, 1.0)
    sizes = columns[_SIZES]
    sizes[0] = times
    areas = times * boards.memory_of
    sizes[1] = areas
    np.log1p(sizes, out=sizes)
    sizes /= features.LOG_TOP
    np.minimum(sizes, 1.0, out=sizes)
    fastest = np.minimum.reduce(times, axis=1, keepdims=True)
    thriftiest = np.minimum.reduce(areas, axis=1, keepdims=True)
    ratios = columns[_RATIOS]
    np.divide(times, fastest, out=ratios[0])
    np.divide(areas, thriftiest, out=ratios[1])
    others = np.full((len(requests), 1), float(count))
    others[:waiting] = max(count - 1, 0)
    np.multiply(times, 1.0 + others * boards.memory_of / totals.slices, out=ratios[2])
    ratios[2] /= np.minimum.reduce(ratios[2], axis=1, keepdims=True)
    ends = np.minimum.reduce(times + free_at, axis=1, keepdims=True)
    np.divide(times, ends, out=ratios[3])
    np.log(ratios, out=ratios)
    ratios /= features.RATIO_TOP
    np.maximum(ratios, 0.0, out=ratios)
    np.minimum(ratios, 1.0, out=ratios)
    weighted = thriftiest / weight
    shortest, mean = (totals.shortest, totals.mean) if count else (weighted, weighted)
    longer = np.log(np.maximum(weighted / shortest, 1.0)) / features.SPREAD_TOP
    columns[_AT["longer"]] = np.minimum(longer, 1.0)
    than_mean = 0.5 + np.log(weighted / mean) / features.MEAN_TOP
    columns[_AT["than_mean"]] = np.minimum(np.maximum(than_mean, 0.0), 1.0)
    columns[_AT["slowdown"]] = waited / (waited + fastest)
    if slack.min() < math.inf:
        misses = columns[_AT["misses"]]
        np.greater(times, slack, out=misses)
        columns[_AT["tight"]] = np.where(misses > 0.0, 0.0, times / slack)
    columns[_AT["oldest"], :waiting] = waited[:waiting] >= totals.oldest
    if until:
        present, moved = np.array(until)[:, None], times[waiting:]
        columns[_AT["moves"], waiting:] = 1.0
        gain = np.log(np.maximum(present / moved, 1.0)) / features.RATIO_TOP
        columns[_AT["gain"], waiting:] = np.minimum(gain, 1.0)
        saved = np.log1p(np.maximum(present - moved, 0.0)) / features.LOG_TOP
        columns[_AT["saved"], waiting:] = np.minimum(saved, 1.0)
    columns[_AT["used"]] = np.minimum(used / 2.0, 1.0)
    columns[_AT["again"]] = np.minimum(restart / times, 1.0)
    columns[_AT["size"]] = boards.size_of
    columns[_AT["crowded"]] = boards.size_of * pressure
    return columns.reshape(HALF, -1).T.astype(np.float32, order="C"), areas
