"""What a wish for one unit means for others, and who goes down before whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.plan import Unit
from tests.support.units import make_unit
from tests.unit.pid1.world import World, install, notify

Make = Callable[[Iterable[Unit]], World]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda units: install(World(units), monkeypatch)


def started(make: Make, *units: Unit) -> World:
    """A world whose units were started, and what that did forgotten."""
    world = make(units)
    world.start()
    world.take()
    return world


def states(world: World) -> dict[str, str]:
    return {name: state.state for name, state in world.supervisor.states.items()}


def steps(world: World) -> list[str]:
    """Settle death by death; what was done, in order."""
    world.settle()
    return world.take()


# The way down.


def test_the_way_down_is_the_way_up_reversed(make: Make) -> None:
    world = started(
        make, make_unit("a", requires=["b"]), make_unit("b", after=["c"]), make_unit("c")
    )
    world.supervisor.stop_all()
    assert world.take() == ["term a"]
    assert not world.supervisor.order.stopped
    assert steps(world) == ["term b", "term c"]
    assert world.supervisor.order.stopped


def test_a_diamond_goes_down_from_the_top_and_its_sides_at_once(make: Make) -> None:
    world = started(
        make,
        make_unit("bottom"),
        make_unit("left", after=["bottom"]),
        make_unit("right", after=["bottom"]),
        make_unit("top", after=["left", "right"]),
    )
    world.supervisor.stop_all()
    assert world.take() == ["term top"]
    assert steps(world) == ["term left", "term right", "term bottom"]


def test_a_unit_that_will_not_stop_holds_only_those_below_it(make: Make) -> None:
    world = started(make, make_unit("a", after=["b"]), make_unit("b"), make_unit("other"))
    world.obedient = False
    world.supervisor.stop_all()
    assert world.take() == ["term a", "term other"]
    world.pass_time(5)
    assert world.take() == ["kill a", "kill other"]
    world.settle()
    assert world.take() == ["term b"]
    assert world.state("other") == life.INACTIVE


def test_what_a_stopping_unit_leaves_holds_those_below_it(make: Make) -> None:
    world = started(make, make_unit("a", after=["b"]), make_unit("b"))
    world.fork("a")
    main = world.pid("a")
    world.supervisor.stop_all()
    world.take()
    world.supervisor.exited(main, -15)
    assert world.take() == ["kill a"]
    assert (world.state("a"), world.state("b")) == (life.DRAINING, life.READY)
    world.settle()
    assert world.supervisor.order.stopped


def test_nothing_comes_back_on_the_way_down(make: Make) -> None:
    world = started(
        make,
        make_unit("a", after=["b"]),
        make_unit("b"),
        notify("c", after=["a"]),
    )
    world.ask("a", life.RESTART)
    world.exit("b", 1)
    world.take()
    world.supervisor.stop_all()
    world.settle()
    world.pass_time(1e6)
    world.settle()
    assert world.supervisor.order.stopped
    assert not [event for event in world.take() if event.startswith("spawn")]


def test_a_start_on_the_way_down_waits_for_ever(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("b", autostart=False))
    world.supervisor.stop_all()
    world.settle()
    world.take()
    world.ask("b", life.START)
    assert world.take() == []


def test_stopping_twice_is_stopping_once(make: Make) -> None:
    world = started(make, make_unit("a"))
    world.supervisor.stop_all()
    world.supervisor.stop_all()
    assert world.take() == ["term a"]


def test_survivors_of_a_soft_reboot_are_left_alone(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("keeper", survives=True))
    kept = world.pid("keeper")
    world.supervisor.stop_all(survivors=True)
    world.settle()
    assert world.supervisor.order.stopped
    assert states(world) == {"a": life.INACTIVE, "keeper": life.READY}
    assert world.pid("keeper") == kept


def test_a_power_off_during_a_soft_reboot_takes_the_survivors_too(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("keeper", survives=True))
    world.supervisor.stop_all(survivors=True)
    world.supervisor.stop_all()
    assert not world.supervisor.order.stopped
    world.settle()
    assert states(world) == {"a": life.INACTIVE, "keeper": life.INACTIVE}


def test_what_the_last_start_after_is_last_with_them(make: Make) -> None:
    world = started(
        make,
        make_unit("base"),
        make_unit("logs", after=["base"], stops_last=True),
        make_unit("work"),
    )
    world.supervisor.stop_all()
    world.settle()
    assert states(world) == dict.fromkeys(("base", "logs", "work"), life.INACTIVE)


# What a stop, start and restart entail.


def test_a_start_pulls_in_what_it_needs_and_wants_and_nothing_else(make: Make) -> None:
    down = {"autostart": False}
    world = started(
        make,
        make_unit("a", requires=["b"], wants=["c"], bound_to=["d"], after=["e"], **down),
        *(make_unit(name, **down) for name in "bcde"),
    )
    world.ask("a", life.START)
    world.settle()
    assert sorted(world.take()) == ["spawn a", "spawn b", "spawn c", "spawn d"]
    assert world.take() == []
    assert world.supervisor.states["b"].trigger == "for a"


def test_a_target_pulls_in_its_group_at_boot(make: Make) -> None:
    world = make(
        [
            make_unit("all", type=plan.TARGET, wants=["a", "b"]),
            make_unit("a", autostart=False),
            make_unit("b", autostart=False),
            make_unit("c", autostart=False),
        ]
    )
    world.start()
    assert world.take() == ["measure", "spawn a", "spawn b"]
    assert world.state("all") == life.READY


def test_a_stop_takes_what_requires_it_down_first(make: Make) -> None:
    world = started(
        make,
        make_unit("a"),
        make_unit("b", requires=["a"]),
        make_unit("c", requires=["b"]),
        make_unit("d", after=["a"]),
        make_unit("e", wants=["a"]),
    )
    world.ask("a", life.STOP)
    assert world.take() == ["term c"]
    assert steps(world) == ["term b", "term a"]
    assert states(world) == {
        "a": life.INACTIVE,
        "b": life.INACTIVE,
        "c": life.INACTIVE,
        "d": life.READY,
        "e": life.READY,
    }
    assert world.supervisor.order.winding == {}


def test_a_stop_of_what_nobody_needs_concerns_nobody(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("b", requires=["a"]))
    world.ask("b", life.STOP)
    world.settle()
    assert states(world) == {"a": life.READY, "b": life.INACTIVE}


def test_a_restart_brings_back_what_it_took_down(make: Make) -> None:
    world = started(make, notify("a"), notify("b", requires=["a"]))
    world.ready("a")
    world.ready("b")
    world.take()
    world.ask("a", life.RESTART)
    assert steps(world) == ["term b", "term a", "spawn a"]
    world.ready("a")
    assert world.take() == ["spawn b"]
    assert world.supervisor.order.winding == {}


def test_a_restart_of_a_diamond_starts_nothing_before_its_base_is_new(make: Make) -> None:
    world = started(
        make,
        make_unit("bottom"),
        make_unit("left", requires=["bottom"]),
        make_unit("right", requires=["bottom"]),
        make_unit("top", requires=["left", "right"]),
    )
    world.ask("bottom", life.RESTART)
    assert world.take() == ["term top"]
    order = steps(world)
    assert order == [
        "term left", "term right", "term bottom",
        "spawn bottom", "spawn left", "spawn right", "spawn top",
    ]  # fmt: skip
    assert set(states(world).values()) == {life.READY}


def test_a_restart_whose_sides_stop_at_different_times(make: Make) -> None:
    """The side that is down first does not come up while the base is the old one."""
    world = started(
        make,
        make_unit("bottom"),
        make_unit("quick", requires=["bottom"]),
        make_unit("slow", requires=["bottom"]),
    )
    slow = world.pid("slow")
    world.ask("bottom", life.RESTART)
    assert world.take() == ["term quick", "term slow"]
    world.processes[slow].status = None  # it takes its time
    world.settle()
    assert (world.state("quick"), world.take()) == (life.INACTIVE, [])
    world.die(slow, 0)
    assert steps(world) == ["term bottom", "spawn bottom", "spawn quick", "spawn slow"]


def test_what_is_wound_down_twice_is_wound_down_as_was_said_last(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("b", requires=["a"]))
    world.ask("a", life.RESTART)
    world.ask("a", life.STOP)
    world.settle()
    assert states(world) == {"a": life.INACTIVE, "b": life.INACTIVE}
    world.ask("b", life.START)
    assert set(states(world).values()) == {life.READY}
    world.ask("a", life.STOP)
    world.ask("b", life.START)
    world.settle()
    assert set(states(world).values()) == {life.READY}
    assert world.supervisor.order.winding == {}


def test_a_start_that_ends_a_winding_is_remembered(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("b", requires=["a"]))
    world.ask("a", life.STOP)
    world.ask("b", life.START)
    world.again()
    world.settle()
    assert set(states(world).values()) == {life.READY}
    assert world.supervisor.order.winding == {}


def test_what_is_bound_goes_and_comes_with_its_unit(make: Make) -> None:
    world = started(
        make, notify("a"), make_unit("b", bound_to=["a"]), make_unit("c", requires=["a"])
    )
    world.ready("a")
    world.take()
    world.exit("a", 1)
    assert world.take() == ["term b"]
    world.settle()
    assert states(world) == {"a": life.BACKOFF, "b": life.WAITING, "c": life.READY}
    world.pass_time(1)
    assert world.take() == ["spawn a"]
    world.ready("a")
    assert world.take() == ["spawn b"]


def test_what_is_bound_to_a_held_unit_waits(make: Make) -> None:
    world = started(make, make_unit("a", restart=plan.NEVER), make_unit("b", bound_to=["a"]))
    world.exit("a", 1)
    world.settle()
    assert world.reason("b") == "waits for a, which is failed"
    world.ask("a", life.START)
    assert set(states(world).values()) == {life.READY}


# Conflicts.


def test_a_start_stops_its_rivals_and_waits_for_them(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("b", conflicts=["a"], autostart=False))
    world.ask("b", life.START)
    assert world.take() == ["term a"]
    assert world.reason("b") == "waits for a to stop"
    assert steps(world) == ["spawn b"]
    assert world.state("a") == life.INACTIVE
    world.ask("a", life.START)  # whoever said so: it holds both ways
    assert world.take() == ["term b"]
    assert steps(world) == ["spawn a"]


def test_a_rival_that_waits_for_its_delay_is_stopped_too(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("b", conflicts=["a"], autostart=False))
    world.exit("a", 1)
    world.ask("b", life.START)
    assert states(world) == {"a": life.INACTIVE, "b": life.READY}
    world.pass_time(100)
    assert world.state("a") == life.INACTIVE


def test_a_rival_goes_down_with_what_requires_it(make: Make) -> None:
    world = started(
        make,
        make_unit("a"),
        make_unit("on-a", requires=["a"]),
        make_unit("b", conflicts=["a"], autostart=False),
    )
    world.ask("b", life.START)
    assert world.take() == ["term on-a"]
    assert steps(world) == ["term a", "spawn b"]
    assert states(world) == {"a": life.INACTIVE, "on-a": life.INACTIVE, "b": life.READY}


def test_one_that_is_pulled_in_has_rivals_too(make: Make) -> None:
    world = started(
        make,
        make_unit("old"),
        make_unit("new", conflicts=["old"], autostart=False),
        make_unit("top", requires=["new"], autostart=False),
    )
    world.ask("top", life.START)
    assert world.take() == ["term old"]
    assert steps(world) == ["spawn new", "spawn top"]


# Findings.


def test_what_something_else_starts_is_missing_only_when_it_failed(make: Make) -> None:
    world = started(
        make,
        make_unit("timed", timer_every=60.0, restart=plan.NEVER),
        make_unit("manual", autostart=False, restart=plan.NEVER),
    )
    order = world.supervisor.order
    assert (order.findings(), order.settled, order.healthy_at) == ([], True, world.now)
    for name in ("timed", "manual"):
        world.ask(name, life.START)
        world.exit(name, 1)
    assert order.findings() == [
        "timed is failed: exited with status 1",
        "manual is failed: exited with status 1",
    ]
    world.ask("timed", life.STOP)
    world.ask("manual", life.STOP)
    assert order.findings() == []


def test_a_unit_that_was_stopped_is_missing_if_the_machine_needs_it(make: Make) -> None:
    world = started(make, make_unit("vital"), make_unit("other", essential=False))
    for name in ("vital", "other"):
        world.ask(name, life.STOP)
    world.settle()
    assert world.supervisor.order.findings() == ["vital is inactive: killed by signal 15"]


def test_healthy_is_when_each_was_up_once(make: Make) -> None:
    world = started(make, notify("a"), notify("b"), make_unit("last", stage=plan.HEALTHY))
    world.ready("a")
    world.exit("a", 1)
    world.ready("b")
    assert world.state("last") == life.READY
    assert world.supervisor.order.findings() == ["a is backoff: exited with status 1"]
