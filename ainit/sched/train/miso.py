"""A planner in the manner of MISO (Li et al., SoCC 2022), with speeds known instead of predicted.

Jobs come first served to the GPU that holds the fewest and can take one more. Whenever a GPU's set
of jobs changes it is partitioned anew, so that the sum of speeds is greatest; whoever gets another
placement for it is stopped and started again, which costs what it costs everybody.
"""

from __future__ import annotations

import numpy as np

from .boards import Board, Ints
from .compiled import compiled
from .engine import NEVER, QUARANTINE_S, SLOTS, WAITING, Jobs, World, dequeue, put, stop

MASKS = 256
STAYS = 1e-3  # where two partitions are as fast, the one that is there stays


@compiled
def plan(board: Board, jobs: Jobs, world: World, gpu: int, members: Ints, chosen: Ints) -> bool:
    """The fastest partition of a GPU for jobs that must all have a part; into ``chosen``."""
    count = len(members)
    places = len(board.mask)
    value = np.full((count + 1, MASKS), -NEVER)
    came = np.full((count + 1, MASKS), -1, np.int64)
    value[0, world.held[gpu]] = 0.0
    for number in range(count):
        job = members[number]
        for taken in range(MASKS):
            if value[number, taken] <= -NEVER:
                continue
            for place in range(places):
                speed = jobs.speeds[job, board.profile[place]]
                if speed <= 0.0 or board.mask[place] & taken:
                    continue
                if world.gpu[job] == gpu and world.place[job] == place:
                    speed += STAYS
                after = taken | board.mask[place]
                if value[number, taken] + speed > value[number + 1, after]:
                    value[number + 1, after] = value[number, taken] + speed
                    came[number + 1, after] = place
    best = 0
    for taken in range(MASKS):
        if value[count, taken] > value[count, best]:
            best = taken
    if value[count, best] <= -NEVER:
        return False
    for number in range(count, 0, -1):
        place = came[number, best]
        chosen[number - 1] = place
        best &= ~board.mask[place]
    return True


@compiled
def settle(board: Board, jobs: Jobs, world: World, gpu: int, members: Ints, chosen: Ints) -> None:
    """Make the partition: stop whoever moves, then start them, and whoever is new."""
    delay = 0.0
    moves = np.zeros(len(members), np.bool_)
    for number in range(len(members)):
        job = members[number]
        if world.gpu[job] == gpu and world.place[job] != chosen[number]:
            moves[number] = True
            delay = max(delay, jobs.drain[job])
            if jobs.fails[job]:
                delay = max(delay, QUARANTINE_S)
            stop(board, jobs, world, job)
        elif world.gpu[job] != gpu:
            moves[number] = True
    for number in range(len(members)):
        if moves[number]:
            job = members[number]
            dequeue(world, job)
            put(board, jobs, world, job, gpu, chosen[number], delay + jobs.change[job])


@compiled
def act(board: Board, jobs: Jobs, world: World, sizes: Ints) -> None:
    """After an event: repartition GPUs that lost a job, then let jobs come. ``sizes``: how many
    jobs each GPU had when it was planned last.
    """
    chosen = np.zeros(SLOTS, np.int64)
    for gpu in range(len(world.filled)):
        if world.filled[gpu] < sizes[gpu]:
            members = world.running[gpu, : world.filled[gpu]].copy()
            if plan(board, jobs, world, gpu, members, chosen):
                settle(board, jobs, world, gpu, members, chosen)
        sizes[gpu] = world.filled[gpu]
    while world.clock[WAITING] > 0:
        job = world.queue[0]
        for index in range(int(world.clock[WAITING])):
            if jobs.arrival[world.queue[index]] < jobs.arrival[job]:
                job = world.queue[index]
        best, members, target = SLOTS, np.zeros(0, np.int64), -1
        for gpu in range(len(world.filled)):
            if world.filled[gpu] < min(best, 7):
                trial = np.empty(world.filled[gpu] + 1, np.int64)
                trial[:-1] = world.running[gpu, : world.filled[gpu]]
                trial[-1] = job
                if plan(board, jobs, world, gpu, trial, chosen):
                    best, members, target = world.filled[gpu], trial, gpu
        if target < 0:
            return
        plan(board, jobs, world, target, members, chosen)
        settle(board, jobs, world, target, members, chosen)
        sizes[target] = world.filled[target]
