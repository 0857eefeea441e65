"""What the policy sees of jobs and placements in the simulator, as rows of two halves.

These are the numbers of ``sched.candidates`` and ``sched.occupancy``; a test holds them together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import features
from ..state import MOVERS, RESIDENCY_S, WINDOW_OLDEST, WINDOW_SHORTEST
from .boards import Board, Floats, Ints
from .compiled import compiled, kernels
from .engine import NEVER, NOW, SLOTS, WAITING, Jobs, World, attained, left

WINDOW = WINDOW_SHORTEST + WINDOW_OLDEST
_KERNELS = kernels()
_request = _KERNELS["request"]
_placement = _KERNELS["placement"]
waiting = _KERNELS["waiting"]
HALF = len(features.REQUEST)
OTHER = len(features.PLACEMENT)


class Options(NamedTuple):
    """Buffers. ``size``: candidates, rows of ``request``, rows of ``placement``. A candidate is a
    row of ``what``: kind, job, GPU, placement, row of ``request``, row of ``placement``. ``area``
    and ``stopped_area``: slice-seconds by row of either.
    """

    size: Ints
    what: Ints
    request: Floats
    placement: Floats
    window: Ints
    until: Floats
    free_at: Floats
    seen: Ints
    area: Floats
    stopped_area: Floats


def new_options(board: Board, gpus: int) -> Options:
    """Buffers for so many GPUs."""
    places, profiles = len(board.mask), len(board.memory)
    jobs = WINDOW + MOVERS
    return Options(
        np.zeros(3, np.int64),
        np.zeros((jobs * places * gpus + 1, 6), np.int64),
        np.zeros((jobs * profiles + 1, HALF)),
        np.zeros((places * gpus * (MOVERS + 1) + 1, OTHER)),
        np.zeros(WINDOW, np.int64),
        np.zeros((gpus, SLOTS)),
        np.zeros(profiles),
        np.zeros((gpus, places), np.int64),
        np.zeros(jobs * profiles + 1),
        np.zeros(places * gpus * (MOVERS + 1) + 1),
    )


@compiled
def until_of(until: Floats, bits: int) -> float:
    """Seconds until these slices of a GPU are free."""
    latest = 0.0
    for slot in range(SLOTS):
        if bits >> slot & 1:
            latest = max(latest, until[slot])
    return latest


@compiled
def remaining(board: Board, jobs: Jobs, world: World, job: int) -> float:
    """Seconds until a job that runs ends, by its estimate."""
    work = left(jobs.estimate[job], attained(board, jobs, world, job))
    return float(work / jobs.speeds[job, board.profile[world.place[job]]])


@compiled
def look(board: Board, jobs: Jobs, world: World, options: Options) -> None:
    """Fill ``until`` and ``free_at``."""
    gpus = len(world.filled)
    for gpu in range(gpus):
        for slot in range(SLOTS):
            options.until[gpu, slot] = 0.0
            if world.held[gpu] >> slot & 1:
                options.until[gpu, slot] = world.held_until[gpu, slot] - world.clock[NOW]
        for index in range(world.filled[gpu]):
            job = world.running[gpu, index]
            seconds = remaining(board, jobs, world, job)
            for slot in range(SLOTS):
                if board.mask[world.place[job]] >> slot & 1:
                    options.until[gpu, slot] = seconds
    for profile in range(len(board.memory)):
        options.free_at[profile] = NEVER
    for place in range(len(board.mask)):
        profile = board.profile[place]
        for gpu in range(gpus):
            when = until_of(options.until[gpu], board.mask[place])
            options.free_at[profile] = min(options.free_at[profile], when)


@compiled
def describe_place(
    board: Board, jobs: Jobs, world: World, options: Options, gpu: int, place: int, own: int
) -> int:
    """Add the placement half for slices, stopping what runs there; its row, or -1 if that may not
    be. ``own``: the mask of who moves away.
    """
    bits = board.mask[place]
    now = world.clock[NOW]
    if world.held[gpu] & bits:
        return -1
    stopped, area, longest, cost, freed = 0, 0.0, 0.0, 0.0, 0
    latest, used = NEVER, 0.0
    for index in range(world.filled[gpu]):
        job = world.running[gpu, index]
        theirs = board.mask[world.place[job]]
        if not theirs & bits or theirs == own:
            continue
        if own or not jobs.movable[job] or now - world.began[job] < RESIDENCY_S:
            return -1
        seconds = remaining(board, jobs, world, job)
        stopped += 1
        freed |= theirs
        area += seconds * board.memory[board.profile[world.place[job]]]
        longest = max(longest, seconds)
        latest = min(latest, now - world.began[job])
        cost += jobs.restart[job]
        used = max(used, attained(board, jobs, world, job) / max(jobs.estimate[job], 1.0))
    before = (world.occupied[gpu] | world.held[gpu]) & ~own & ~freed
    after = before | bits
    held = 0
    free = 0
    for slot in range(SLOTS):
        held += world.held[gpu] >> slot & 1
        free += 1 - (after >> slot & 1)
    row = int(options.size[2])
    options.size[2] = row + 1
    options.stopped_area[row] = area
    values = _placement(
        board.stranded[before],
        board.stranded[after],
        free,
        0.0 if before else 1.0,
        board.largest[before] - board.largest[after],
        until_of(options.until[gpu], board.half[place] & before & ~bits),
        until_of(options.until[gpu], before & ~bits),
        stopped,
        area,
        longest,
        latest if stopped else 0.0,
        cost,
        used,
        held,
    )
    for index in range(OTHER):
        options.placement[row, index] = values[index]
    return row


@compiled
def describe_job(
    board: Board, jobs: Jobs, world: World, options: Options, job: int, sums: Floats, moves: bool
) -> int:
    """Add the request halves of a job, one for each profile; the row of the first.

    ``sums``: backlog, oldest, shortest and mean area of the queue; share of idle slices.
    """
    now = world.clock[NOW]
    count = int(world.clock[WAITING])
    gpus = len(world.filled)
    profiles = len(board.memory)
    done = attained(board, jobs, world, job)
    work = left(jobs.estimate[job], done)
    again = jobs.restart[job] if world.starts[job] > 0 else 0.0
    others = count if moves else max(count - 1, 0)
    time_least, area_least, cost_least, end_least = NEVER, NEVER, NEVER, NEVER
    for profile in range(profiles):
        if jobs.speeds[job, profile] <= 0.0:
            continue
        time = work / jobs.speeds[job, profile] + again
        memory = board.memory[profile]
        time_least = min(time_least, time)
        area_least = min(area_least, time * memory)
        cost_least = min(cost_least, time * (1 + others * memory / (SLOTS * gpus)))
        end_least = min(end_least, options.free_at[profile] + time)
    waited = now - jobs.arrival[job]
    oldest = 0.0 if moves or waited < sums[1] else 1.0
    present = remaining(board, jobs, world, job) if moves else 0.0
    first = int(options.size[1])
    options.size[1] = first + profiles
    for profile in range(profiles):
        if jobs.speeds[job, profile] <= 0.0:
            continue
        time = work / jobs.speeds[job, profile] + again
        memory = board.memory[profile]
        options.area[first + profile] = time * memory
        values = _request(
            count,
            gpus,
            sums[0],
            sums[4],
            waited,
            time,
            time_least,
            time * memory,
            area_least,
            time * (1 + others * memory / (SLOTS * gpus)),
            cost_least,
            end_least,
            area_least,
            sums[2] if count else area_least,
            sums[3] if count else area_least,
            max(jobs.deadline[job] - now, 1e-3),
            oldest,
            1.0 if moves else 0.0,
            present,
            done / max(jobs.estimate[job], 1.0),
            again,
            memory / SLOTS,
        )
        for index in range(HALF):
            options.request[first + profile, index] = values[index]
    return first
