"""Going down: once, whoever asks how often, and on with it after a fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ainit.linux import kmsg
from ainit.pid1 import loop
from ainit.pid1.shutdown import KEXEC, POWER_OFF, REBOOT, SOFT_REBOOT, WAYS, Shutdown
from ainit.policy import state as life
from tests.support.units import make_unit
from tests.unit.pid1.world import Fault, World, install


class Bench:
    """A machine with a unit that survives soft reboots, and one that does not."""

    def __init__(self) -> None:
        self.now = 100.0
        self.world = World(
            [make_unit("a"), make_unit("b", after=["a"]), make_unit("keeper", survives=True)]
        )

    def start(self) -> None:
        self.world.start()
        self.world.take()
        self.take_up()

    def take_up(self) -> None:
        self.shutdown = Shutdown(loop.Loop(), self.world.journal, self.world.supervisor)

    def again(self) -> None:
        """PID 1 is executed anew."""
        self.world.again()
        self.take_up()
        self.shutdown.go_on()
        self.world.supervisor.run()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    install(made.world, monkeypatch)
    monkeypatch.setattr(loop, "now", lambda: made.now)
    monkeypatch.setattr(kmsg, "log", lambda *_: None)
    made.start()
    return made


@pytest.mark.parametrize("how", WAYS)
def test_each_way_is_due_when_all_is_down(bench: Bench, how: str) -> None:
    assert not bench.shutdown.is_due
    bench.shutdown.begin(how)
    assert (bench.shutdown.how, bench.shutdown.is_due) == (how, False)
    bench.world.settle()
    assert bench.shutdown.is_due
    kept = bench.world.state("keeper")
    assert kept == (life.READY if how == SOFT_REBOOT else life.INACTIVE)


def test_it_is_due_when_time_is_up(bench: Bench) -> None:
    bench.world.obedient = False
    bench.shutdown.begin(REBOOT)
    bench.now += 19.9
    assert not bench.shutdown.is_due
    bench.now += 0.1
    assert bench.shutdown.is_due


@pytest.mark.parametrize("second", [REBOOT, SOFT_REBOOT, KEXEC, POWER_OFF])
def test_asking_twice_changes_nothing(bench: Bench, second: str) -> None:
    bench.shutdown.begin(POWER_OFF)
    events = bench.world.take()
    bench.now += 10
    bench.shutdown.begin(second)
    assert (bench.shutdown.how, bench.world.take()) == (POWER_OFF, [])
    bench.now += 10
    assert bench.shutdown.is_due
    assert events == ["term b", "term keeper"]


def test_a_power_off_overrules_a_soft_reboot(bench: Bench) -> None:
    bench.shutdown.begin(SOFT_REBOOT)
    bench.now += 10
    bench.shutdown.begin(POWER_OFF)
    bench.now += 15
    assert (bench.shutdown.how, bench.shutdown.is_due) == (POWER_OFF, False)
    bench.world.settle()
    assert bench.shutdown.is_due
    assert bench.world.state("keeper") == life.INACTIVE


def test_whoever_takes_over_goes_on_with_it(bench: Bench) -> None:
    bench.world.obedient = False
    bench.shutdown.begin(REBOOT)
    bench.now += 10
    bench.again()
    assert (bench.shutdown.how, bench.shutdown.is_due) == (REBOOT, False)
    bench.now += 10
    assert bench.shutdown.is_due


@pytest.mark.parametrize("ways", [[POWER_OFF], [SOFT_REBOOT], [SOFT_REBOOT, REBOOT]])
def test_a_fault_anywhere_on_the_way_down_leaves_nobody_running(
    monkeypatch: pytest.MonkeyPatch, bench: Bench, ways: list[str]
) -> None:
    def go_down(made: Bench, point: int) -> int:
        """Go down with a fault at a point; how many there were."""
        install(made.world, monkeypatch)
        made.start()
        made.world.fail_at(point)
        for how in ways:
            attempt: Callable[[], None] = lambda how=how: made.shutdown.begin(how)  # type: ignore[misc]  # noqa: E731
            while True:
                try:
                    attempt()
                    break
                except Fault:
                    made.world.fail_at(0)
                    made.again()
        while True:
            try:
                made.world.settle()
                break
            except Fault:
                made.world.fail_at(0)
                made.again()
        assert made.shutdown.how == ways[-1]
        assert made.shutdown.is_due
        left = {one.group for one in made.world.processes.values()}
        assert left == ({"keeper"} if ways[-1] == SOFT_REBOOT else set())
        return made.world.points

    for point in range(1, go_down(Bench(), 0) + 1):
        go_down(Bench(), point)
