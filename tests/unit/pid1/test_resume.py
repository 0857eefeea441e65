"""PID 1 fails at each point of a life with everything in it, and goes on from its journal: nothing
is started twice, nothing is lost, and it all ends as if nothing had been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from ainit.pid1.supervisor import Supervisor
from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.plan import Record, Unit
from ainit.policy.state import Event, State
from tests.support.notebook import Notebook
from tests.support.units import make_unit
from tests.unit.pid1.world import Fault, World, install, notify

Act = Callable[[World], object]


def nothing(world: World) -> None:
    pass


class Step:
    """``once`` happens in the world, PID 1 or not; ``then`` is tried until PID 1 has done it."""

    def __init__(self, about: str, once: Act, then: Act, *, repeats: bool = False) -> None:
        self.about = about
        self.once = once
        self.then = then
        self.repeats = repeats  # asked for twice, it is done twice


def begins() -> Step:
    def then(world: World) -> None:
        if not world.journal.values.get("begun"):
            world.start()

    return Step("begins", nothing, then)


def dies(name: str, status: int) -> Step:
    return Step(f"{name} dies", lambda world: world.die(world.pid(name), status), nothing)


def forks(name: str) -> Step:
    return Step(f"{name} forks", lambda world: world.fork(name), nothing)


def says_ready(name: str) -> Step:
    """The message is taken off its queue when it was acted upon, and not before."""
    return Step(f"{name} is ready", nothing, lambda world: world.ready(name))


def says_main(name: str) -> Step:
    """The youngest process is the main one from now on."""

    def then(world: World) -> None:
        pid = max(one.pid for one in world.members(name))
        world.tell(name, life.MAIN_PID, pid=pid, started=world.start_time(pid))

    return Step(f"{name} has another main process", nothing, then)


def asks(name: str, kind: str) -> Step:
    """Whoever asked sees the connection break, and asks again."""
    then: Act = lambda world: world.ask(name, kind)  # noqa: E731
    return Step(f"{kind} {name}", nothing, then, repeats=kind == life.RESTART)


def passes(seconds: float) -> Step:
    def once(world: World) -> None:
        world.now += seconds

    return Step(f"{seconds} s pass", once, lambda world: world.supervisor.tick(world.now))


def gives_gpu(name: str) -> Step:
    def then(world: World) -> None:
        if name in world.answers:
            world.answer(name)

    return Step(f"{name} gets a GPU", nothing, then)


def goes_down() -> Step:
    return Step("goes down", nothing, lambda world: world.supervisor.stop_all())


def units() -> list[Unit]:
    lasting = {"essential": False}
    return [
        make_unit("setup", type=plan.ONESHOT, stage=plan.EARLY, restart=plan.NEVER),
        notify("db", requires=["setup"]),
        make_unit("app", requires=["db"], reload_signal=1),
        make_unit("side", bound_to=["db"], wants=["app"]),
        make_unit("forker", type=plan.FORKING),
        make_unit("batch", type=plan.ONESHOT, restart=plan.NEVER, **lasting),
        make_unit("agent", gpu_profile="1g.10gb"),
        make_unit("flaky", backoff_limit=1, exhausted=plan.REBOOT, **lasting),
        make_unit("rival", conflicts=["app"], autostart=False),
        make_unit("all", type=plan.TARGET, wants=["app", "side"]),
        make_unit("last", stage=plan.HEALTHY),
    ]


UP = (
    begins(),
    dies("setup", 0),
    says_ready("db"),
    forks("forker"),
    dies("forker", 0),
    gives_gpu("agent"),
    dies("batch", 1),
    dies("flaky", 1),
    passes(1.0),
    dies("flaky", 1),
)
CHANGES = (
    forks("app"),
    dies("app", 1),
    passes(1.0),
    asks("app", life.RELOAD),
    forks("app"),
    says_main("app"),
    asks("db", life.RESTART),
    says_ready("db"),
    asks("rival", life.START),
    asks("app", life.START),
    dies("db", 3),
    passes(1.0),
    says_ready("db"),
    asks("agent", life.STOP),
    asks("agent", life.START),
    gives_gpu("agent"),
    dies("forker", 1),
    passes(1.0),
    forks("forker"),
    forks("forker"),
    dies("forker", 0),
)
DOWN = (asks("db", life.STOP), goes_down())
LIVES = {"up": UP, "changes": UP + CHANGES, "down": UP + CHANGES + DOWN}


class Played:
    """What came of a life."""

    def __init__(self, world: World, repeated: bool) -> None:
        states = world.supervisor.states.values()
        self.states = {state.name: (state.state, state.desired) for state in states}
        self.starts = Counter(e for e in world.events if e.startswith("spawn"))
        self.repeated = repeated
        self.reasons = {state.name: state.reason for state in states}
        self.points = world.points
        mains = {state.pid for state in states if state.pid}
        for state in states:
            mainless = state.name in ("all", "forker") and not state.pid
            assert mainless or bool(state.pid) == (state.state in life.RUNNING)
        lost = [one.group for one in world.processes.values() if one.main and one.pid not in mains]
        assert not lost, f"nobody knows of {lost}"
        assert all(one.status is None for one in world.processes.values()), "zombies"


def play(world: World, steps: Sequence[Step], faults: Sequence[int] = ()) -> Played:
    """Live a life; PID 1 fails at each of ``faults``, counted from the one before."""
    left = list(faults)
    repeated = False
    world.fail_at(left.pop(0) if left else 0)
    for step in steps:
        step.once(world)
        turn: Act = step.then
        while True:
            try:
                turn(world)
                world.settle()
                if turn is step.then:
                    break
                turn = step.then
            except Fault:
                repeated |= step.repeats
                world.fail_at(left.pop(0) if left else 0)
                turn = World.again
    return Played(world, repeated)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Callable[[], World]:
    return lambda: install(World(units()), monkeypatch)


def check(played: Played, expected: Played, about: object) -> None:
    assert played.states == expected.states, about
    more = played.starts - expected.starts
    assert not expected.starts - played.starts, about
    assert not more or played.repeated, f"{about}: started once more: {more}"


@pytest.mark.parametrize("which", LIVES)
def test_a_life_without_faults(fresh: Callable[[], World], which: str) -> None:
    """What the others are compared with is worth comparing with."""
    played = play(fresh(), LIVES[which])
    states = {name: state for name, (state, _) in played.states.items()}
    if which == "down":
        assert set(states.values()) == {life.INACTIVE}
    else:
        assert states.pop("batch") == states.pop("flaky") == life.FAILED
        assert states.pop("setup") == life.EXITED
        assert states.pop("rival") == life.INACTIVE
        assert set(states.values()) == {life.READY}


@pytest.mark.parametrize("which", LIVES)
def test_a_fault_at_any_point_changes_nothing(fresh: Callable[[], World], which: str) -> None:
    steps = LIVES[which]
    expected = play(fresh(), steps)
    first = 1 if which == "up" else play(fresh(), LIVES["up"]).points
    if which == "down":
        first = play(fresh(), LIVES["changes"]).points
    assert expected.points - first > 50
    for point in range(first, expected.points + 1):
        world = fresh()
        played = play(world, steps, [point])
        assert world.faults == 1
        check(played, expected, f"fault at point {point}")


@pytest.mark.parametrize("distance", [1, 2, 5, 12, 30])
def test_a_fault_while_going_on_after_one_changes_nothing(
    fresh: Callable[[], World], distance: int
) -> None:
    steps = LIVES["down"]
    expected = play(fresh(), steps)
    for point in range(distance, expected.points, 17):
        world = fresh()
        played = play(world, steps, [point, distance, distance])
        check(played, expected, f"fault at point {point}")


def test_a_request_at_every_turn_changes_nothing(fresh: Callable[[], World]) -> None:
    """PID 1 is started anew after each step, as for an update."""
    expected = play(fresh(), LIVES["down"])
    steps = [one for step in LIVES["down"] for one in (step, Step("anew", nothing, World.again))]
    check(play(fresh(), steps), expected, "anew")


class Careless(Notebook):
    """A journal that is told of a start when it is done."""

    def intend(self, record: Record) -> None:
        self.cell.value = 0

    def reopened(self, count: int | None = None) -> Notebook:
        again = super().reopened(count)
        again.__class__ = Careless
        return again


def test_a_journal_written_after_the_start_would_be_found_out(fresh: Callable[[], World]) -> None:
    expected = play(fresh(), UP)

    def sweep() -> None:
        for point in range(1, expected.points + 1):
            world = fresh()
            world.journal.__class__ = Careless
            world.supervisor._journal.__class__ = Careless
            check(play(world, UP, [point]), expected, point)

    with pytest.raises((AssertionError, KeyError)):
        sweep()


def records_of(world: World) -> Iterator[tuple[int, Notebook]]:
    for count in range(len(world.journal.records) + 1):
        yield count, world.journal.reopened(count)


def test_every_prefix_of_the_journal_can_be_read(fresh: Callable[[], World]) -> None:
    """Even one that is older than the world: PID 1 takes it up, and looks for what it names."""
    world = fresh()
    play(world, LIVES["changes"])
    for count, journal in records_of(world):
        for record in journal.units.values():
            assert State.from_record(record).to_record() == record
        assert journal.intent in ("", *world.supervisor.units), count


def test_a_watchdog_gets_a_full_period_from_whoever_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = install(World([notify("a", watchdog=10.0)]), monkeypatch)
    world.start()
    world.ready("a")
    world.now += 9
    world.again()
    assert world.pass_time(9) == world.now + 1
    assert world.state("a") == life.READY
    world.pass_time(1)
    world.settle()
    assert world.reason("a") == "no watchdog message in 10 s"


def test_a_unit_that_the_plan_no_longer_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = install(World([make_unit("a"), make_unit("b")]), monkeypatch)
    world.start()
    world.units.pop()
    journal = world.journal.reopened()
    world.journal = journal
    supervisor = world._supervisor()
    assert supervisor.resume(journal.units, journal.intent) == ["b"]
    assert set(supervisor.states) == {"a"}


def test_what_ended_unseen_is_started_anew_when_its_group_is_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pid that is gone, or that belongs to somebody else by now."""
    world = install(World([make_unit("a"), make_unit("b")]), monkeypatch)
    world.start()
    world.fork("b")
    for name in ("a", "b"):
        del world.processes[world.pid(name)]
    world.take()
    world.again()
    assert world.take() == ["kill b"]
    assert (world.state("a"), world.state("b")) == (life.BACKOFF, life.DRAINING)
    assert world.reason("a") == "ended while PID 1 was started anew"
    world.settle()
    assert world.state("b") == life.BACKOFF


