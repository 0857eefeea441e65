"""Random transitions of a GPU: what a plan disturbs, against the least that is possible.

The optimum shares no code with the planner: every partition that a board allows is listed once, by
the instances that it has, and the one is taken that keeps most of those in use. Beside it, two ways
that need no search: clear the GPU first, and put each profile at the lowest free place.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ainit.sched.partition import Occupant, Want, Wish, plan_changes
from ainit.sched.place import Device, Instance
from tests.unit.sched.fake_nvml import board

SEED = 20260
BOARDS = ("A100-40GB", "A100-80GB", "H100-80GB", "H200-141GB", "B200-180GB", "A30-24GB")

Place = tuple[str, int]
Partition = frozenset[Place]


@dataclass(frozen=True)
class Transition:
    """What one transition disturbs, by who planned it; None where that finds no way."""

    board: str
    planned: int
    least: int
    changed: int
    least_changed: int
    cleared: int
    first_fit: int | None


@cache
def partitions(name: str) -> dict[tuple[str, ...], tuple[Partition, ...]]:
    """Every partition that a board allows, by the sorted profiles in it."""
    device = board(name, 0)
    sizes = {profile.name: (profile.memory, profile.limit) for profile in device.profiles}
    places = [(each.name, start) for each in device.profiles for start in each.starts]
    found: dict[tuple[str, ...], list[Partition]] = {}

    def grow(taken: frozenset[int], chosen: tuple[Place, ...], least: int) -> None:
        key = tuple(sorted(profile for profile, _ in chosen))
        found.setdefault(key, []).append(frozenset(chosen))
        for index in range(least, len(places)):
            profile, start = places[index]
            memory, limit = sizes[profile]
            slices = frozenset(range(start, start + memory))
            if not slices & taken and key.count(profile) < limit:
                grow(taken | slices, (*chosen, (profile, start)), index + 1)

    grow(frozenset(), (), 0)
    return {key: tuple(each) for key, each in found.items()}


def transitions(count: int, seed: int = SEED) -> Iterator[Transition]:
    """So many random transitions that are possible at all."""
    rng = random.Random(seed)
    for number in range(count):
        name = BOARDS[number % len(BOARDS)]
        options = partitions(name)
        keys = list(options)
        before = rng.choice(options[rng.choice(keys)])
        wanted = rng.choice(keys)
        share = rng.random()
        in_use = frozenset(place for place in sorted(before) if rng.random() < share)
        yield measure(name, before, in_use, wanted, rng)


def measure(
    name: str, before: Partition, in_use: Partition, wanted: tuple[str, ...], rng: random.Random
) -> Transition:
    """One transition of one GPU."""
    device = board(name, 0)
    occupants = _occupants(device, before, in_use)
    wants = list(wanted)
    rng.shuffle(wants)
    plan = plan_changes(
        [device], {device.uuid: occupants}, {0: Wish(tuple(Want(each) for each in wants))}
    )
    assert not plan.problems, plan.problems
    options = partitions(name)[wanted]
    least = min(len(in_use - option) for option in options)
    best = [option for option in options if len(in_use - option) == least]
    greedy = _first_fit(device, wants)
    is_same = tuple(sorted(profile for profile, _ in before)) == wanted
    return Transition(
        name,
        planned=len(plan.disturbed),
        least=least,
        changed=len(plan.remove) + len(plan.create),
        least_changed=min(len(before ^ option) for option in best),
        cleared=0 if is_same else len(in_use),
        first_fit=None if greedy is None else len(in_use - greedy),
    )


def _occupants(device: Device, before: Partition, in_use: Partition) -> list[Occupant]:
    sizes = {profile.name: profile.memory for profile in device.profiles}
    return [
        Occupant(
            Instance(number, profile, start, sizes[profile], f"MIG-{number}", 1),
            holder=f"agent{number}" if (profile, start) in in_use else None,
        )
        for number, (profile, start) in enumerate(sorted(before), 1)
    ]


def _first_fit(device: Device, wants: Sequence[str]) -> Partition | None:
    """The largest first, each at its lowest free place, whatever is there now."""
    sizes = {profile.name: profile for profile in device.profiles}
    taken: set[int] = set()
    chosen: set[Place] = set()
    for name in sorted(wants, key=lambda each: (-sizes[each].memory, each)):
        for start in sizes[name].starts:
            slices = set(range(start, start + sizes[name].memory))
            if not slices & taken:
                taken |= slices
                chosen.add((name, start))
                break
        else:
            return None
    return frozenset(chosen)
