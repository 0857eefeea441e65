"""Units in quarantine among others: what waits for them, what goes down around them, and what a
fault of PID 1 changes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.plan import Unit
from tests.support.units import make_unit
from tests.unit.pid1.world import Fault, World, install

Make = Callable[[list[Unit]], World]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda units: install(World(units), monkeypatch)


def hold(world: World, name: str) -> None:
    world.tell(name, life.QUARANTINE, reason="odd")


def test_a_machine_goes_down_with_it(make: Make) -> None:
    world = make([make_unit("base"), make_unit("held", requires=["base"])])
    world.start()
    hold(world, "held")
    world.tell("held", life.FROZEN)
    world.take()
    world.supervisor.stop_all()
    world.settle()
    assert world.take() == ["kill held", "evidence held", "term base"]
    assert world.supervisor.order.stopped


def test_one_that_was_being_stopped_is_killed(make: Make) -> None:
    world = make([make_unit("held")])
    world.obedient = False
    world.start()
    world.ask("held", life.STOP)
    hold(world, "held")
    world.take()
    world.supervisor.stop_all()
    world.settle()
    assert world.take()[0] == "kill held"
    assert world.supervisor.order.stopped


def test_what_it_requires_may_be_restarted(make: Make) -> None:
    """It stands still, and is told about that when it goes on."""
    world = make([make_unit("base"), make_unit("held", bound_to=["base"])])
    world.start()
    hold(world, "held")
    pid = world.pid("held")
    world.take()
    world.ask("base", life.STOP)
    world.settle()
    assert world.take() == ["term base"]
    assert world.pid("held") == pid
    world.tell("held", life.LET_GO)
    assert world.take() == ["thaw held", "term held"]


def test_what_requires_it_waits(make: Make) -> None:
    world = make([make_unit("held"), make_unit("next", requires=["held"])])
    hold(world, "held")
    world.start()
    assert world.reason("next") == "waits for held, which is quarantined"
    world.tell("held", life.LET_GO)
    world.settle()
    assert world.take()[-2:] == ["spawn held", "spawn next"]


def test_a_boot_is_well_without_it_and_says_so(make: Make) -> None:
    world = make([make_unit("held"), make_unit("late", stage=plan.HEALTHY)])
    hold(world, "held")
    world.start()
    assert world.take() == ["evidence held", "measure", "spawn late"]
    assert world.supervisor.order.settled
    assert world.supervisor.order.findings() == ["held is quarantined: odd"]


def test_its_rival_may_start_when_it_has_no_process(make: Make) -> None:
    world = make([make_unit("held"), make_unit("rival", conflicts=["held"], autostart=False)])
    world.start()
    hold(world, "held")
    world.ask("rival", life.START)
    world.settle()
    assert world.state("rival") == life.READY
    assert world.state("held") == life.QUARANTINED


def test_a_restart_around_it_comes_to_an_end(make: Make) -> None:
    world = make([make_unit("base"), make_unit("held"), make_unit("top", requires=["held"])])
    world.start()
    hold(world, "held")
    world.ask("held", life.RESTART)
    world.settle()
    assert world.state("held") == life.QUARANTINED
    world.ask("top", life.RESTART)
    world.settle()
    assert not world.supervisor.order.winding


def life_of(world: World) -> None:
    """Everything that happens to one in quarantine; each step is tried until it is done."""
    for kind in (life.QUARANTINE, life.FROZEN, life.STOP, life.LET_GO):
        while True:
            try:
                world.tell("held", kind, reason="odd")
                world.settle()
                break
            except Fault:
                world.fail_at(0)
                world.again()


def test_a_pid_1_that_fails_anywhere_goes_on(make: Make) -> None:
    whole = make([make_unit("held")])
    whole.start()
    whole.fail_at(-1)
    life_of(whole)
    assert whole.points
    for at in range(1, whole.points + 1):
        world = make([make_unit("held")])
        world.start()
        world.fail_at(at)
        life_of(world)
        assert world.faults == 1, at
        assert (world.state("held"), world.members("held")) == (life.INACTIVE, []), at
        done = world.take()
        assert done.count("spawn held") == 1, at
        wanted = {"freeze held", "evidence held", "kill held", "thaw held"}
        assert wanted <= set(done), (at, done)
