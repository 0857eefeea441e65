"""The hand-written rules that a policy is compared with: what starts next, or nothing.

A rule is an order (first come, or shortest first), a choice of profile, and a choice of placement
among those that it may use; a static partition is one that may use few. ``Rule`` names them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from .boards import Board, Floats, Ints
from .compiled import compiled
from .describe import remaining, until_of
from .engine import NEVER, NOW, SLOTS, WAITING, Jobs, World, left

FIRST_COME, SHORTEST = 0, 1
THRIFTIEST, FASTEST, WHOLE, PRICED = 0, 1, 2, 3
FIRST_FIT, BEST_FIT, LEAST_STRANDED = 0, 1, 2


class Rule(IntEnum):
    """The rules by name."""

    WHOLE_FIFO = 0
    FIRST_FIT = 1
    BEST_FIT = 2
    FGD = 3
    FGD_SJF = 4
    MOLDABLE_SJF = 5
    MOLDABLE_EASY = 6
    STATIC_SJF = 7


class Traits(NamedTuple):
    """What a rule consists of. ``ageing``: seconds of work forgiven by second of waiting;
    ``blocks``: whether the first that has no room keeps the others from starting; ``reserves``:
    whether it keeps those from starting that would be in its way; ``thrift``: how many more wait
    than do, when profiles are priced.
    """

    order: int
    profile: int
    placement: int
    blocks: bool
    reserves: bool
    ageing: float
    thrift: float = 0.0


TRAITS = {
    Rule.WHOLE_FIFO: Traits(FIRST_COME, WHOLE, FIRST_FIT, True, False, 0.0),
    Rule.FIRST_FIT: Traits(FIRST_COME, THRIFTIEST, FIRST_FIT, False, False, 0.0),
    Rule.BEST_FIT: Traits(FIRST_COME, THRIFTIEST, BEST_FIT, False, False, 0.0),
    Rule.FGD: Traits(FIRST_COME, THRIFTIEST, LEAST_STRANDED, False, False, 0.0),
    Rule.FGD_SJF: Traits(SHORTEST, THRIFTIEST, LEAST_STRANDED, False, False, 0.0),
    Rule.MOLDABLE_SJF: Traits(SHORTEST, PRICED, LEAST_STRANDED, False, False, 0.0, 4.0),
    Rule.MOLDABLE_EASY: Traits(SHORTEST, PRICED, LEAST_STRANDED, False, True, 0.1, 4.0),
    Rule.STATIC_SJF: Traits(SHORTEST, FASTEST, FIRST_FIT, False, False, 0.0),
}


@compiled
def key_of(jobs: Jobs, world: World, traits: Traits, job: int) -> float:
    """The order among those that wait: the least goes first."""
    if traits.order == FIRST_COME:
        return float(jobs.arrival[job])
    waited = world.clock[NOW] - jobs.arrival[job]
    return float(left(jobs.estimate[job], world.attained[job]) - traits.ageing * waited)


@compiled
def only_profile(board: Board, jobs: Jobs, traits: Traits, job: int) -> int:
    """The profile that the rule gives a job; -1 when it takes what is free."""
    chosen, least = -1, NEVER
    for profile in range(len(board.memory)):
        speed = jobs.speeds[job, profile]
        if speed <= 0.0:
            continue
        if traits.profile == WHOLE:
            chosen = profile
        elif traits.profile == THRIFTIEST and board.memory[profile] / speed < least:
            chosen, least = profile, board.memory[profile] / speed
    return chosen


@compiled
def liking(board: Board, world: World, traits: Traits, profile: int, speed: float) -> float:
    """How much a moldable rule likes a profile at this speed: the most is taken."""
    if traits.profile == FASTEST:
        return speed
    others = max(world.clock[WAITING] - 1.0, 0.0) + traits.thrift
    slices = SLOTS * len(world.filled)
    return float(speed / (1.0 + others * board.memory[profile] / slices))


@compiled
def place_job(
    board: Board, jobs: Jobs, world: World, traits: Traits, allowed: Ints, limits: Floats, job: int
) -> int:
    """Where a job goes: the GPU times placements plus the placement; -1 for nowhere.

    ``allowed``: by GPU and placement, 0 for what the rule may not use; ``limits``: by GPU and
    slice, the seconds after which it must be free again.
    """
    wanted = only_profile(board, jobs, traits, job)
    places = len(board.mask)
    best, best_liked, best_cost = -1, 0.0, NEVER
    work = left(jobs.estimate[job], world.attained[job])
    for gpu in range(len(world.filled)):
        taken = world.occupied[gpu] | world.held[gpu]
        for place in range(places):
            profile = board.profile[place]
            speed = jobs.speeds[job, profile]
            if speed <= 0.0 or board.mask[place] & taken or not allowed[gpu, place]:
                continue
            if wanted >= 0 and profile != wanted:
                continue
            if traits.reserves and work / speed > until_least(limits[gpu], board.mask[place]):
                continue
            cost = 0.0
            if traits.placement == LEAST_STRANDED:
                cost = board.stranded[taken | board.mask[place]] - board.stranded[taken]
            if traits.placement >= BEST_FIT:
                free = 0
                for slot in range(SLOTS):
                    free += 1 - (taken >> slot & 1)
                cost += 0.01 * free
            liked = liking(board, world, traits, profile, speed) if wanted < 0 else 1.0
            if liked > best_liked or (liked == best_liked and cost < best_cost):
                best, best_liked, best_cost = gpu * places + place, liked, cost
    return best


@compiled
def until_least(limits: Floats, bits: int) -> float:
    """The least limit over these slices."""
    least = NEVER
    for slot in range(SLOTS):
        if bits >> slot & 1:
            least = min(least, limits[slot])
    return least


@compiled
def reserve(board: Board, jobs: Jobs, world: World, job: int, limits: Floats) -> None:
    """Reserve for a job the placement where it would end first; others must be gone by then."""
    gpus = len(world.filled)
    until = np.zeros((gpus, SLOTS))
    for gpu in range(gpus):
        for slot in range(SLOTS):
            if world.held[gpu] >> slot & 1:
                until[gpu, slot] = world.held_until[gpu, slot] - world.clock[NOW]
        for index in range(world.filled[gpu]):
            other = world.running[gpu, index]
            for slot in range(SLOTS):
                if board.mask[world.place[other]] >> slot & 1:
                    until[gpu, slot] = remaining(board, jobs, world, other)
    work = left(jobs.estimate[job], world.attained[job])
    best_gpu, best_place, best, best_free = -1, -1, NEVER, 0.0
    for gpu in range(gpus):
        for place in range(len(board.mask)):
            speed = jobs.speeds[job, board.profile[place]]
            if speed > 0.0:
                free = until_of(until[gpu], board.mask[place])
                if free + work / speed < best:
                    best, best_gpu, best_place, best_free = (
                        free + work / speed,
                        gpu,
                        place,
                        free,
                    )
    if best_gpu >= 0:
        for slot in range(SLOTS):
            if board.mask[best_place] >> slot & 1:
                limits[best_gpu, slot] = best_free


@compiled
def next_start(
    board: Board, jobs: Jobs, world: World, traits: Traits, allowed: Ints, found: Ints
) -> bool:
    """The next start that a rule makes, into ``found``: job, GPU, placement. False: none."""
    gpus, places = len(world.filled), len(board.mask)
    limits = np.full((gpus, SLOTS), NEVER)
    free = np.zeros(len(board.memory), np.bool_)
    for gpu in range(gpus):
        taken = world.occupied[gpu] | world.held[gpu]
        for place in range(places):
            if not board.mask[place] & taken and allowed[gpu, place]:
                free[board.profile[place]] = True
    passed = -NEVER
    while True:
        best, best_key = -1, NEVER
        for index in range(int(world.clock[WAITING])):
            job = world.queue[index]
            able = traits.blocks or (traits.reserves and passed == -NEVER)
            for profile in range(len(board.memory)):
                if free[profile] and jobs.speeds[job, profile] > 0.0:
                    able = True
            key = key_of(jobs, world, traits, job)
            if able and passed < key < best_key:
                best, best_key = job, key
        if best < 0:
            return False
        spot = place_job(board, jobs, world, traits, allowed, limits, best)
        if spot >= 0:
            found[0], found[1], found[2] = best, spot // places, spot % places
            return True
        if traits.blocks:
            return False
        if traits.reserves and passed == -NEVER:
            reserve(board, jobs, world, best, limits)
        passed = best_key
