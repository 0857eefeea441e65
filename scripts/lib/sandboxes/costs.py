"""What the sandbox costs: at the start, until READY, and while an agent works.

Ratios are of pairs that were measured in turn; a value is their median. One round more than asked
for warms up.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from lib import bench
from lib.bench import Goal
from lib.progress import step
from lib.sandboxes import agents, ground, inside

INFERENCES = 20  # a round


def starts(rounds: int) -> list[Goal]:
    """The sandbox alone, beside bubblewrap's: starts of /usr/bin/true, less the plain start."""
    with step("starts"):
        found = ground.ask("starts", str(rounds))
    return [judged_starts(found)]


def judged_starts(found: Mapping[str, Sequence[float]]) -> Goal:
    """The goal of the starts; a round in which bubblewrap cost nothing says nothing."""
    taken = zip(found["plain"], found[inside.OURS], found[inside.BWRAP], strict=True)
    ratios = [
        round((ours - plain) / (other - plain), 3) for plain, ours, other in taken if other > plain
    ]
    peers = {
        f"{name}, ms": round(statistics.median(each) * 1000, 3) for name, each in found.items()
    }
    return bench.goal("sandbox.start_vs_bwrap", ratios, "ratio", 0.7, peers)


def ready(rounds: int) -> list[Goal]:
    """From the beginning of the start to READY, inside over outside."""
    ratios, peers = [], {}
    for name in agents.MODELS:
        taken: dict[bool, list[float]] = {False: [], True: []}
        with step(f"{name}, ready") as now, agents.shipped(name) as stand:
            for number in range(rounds + 1):
                for sandboxed in (number % 2 == 0, number % 2 == 1):
                    with stand.start(sandboxed=sandboxed) as agent:
                        taken[sandboxed].append(agent.ready_s)
                now.update(number, rounds)
        free, locked = (each[1:] for each in taken.values())  # the first warms up
        pairs = [round(one / other, 3) for one, other in zip(locked, free, strict=True)]
        ratios += pairs
        peers[f"{name}, ratio"] = statistics.median(pairs)
        peers[f"{name} outside, s"] = round(statistics.median(free), 3)
        peers[f"{name} inside, s"] = round(statistics.median(locked), 3)
    return [bench.goal("sandbox.ready_vs_plain", ratios, "ratio", 1.5, peers)]


def inference(rounds: int) -> list[Goal]:
    """One request, as the agent itself times it, inside over outside; the floor is a second agent
    outside over the first.
    """
    chance = random.Random(0)
    over, floor, peers = [], [], {}
    for name in agents.MODELS:
        with step(f"{name}, inference") as now, ExitStack() as stack:
            stand = stack.enter_context(agents.shipped(name))
            running = [
                stack.enter_context(stand.start(sandboxed=each)) for each in (False, False, True)
            ]
            for number in range(rounds + 1):
                taken: list[list[float]] = [[] for _ in running]
                for _ in range(INFERENCES):
                    for place in chance.sample(range(len(running)), len(running)):
                        answer = running[place].call(*agents.REQUESTS[name][0])
                        taken[place].append(float(str(answer["latency_ms"])))
                outside, other, locked = map(statistics.median, taken)
                if number:  # the first warms up
                    over.append(round(100 * (locked / outside - 1), 3))
                    floor.append(100 * (other / outside - 1))
                peers[f"{name} outside, ms"] = outside
                now.update(number, rounds)
    peers["floor, %"] = round(statistics.median(floor), 3)
    return [bench.goal("sandbox.inference_overhead_pct", over, "%", 2, peers)]