def test_deadlines_outlive_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    world = install(World([notify("a", start_timeout=20.0)]), monkeypatch)
    world.start()
    world.now += 15
    world.again()
    world.take()
    world.pass_time(4)
    assert world.take() == []
    world.pass_time(1)
    assert world.take() == ["kill a"]


def test_whoever_takes_over_tells_the_others_what_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = install(World([make_unit("a"), make_unit("b", autostart=False)]), monkeypatch)
    seen: list[tuple[str, str, str]] = []
    monkeypatch.setattr(
        World,
        "_changed",
        lambda _, unit, state, before: seen.append((unit.name, state.state, before)),
    )
    world.start()
    seen.clear()
    world.again()
    assert seen == [("a", life.READY, life.INACTIVE)]


@pytest.mark.parametrize("born", [True, False])
def test_what_comes_up_meanwhile_is_not_taken_for_the_process_that_was_being_started(
    monkeypatch: pytest.MonkeyPatch, born: bool
) -> None:
    """PID 1 fails as it starts one unit; whoever takes over learns of something else first that
    lets another unit go, and the kernel writes that one's pid into the same memory.
    """
    units = [make_unit("agent", gpu_profile="1g.10gb"), make_unit("other"), make_unit("careful")]
    world = install(World(units), monkeypatch)
    effects = world.supervisor._effects
    spawn = effects.spawn

    def fails(unit: Unit, gpu: Record | None) -> tuple[int, int]:
        if born:
            spawn(unit, gpu)
        raise Fault

    effects.spawn = fails
    world.ask("agent", life.START)
    with pytest.raises(Fault):
        world.ask("careful", life.START)
    world.journal.put("begun", True)
    world.no_gpu = "no memory for a question"
    supervise = world._supervisor

    def supervisor() -> Supervisor:
        made = supervise()
        made.post("other", Event(life.START))
        return made

    monkeypatch.setattr(world, "_supervisor", supervisor)
    world.again()
    for name in ("other", "careful"):
        (one,) = world.members(name)
        assert world.pid(name) == one.pid
