"""The simulator: time goes from event to event; nothing here decides.

Events are an arrival, an end, the end of a quarantine, and a tick while somebody waits. All state
is in arrays, so that numba compiles every function; without numba the same code runs slowly.

Costs: making an instance, and destroying what lay there, delays the start. Who is stopped first
writes a checkpoint, which delays whoever takes its place, and pays ``restart`` at its next start. A
destroy that fails leaves its slices in quarantine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..state import OVERRUN
from .boards import Board, Floats, Ints
from .compiled import compiled

FUTURE, QUEUED, RUNS, DONE = 0, 1, 2, 3
QUARANTINE_S = 60.0
TICK_S = 600.0
SLOTS = 8
NEVER = 1e18

Flags = npt.NDArray[np.bool_]


class Jobs(NamedTuple):
    """What comes, in order of arrival. ``work`` in seconds of a whole GPU; ``speeds`` by profile, 0
    where it does not fit. ``restart`` and ``drain`` in seconds; ``change``: the delay of making an
    instance where another was; ``fails``: whether its instance fails to be destroyed.
    """

    arrival: Floats
    work: Floats
    estimate: Floats
    speeds: Floats
    restart: Floats
    drain: Floats
    deadline: Floats
    change: Floats
    movable: Flags
    fails: Flags


class World(NamedTuple):
    """Everything that changes. By job; by GPU (``filled``: how many run); and ``clock``: the time
    and sums, of which the names below are the places.
    """

    status: Ints
    attained: Floats
    least: Floats
    began: Floats
    works_from: Floats
    ends: Floats
    finish: Floats
    gpu: Ints
    place: Ints
    starts: Ints
    queue: Ints
    running: Ints
    filled: Ints
    occupied: Ints
    held: Ints
    held_until: Floats
    clock: Floats


NOW, NEXT, WAITING, ENDED, TICK, BUSY_SLICES, BUSY_SMS, STRANDED, LOST, STOPPED = range(10)


def new_world(jobs: Jobs, gpus: int) -> World:
    """Nothing has come yet."""
    n = len(jobs.arrival)
    return World(
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        np.full(n, NEVER),
        np.full(n, NEVER),
        np.full(n, -1, np.int64),
        np.full(n, -1, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros((gpus, SLOTS), np.int64),
        np.zeros(gpus, np.int64),
        np.zeros(gpus, np.int64),
        np.zeros(gpus, np.int64),
        np.zeros((gpus, SLOTS)),
        np.zeros(STOPPED + 1),
    )


@compiled
def left(estimate: float, attained: float) -> float:
    """``state.left``, compiled."""
    return float(max(estimate - attained, OVERRUN * attained, 1.0))


@compiled
def attained(board: Board, jobs: Jobs, world: World, job: int) -> float:
    """Work that a job has done by now, in seconds of a whole GPU."""
    done = world.attained[job]
    if world.status[job] == RUNS:
        speed = jobs.speeds[job, board.profile[world.place[job]]]
        done += max(world.clock[NOW] - world.works_from[job], 0.0) * speed
    return float(done)


@compiled
def measure_least(board: Board, jobs: Jobs, world: World, job: int) -> None:
    """Set the slice-seconds of a job's thriftiest profile, by its estimate."""
    work = left(jobs.estimate[job], world.attained[job])
    again = jobs.restart[job] if world.starts[job] > 0 else 0.0
    best = NEVER
    for profile in range(len(board.memory)):
        if jobs.speeds[job, profile] > 0.0:
            area = (work / jobs.speeds[job, profile] + again) * board.memory[profile]
            best = min(best, area)
    world.least[job] = best


@compiled
def enqueue(board: Board, jobs: Jobs, world: World, job: int) -> None:
    """A job waits, from now on or again."""
    world.status[job] = QUEUED
    measure_least(board, jobs, world, job)
    world.queue[int(world.clock[WAITING])] = job
    world.clock[WAITING] += 1


@compiled
def dequeue(world: World, job: int) -> None:
    """A job waits no longer; the order of the others stays."""
    count = int(world.clock[WAITING])
    found = 0
    while world.queue[found] != job:
        found += 1
    for index in range(found, count - 1):
        world.queue[index] = world.queue[index + 1]
    world.clock[WAITING] = count - 1


@compiled
def detach(board: Board, jobs: Jobs, world: World, job: int) -> None:
    """Take a job off its instance; its slices are free, or in quarantine."""
    gpu, place = world.gpu[job], world.place[job]
    world.attained[job] = attained(board, jobs, world, job)
    slots = world.running[gpu]
    index = 0
    while slots[index] != job:
        index += 1
    world.filled[gpu] -= 1
    slots[index] = slots[world.filled[gpu]]
    world.occupied[gpu] &= ~board.mask[place]
    spent = world.clock[NOW] - world.began[job]
    profile = board.profile[place]
    world.clock[BUSY_SLICES] += spent * board.memory[profile]
    world.clock[BUSY_SMS] += spent * board.share[profile]
    world.gpu[job] = -1
    world.place[job] = -1


