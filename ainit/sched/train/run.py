"""Runs jobs on GPUs under a rule, a planner or a scorer, from the first arrival to the last end.

world = run.scored(board, jobs, gpus, scorer)
metrics.of(board, jobs, world)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import features
from .boards import Board, Floats, Ints
from .compiled import compiled
from .engine import WAITING, Jobs, World, advance, move, new_world, start
from .miso import act
from .options import MOVE, START, WAIT, Options, fill, new_options
from .rules import TRAITS, Rule, Traits, next_start

DECISIONS_MAX = 60  # by job
STEPS_MAX = 64  # decisions at one moment


class Scorer(NamedTuple):
    """A scorer of both halves of a row. The columns of ``first`` are hidden units, the last one is
    linear. ``moves``: whether it may stop and move what runs.
    """

    first: Floats
    first_other: Floats
    bias: Floats
    second: Floats
    moves: bool


def scorer(linear: Floats, first: Floats, bias: Floats, second: Floats, moves: bool) -> Scorer:
    """A scorer of weights by feature."""
    whole = np.column_stack([first, linear])
    half = len(features.REQUEST)
    return Scorer(
        np.ascontiguousarray(whole[:half]),
        np.ascontiguousarray(whole[half:]),
        bias,
        second,
        moves,
    )


@compiled
def times(rows: Floats, count: int, weights: Floats) -> Floats:
    """The first rows times a matrix. (numba's own product needs scipy.)"""
    result = np.zeros((count, weights.shape[1]))
    for row in range(count):
        for column in range(weights.shape[0]):
            value = rows[row, column]
            if value != 0.0:
                for unit in range(weights.shape[1]):
                    result[row, unit] += value * weights[column, unit]
    return result


@compiled
def best_of(scorer: Scorer, options: Options, count: int) -> int:
    """The candidate with the greatest score; of equals the first."""
    rows, others = int(options.size[1]), int(options.size[2])
    units = len(scorer.bias)
    half = times(options.request, rows, scorer.first)
    other = times(options.placement, others, scorer.first_other)
    best, best_score = 0, -1e18
    for index in range(count):
        row, place = options.what[index, 4], options.what[index, 5]
        score = half[row, units] + other[place, units]
        for unit in range(units):
            value = half[row, unit] + other[place, unit] + scorer.bias[unit]
            if value > 0.0:
                score += value * scorer.second[unit]
        if score > best_score:
            best, best_score = index, score
    return best


@compiled
def take(board: Board, jobs: Jobs, world: World, what: Ints) -> None:
    """Do what a candidate says."""
    if what[0] == START:
        start(board, jobs, world, what[1], what[2], what[3])
    elif what[0] == MOVE:
        move(board, jobs, world, what[1], what[2], what[3])


@compiled
def run_scorer(board: Board, jobs: Jobs, world: World, options: Options, scorer: Scorer) -> int:
    """Until all jobs are done; how many decisions that took, or -1 when it would take too many."""
    decisions = 0
    most = DECISIONS_MAX * len(jobs.arrival)
    while advance(board, jobs, world):
        for _ in range(STEPS_MAX):
            if world.clock[WAITING] == 0 and not scorer.moves:
                break
            count = fill(board, jobs, world, options, scorer.moves)
            if count == 1:
                break
            decisions += 1
            if decisions > most:
                return -1
            what = options.what[best_of(scorer, options, count)]
            if what[0] == WAIT:
                break
            take(board, jobs, world, what)
    return decisions


@compiled
def run_rule(board: Board, jobs: Jobs, world: World, traits: Traits, allowed: Ints) -> None:
    """Until all jobs are done."""
    found = np.zeros(3, np.int64)
    while advance(board, jobs, world):
        while world.clock[WAITING] > 0 and next_start(board, jobs, world, traits, allowed, found):
            start(board, jobs, world, found[0], found[1], found[2])


@compiled
def run_miso(board: Board, jobs: Jobs, world: World) -> None:
    """Until all jobs are done."""
    sizes = np.zeros(len(world.filled), np.int64)
    while advance(board, jobs, world):
        act(board, jobs, world, sizes)


def scored(board: Board, jobs: Jobs, gpus: int, scorer: Scorer) -> World | None:
    """The world after a scorer's run; None when that would stop and start for ever."""
    world = new_world(jobs, gpus)
    done = run_scorer(board, jobs, world, new_options(board, gpus), scorer)
    return world if done >= 0 else None


def ruled(board: Board, jobs: Jobs, gpus: int, rule: Rule, allowed: Ints | None = None) -> World:
    """The world after a rule's run; ``allowed``: by placement, what it may use."""
    world = new_world(jobs, gpus)
    usable = np.ones(len(board.mask), np.int64) if allowed is None else allowed
    if rule is Rule.STATIC_SJF:
        jobs = jobs._replace(change=np.zeros_like(jobs.change))
    spread = np.ascontiguousarray(np.broadcast_to(usable, (gpus, len(board.mask))))
    run_rule(board, jobs, world, TRAITS[rule], spread)
    return world


def planned(board: Board, jobs: Jobs, gpus: int) -> World:
    """The world after the planner's run."""
    world = new_world(jobs, gpus)
    run_miso(board, jobs, world)
    return world
