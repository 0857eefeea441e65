"""Static partitions: all of a board's that nothing can be added to, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from . import metrics, run
from .boards import Board, Ints, board
from .engine import Jobs
from .rules import Rule


@cache
def partitions(name: str) -> tuple[tuple[int, ...], ...]:
    """Every maximal set of placements, up to the order of like profiles, as placement numbers."""
    target = board(name)
    masks = [int(each) for each in target.mask]
    found: dict[tuple[int, ...], tuple[int, ...]] = {}

    def extend(chosen: tuple[int, ...], taken: int, first: int) -> None:
        if all(bits & taken for bits in masks):
            kinds = tuple(sorted(int(target.profile[each]) for each in chosen))
            found.setdefault(kinds, chosen)
        for place in range(first, len(masks)):
            if not masks[place] & taken:
                extend((*chosen, place), taken | masks[place], place + 1)

    extend((), 0, 0)
    return tuple(found.values())


def allowed(target: Board, partition: Iterable[int]) -> Ints:
    """What a static partition may use, by placement."""
    usable = np.zeros(len(target.mask), np.int64)
    usable[list(partition)] = 1
    return usable


def able(target: Board, jobs: Jobs, partition: tuple[int, ...]) -> bool:
    """Whether every job has a slot that holds it."""
    offered = {int(target.profile[place]) for place in partition}
    return bool((jobs.speeds[:, sorted(offered)] > 0).any(axis=1).all())


def means(name: str, jobs: Jobs, gpus: int) -> dict[tuple[int, ...], metrics.Metrics]:
    """The metrics of every partition that can hold all jobs, the same on all GPUs."""
    target = board(name)
    return {
        each: metrics.of(
            target, jobs, run.ruled(target, jobs, gpus, Rule.STATIC_SJF, allowed(target, each))
        )
        for each in partitions(name)
        if able(target, jobs, each)
    }