@compiled
def quarantine(board: Board, world: World, gpu: int, place: int) -> None:
    """The slices of an instance that does not go away are held back."""
    world.held[gpu] |= board.mask[place]
    for slot in range(SLOTS):
        if board.mask[place] >> slot & 1:
            world.held_until[gpu, slot] = world.clock[NOW] + QUARANTINE_S


@compiled
def stop(board: Board, jobs: Jobs, world: World, job: int) -> None:
    """Stop a job that runs; it waits again, and will pay for starting anew."""
    detach(board, jobs, world, job)
    world.clock[LOST] += jobs.restart[job] + jobs.drain[job]
    world.clock[STOPPED] += 1
    enqueue(board, jobs, world, job)


@compiled
def start(board: Board, jobs: Jobs, world: World, job: int, gpu: int, place: int) -> float:
    """Start a waiting job at a placement, stopping what runs there. Seconds until it works."""
    delay = jobs.change[job]
    bits = board.mask[place]
    index = 0
    while index < world.filled[gpu]:
        other = world.running[gpu, index]
        if board.mask[world.place[other]] & bits:
            delay = max(delay, jobs.change[job] + jobs.drain[other])
            if jobs.fails[other]:
                delay += QUARANTINE_S
            stop(board, jobs, world, other)
        else:
            index += 1
    dequeue(world, job)
    put(board, jobs, world, job, gpu, place, delay)
    return float(delay)


@compiled
def put(
    board: Board, jobs: Jobs, world: World, job: int, gpu: int, place: int, delay: float
) -> None:
    """A job, no longer in the queue, gets free slices and works after ``delay`` seconds."""
    now = world.clock[NOW]
    if world.starts[job] > 0:
        delay += jobs.restart[job]
    speed = jobs.speeds[job, board.profile[place]]
    world.status[job] = RUNS
    world.starts[job] += 1
    world.gpu[job] = gpu
    world.place[job] = place
    world.began[job] = now
    world.works_from[job] = now + delay
    world.ends[job] = now + delay + max(jobs.work[job] - world.attained[job], 0.0) / speed
    world.running[gpu, world.filled[gpu]] = job
    world.filled[gpu] += 1
    world.occupied[gpu] |= board.mask[place]


@compiled
def move(board: Board, jobs: Jobs, world: World, job: int, gpu: int, place: int) -> None:
    """Stop a job that runs and start it again at free slices, its own among them."""
    stop(board, jobs, world, job)
    start(board, jobs, world, job, gpu, place)


@compiled
def advance(board: Board, jobs: Jobs, world: World) -> bool:
    """Go to the next event and let it happen; False when all jobs are done."""
    total = len(jobs.arrival)
    clock = world.clock
    if int(clock[ENDED]) == total:
        return False
    following = int(clock[NEXT])
    when = jobs.arrival[following] if following < total else NEVER
    ending = -1
    for gpu in range(len(world.filled)):
        for index in range(world.filled[gpu]):
            job = world.running[gpu, index]
            if world.ends[job] < when:
                when = world.ends[job]
                ending = job
        if world.held[gpu]:
            for slot in range(SLOTS):
                if world.held[gpu] >> slot & 1 and world.held_until[gpu, slot] < when:
                    when = world.held_until[gpu, slot]
                    ending = -2
    if clock[WAITING] > 0 and clock[NOW] + TICK_S < when:
        when = clock[NOW] + TICK_S
        ending = -3
    for gpu in range(len(world.filled)):
        taken = world.occupied[gpu] | world.held[gpu]
        clock[STRANDED] += (when - clock[NOW]) * board.stranded[taken]
    clock[NOW] = when
    if ending == -1:
        while following < total and jobs.arrival[following] <= when:
            enqueue(board, jobs, world, following)
            following += 1
        clock[NEXT] = following
    elif ending >= 0:
        gpu, place = world.gpu[ending], world.place[ending]
        detach(board, jobs, world, ending)
        world.status[ending] = DONE
        world.finish[ending] = when
        world.gpu[ending], world.place[ending] = gpu, place
        clock[ENDED] += 1
        if jobs.fails[ending]:
            quarantine(board, world, gpu, place)
    for gpu in range(len(world.filled)):
        if world.held[gpu]:
            for slot in range(SLOTS):
                if world.held[gpu] >> slot & 1 and world.held_until[gpu, slot] <= when:
                    world.held[gpu] &= ~(1 << slot)
    return True
