"""Candidates and their features in the simulator: what ``sched.candidates`` builds, in arrays.

A test holds the two together, row by row. Rows come as two halves, of which candidates name one
each, so that a scorer's first layer is worked out once per half.
"""

from __future__ import annotations

import numpy as np

from ..state import DISPLACERS, MOVERS, RESIDENCY_S, WINDOW_SHORTEST
from .boards import Board, Floats, Ints
from .compiled import compiled
from .describe import (
    HALF,
    WINDOW,
    Options,
    describe_job,
    describe_place,
    look,
    new_options,
    remaining,
    waiting,
)
from .engine import NEVER, NOW, SLOTS, WAITING, Jobs, World

__all__ = ["MOVE", "START", "WAIT", "Options", "fill", "new_options"]

START, MOVE, WAIT = 0, 1, 2


@compiled
def fill_window(jobs: Jobs, world: World, window: Ints) -> int:
    """The shortest that wait, then the oldest of the others; how many."""
    count = int(world.clock[WAITING])
    found = 0
    for rank in range(WINDOW):
        best = -1
        for index in range(count):
            job = world.queue[index]
            taken = False
            for other in range(found):
                if window[other] == job:
                    taken = True
            if taken or world.least[job] >= NEVER:
                continue
            if best < 0:
                best = job
            elif rank < WINDOW_SHORTEST:
                if world.least[job] < world.least[best]:
                    best = job
            elif jobs.arrival[job] < jobs.arrival[best]:
                best = job
        if best < 0:
            break
        window[found] = best
        found += 1
    return found


@compiled
def add(options: Options, kind: int, job: int, gpu: int, place: int, half: int, row: int) -> None:
    """One more candidate."""
    index = int(options.size[0])
    options.size[0] = index + 1
    what = options.what[index]
    what[0], what[1], what[2], what[3], what[4], what[5] = kind, job, gpu, place, half, row


@compiled
def fill(board: Board, jobs: Jobs, world: World, options: Options, moves: bool) -> int:
    """All legal candidates, to wait being the last; how many. ``moves``: whether what runs may be
    stopped or moved at all.
    """
    options.size[:] = 0
    look(board, jobs, world, options)
    gpus = len(world.filled)
    count = int(world.clock[WAITING])
    sums = np.zeros(5)
    sums[2] = NEVER
    for gpu in range(gpus):
        taken = world.occupied[gpu] | world.held[gpu]
        for slot in range(SLOTS):
            sums[4] += (1 - (taken >> slot & 1)) / (SLOTS * gpus)
    for index in range(count):
        job = world.queue[index]
        sums[0] += world.least[job] / (SLOTS * gpus)
        sums[1] = max(sums[1], world.clock[NOW] - jobs.arrival[job])
        sums[2] = min(sums[2], world.least[job])
        sums[3] += world.least[job] / count
    found = fill_window(jobs, world, options.window)
    options.seen[:] = -2
    oldest = 0
    for rank in range(found):
        if jobs.arrival[options.window[rank]] < jobs.arrival[options.window[oldest]]:
            oldest = rank
    for rank in range(found):
        job = options.window[rank]
        first = describe_job(board, jobs, world, options, job, sums, False)
        displaces = moves and (rank < DISPLACERS or rank == oldest)
        for gpu in range(gpus):
            taken = world.occupied[gpu] | world.held[gpu]
            for place in range(len(board.mask)):
                profile = board.profile[place]
                clash = board.mask[place] & taken
                if jobs.speeds[job, profile] <= 0.0 or (clash and not displaces):
                    continue
                row = options.seen[gpu, place]
                if row == -2:
                    row = describe_place(board, jobs, world, options, gpu, place, 0)
                    options.seen[gpu, place] = row
                if row >= 0 and (
                    not clash or options.stopped_area[row] > options.area[first + profile]
                ):
                    add(options, START, job, gpu, place, first + profile, row)
    if moves:
        fill_moves(board, jobs, world, options, sums)
    row = int(options.size[2])
    half = int(options.size[1])
    options.size[1] += 1
    options.size[2] += 1
    values = waiting(count, gpus, sums[0], sums[4], sums[1])
    for index in range(HALF):
        options.request[half, index] = values[index]
    options.placement[row, :] = 0.0
    add(options, WAIT, -1, -1, -1, half, row)
    return int(options.size[0])


@compiled
def fill_moves(board: Board, jobs: Jobs, world: World, options: Options, sums: Floats) -> None:
    """Candidates that move what runs: those with most time left, to slices that are free."""
    now = world.clock[NOW]
    gpus = len(world.filled)
    chosen = np.full(MOVERS, -1, np.int64)
    for rank in range(MOVERS):
        longest = -1.0
        for gpu in range(gpus):
            for index in range(world.filled[gpu]):
                job = world.running[gpu, index]
                taken = False
                for other in range(rank):
                    if chosen[other] == job:
                        taken = True
                if taken or not jobs.movable[job] or now - world.began[job] < RESIDENCY_S:
                    continue
                seconds = remaining(board, jobs, world, job)
                if seconds > longest:
                    longest = seconds
                    chosen[rank] = job
    for rank in range(MOVERS):
        job = chosen[rank]
        if job < 0:
            break
        first = -1
        present = remaining(board, jobs, world, job)
        work = present * jobs.speeds[job, board.profile[world.place[job]]]
        here, own = world.gpu[job], board.mask[world.place[job]]
        for gpu in range(gpus):
            mine = own if gpu == here else 0
            taken = (world.occupied[gpu] | world.held[gpu]) & ~mine
            for place in range(len(board.mask)):
                profile = board.profile[place]
                if jobs.speeds[job, profile] <= 0.0 or board.mask[place] & taken:
                    continue
                if work / jobs.speeds[job, profile] + jobs.restart[job] >= present:
                    continue
                if first < 0:
                    first = describe_job(board, jobs, world, options, job, sums, True)
                row = describe_place(board, jobs, world, options, gpu, place, mine)
                if row >= 0:
                    add(options, MOVE, job, gpu, place, first + profile, row)
