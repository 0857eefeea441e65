"""System calls of PID 1 fail, one or two at a time, in a life with everything in it: it neither
dies nor hangs, and the machine ends as the reference model says.

A sample, always the same; every call and every error is for ``make soak-supervisor``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from ainit.pid1.journal import Journal
from ainit.policy.plan import Record
from tests.support.kernel import Hang
from tests.support.lives import Death, InconsistentError, World
from tests.support.model import DOWN, UP, Model, Seen
from tests.support.seam import PLAUSIBLE, Injected

CHEAP = (
    "crash",
    "crash of what others hang on",
    "crash that leaves a process",
    "restart",
    "restart of a careful one",
    "restart with a GPU",
    "stop and start",
    "notifications",
    "connection",
    "timer",
    "path that changes",
    "probe that fails",
    "log",
    "relay",
    "daemon",
    "rival",
    "configuration",
    "re-execution",
)
DEAR = ("soft reboot", "power off")
ATTEMPTS = 70
TAKE_UP = 230  # calls of a PID 1 that takes over


def attempts(world: World, stimulus: str, count: int) -> list[Injected]:
    """The same for each seed: calls of a stimulus, and one of the take-up after it."""
    chance = random.Random(stimulus)
    world.inject(stimulus, 0, 0)
    calls = world.calls
    injected: list[Injected] = []
    for number in range(count):
        at = chance.randrange(1, calls + 1)
        second = (chance.randrange(1, TAKE_UP), chance.randrange(3)) if number % 2 else (0, 0)
        choice = chance.randrange(4)
        try:
            world.inject(stimulus, at, choice, second)
        except (InconsistentError, Death, Hang) as error:
            faults = ", ".join(map(str, world.seam.fired))
            raise AssertionError(f"{stimulus}: {faults}: {error}") from error
        injected += world.seam.fired
    return injected


@pytest.mark.parametrize("stimulus", CHEAP)
def test_calls_that_fail_change_nothing(stimulus: str) -> None:
    with World() as world:
        injected = attempts(world, stimulus, ATTEMPTS)
    assert len(injected) >= ATTEMPTS // 2


@pytest.mark.parametrize("stimulus", DEAR)
def test_calls_that_fail_on_the_way_up_or_down_change_nothing(stimulus: str) -> None:
    with World() as world:
        injected = attempts(world, stimulus, ATTEMPTS)
    assert len(injected) >= ATTEMPTS // 2


def test_without_faults_everything_can_happen() -> None:
    with World() as world:
        for name in world.stirs.table:
            assert not world.inject(name, 0, 0)
            assert world.calls, name
        world.seam.recording = True
        for name in CHEAP:
            world.inject(name, 0, 0)
        kinds = {kind for kind, _ in world.seam.sites}
    assert len(kinds) > len(PLAUSIBLE) // 2


@contextmanager
def journal_after_spawn() -> Iterator[None]:
    """PID 1 writes down a start when it is done."""
    before = Journal.intend

    def intend(self: Journal, record: Record) -> None:
        self.cell.value = 0

    Journal.intend = intend  # type: ignore[method-assign]
    try:
        yield
    finally:
        Journal.intend = before  # type: ignore[method-assign]


@contextmanager
def careless_reading() -> Iterator[None]:
    """PID 1 takes a journal that it cannot read for none."""
    before = Journal.resume.__func__  # type: ignore[attr-defined]

    def resume(cls: type[Journal], descriptor: int = 599) -> Journal | None:
        try:
            return before(cls, descriptor)  # type: ignore[no-any-return]
        except OSError:
            return None

    Journal.resume = classmethod(resume)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Journal.resume = classmethod(before)  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize(
    ("mutant", "stimulus"), [(journal_after_spawn, "crash"), (careless_reading, "re-execution")]
)
def test_a_mutant_is_found_out(
    mutant: Callable[[], AbstractContextManager[None]], stimulus: str
) -> None:
    """What the others show, they could also not show."""

    def sweep() -> None:
        with World(mutant) as world:
            for at in range(1, 120):
                for choice in range(2):
                    world.inject(stimulus, at, choice)

    with pytest.raises((InconsistentError, Death)):
        sweep()


def model() -> Model:
    return Model({"a": UP, "b": DOWN, "all": UP}, processless=["all"])


GOOD = (
    Seen("a", "ready", 7, [7], 0),
    Seen("b", "inactive", 0, [], 0),
    Seen("all", "ready", 0, [], 0),
)


def test_the_model_has_nothing_against_what_is_right() -> None:
    assert model().problems(GOOD) == []
    told = model()
    told.starts("a")
    assert told.problems([Seen("a", "ready", 8, [8], 1)]) == []
    assert not told.is_met("a", "ready", 0)
    told.forget()
    assert told.is_met("a", "ready", 0)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen("a", "backoff", 0, [], 0), "a is backoff, not ready"),
        (Seen("a", "ready", 7, [7], 1), "a was started 1 times, not 0 to 0"),
        (Seen("a", "ready", 7, [7, 8], 0), "a is ready and has the processes [7, 8]"),
        (Seen("a", "ready", 7, [], 0), "a is ready and has the processes []"),
        (Seen("a", "ready", 7, [8], 0), "a has the process 8, PID 1 knows of 7"),
        (Seen("b", "inactive", 0, [7], 0), "b is inactive and has the processes [7]"),
        (Seen("b", "inactive", 7, [], 0), "b is inactive, and PID 1 thinks that 7 lives"),
    ],
)
def test_the_model_finds(seen: Seen, words: str) -> None:
    assert model().problems([seen]) == [words]
