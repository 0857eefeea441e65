"""A fixed sample of the faults that ``make soak-supervisor`` goes through, and the test of that: a
PID 1 that journals too late is found out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from tests.pidns import closure, orders, soak
from tests.pidns.sweep import REEXEC, Fault, Line, Tally, World, pairs

SERVICES = 40
SEED = 20240229
CHAIN = 4
# Dear ones are left to the soak.
STIMULI = (
    "crash", "restart", "log", "notify", "malformed", "ask", "oneshot", "fork", "leave", "stop",
    "provide", "follow", "reload", "agent", "unspawned", "spawned", REEXEC,
)  # fmt: skip
# What a start comes through: it must be got to, or the sample says nothing.
HEART = (
    "pid1/supervisor.py", "pid1/order.py", "pid1/journal.py", "pid1/init.py", "pid1/notify.py",
    "pid1/launch.py",
)  # fmt: skip


@pytest.fixture(scope="module")
def recorded() -> Iterator[tuple[World, dict[str, set[Line]]]]:
    """A machine full of services, and the lines of its PID 1 that each stimulus gets to."""
    with World(SERVICES, seed=SEED, recording=True) as world:
        lines = world.record()
        world.check()
        assert world.tally == Tally()
        yield world, lines


def sample(lines: dict[str, set[Line]], seed: int, chains: int) -> list[list[Fault]]:
    """Some faults at lines, each with a chain of others while PID 1 takes up after it."""
    rng = random.Random(seed)
    found = list(pairs({name: lines[name] for name in STIMULI}))
    rng.shuffle(found)
    others = [fault for fault in found if not fault.at_resume][:chains]
    resume = [fault for fault in found if fault.at_resume]
    return [[fault, *(resume.pop() for _ in range(CHAIN))] for fault in others]


def inject(world: World, chains: Sequence[Sequence[Fault]]) -> Tally:
    """All of them, with a look at the machine now and then."""
    world.tally = Tally()
    for number, chain in enumerate(chains):
        world.inject(*chain)
        if number % 20 == 19:
            world.check()
    world.check()
    return world.tally


def unharmed(tally: Tally) -> Tally:
    """What a tally must be, but for the figures that tell how the sample went."""
    return Tally(
        faults=tally.faults,
        handled=tally.handled,
        missed=tally.missed,
        swallowed=tally.swallowed,
        slow=tally.slow,
    )


def test_a_sample_of_faults_at_lines_costs_nothing(
    recorded: tuple[World, dict[str, set[Line]]],
) -> None:
    world, lines = recorded
    tally = inject(world, sample(lines, SEED, 40))
    assert tally.trouble == []
    assert tally == unharmed(tally)
    assert tally.faults > 120
    assert tally.handled < tally.faults / 4  # errors that PID 1 expects


def test_fatal_signals_at_any_moment_cost_nothing(
    recorded: tuple[World, dict[str, set[Line]]],
) -> None:
    world, _ = recorded
    chains = [
        [Fault(f"{name}@moment", "", 0, stimulus)]
        for name in orders.SIGNALS
        for stimulus in ("crash", "restart", "log", "oneshot")
    ]
    tally = inject(world, chains)
    assert tally.trouble == []
    assert tally == unharmed(tally)
    assert tally.faults == len(chains)


def test_allocations_that_fail_cost_nothing(recorded: tuple[World, dict[str, set[Line]]]) -> None:
    world, _ = recorded
    rng = random.Random(SEED)
    chains = []
    for file, function, stimulus in soak.STARVED:
        line = closure.first_line(file, function)
        for kind in ("allocation", "allocations"):
            counts = [rng.randrange(10), rng.randrange(10, 100)]
            chains += [[Fault(kind, file, line, stimulus, count)] for count in counts]
    tally = inject(world, chains)
    assert tally.trouble == []
    assert tally == unharmed(tally)
    assert tally.faults > len(chains) / 2


def test_too_few_descriptors_cost_nothing(recorded: tuple[World, dict[str, set[Line]]]) -> None:
    world, _ = recorded
    stimuli = ("crash", "restart", "oneshot", "notify", "log", "fork")
    chains = [
        [Fault("descriptors", "", 0, stimulus, left)]
        for left in (0, 1, 3, 6)
        for stimulus in stimuli
    ]
    tally = inject(world, chains)
    assert tally.trouble == []
    assert tally == unharmed(tally)
    assert tally.faults == len(chains)


def test_the_stimuli_get_to_the_lines_that_matter(
    recorded: tuple[World, dict[str, set[Line]]],
) -> None:
    _, lines = recorded
    coverage = closure.coverage(set().union(*lines.values()), HEART)
    assert {file: share for file, share in coverage.items() if share < 0.85} == {}
    assert sum(coverage.values()) / len(coverage) >= 0.9


def test_a_pid_1_that_journals_after_the_spawn_is_caught() -> None:
    with World(SERVICES, mutant="journal-after-spawn", seed=SEED) as world:
        spawn = closure.first_line("pid1/supervisor.py", "Supervisor._spawn")
        inside = {line for line, function in closure.lines("pid1/supervisor.py").items()
                  if function == "Supervisor._spawn" and line > spawn}  # fmt: skip
        rng = random.Random(SEED)
        chains = [
            [Fault(kind, "pid1/supervisor.py", line, stimulus)]
            for line in sorted(inside)
            for kind in ("RuntimeError", "SIGSEGV")
            for stimulus in ("crash", "restart")
        ]
        rng.shuffle(chains)
        tally = inject(world, chains)
    assert tally.started_twice + tally.services_lost > 0
