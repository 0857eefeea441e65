"""The supervisor with a fake world: stages, boot set, refusals, deadlines, what ends, rescue."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ainit.pid1.order import MEASURE_DEADLINE_SECONDS
from ainit.policy import plan
from ainit.policy import state as life
from ainit.policy.plan import Unit
from ainit.policy.state import State
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


def test_dependencies_are_started_in_order_when_ready(make: Make) -> None:
    world = make([notify("a", requires=["b"]), notify("b", after=["c"]), notify("c")])
    world.start()
    assert world.take() == ["measure", "spawn c"]
    assert world.reason("a") == "waits for b, which is waiting"
    assert world.reason("b") == "waits for c"
    assert world.supervisor.order.blocked == {"a": "b", "b": "c"}
    world.ready("c")
    assert world.take() == ["spawn b"]
    world.ready("b")
    assert world.take() == ["spawn a"]


def test_before_orders_the_other_way_round(make: Make) -> None:
    world = make([make_unit("a"), notify("b", before=["a"])])
    world.start()
    assert world.take() == ["measure", "spawn b"]
    world.ready("b")
    assert world.take() == ["spawn a"]


def test_an_order_is_met_by_failure_and_a_requirement_is_not(make: Make) -> None:
    world = make(
        [
            make_unit("bad", restart=plan.NEVER, type=plan.ONESHOT),
            make_unit("ordered", after=["bad"]),
            make_unit("wanting", wants=["bad"]),
            make_unit("requiring", requires=["bad"]),
        ]
    )
    world.start()
    world.exit("bad", 1)
    assert world.take() == ["measure", "spawn bad", "spawn ordered", "spawn wanting"]
    assert world.reason("requiring") == "waits for bad, which is failed"
    assert world.supervisor.order.settled
    assert world.supervisor.order.findings() == [
        "bad is failed: exited with status 1",
        "requiring is waiting: waits for bad, which is failed",
    ]
    world.ask("bad", life.START)
    world.exit("bad", 0)
    assert world.take() == ["spawn bad", "spawn requiring"]
    assert world.supervisor.order.findings() == []


def test_a_oneshot_that_did_its_work_meets_a_requirement(make: Make) -> None:
    world = make([make_unit("work", type=plan.ONESHOT), make_unit("next", requires=["work"])])
    world.start()
    assert world.take() == ["measure", "spawn work"]
    world.exit("work", 0)
    assert world.take() == ["spawn next"]


def test_the_boot_set_is_a_barrier(make: Make) -> None:
    world = make([notify("early", stage=plan.EARLY), make_unit("main")])
    world.start()
    assert world.take() == ["spawn early"]
    assert world.reason("main") == "waits for the boot set to be measured"
    world.ready("early")
    assert world.take() == ["measure", "spawn main"]
    assert world.supervisor.order.measured_at == world.now
    world.ask("early", life.RESTART)
    world.settle()
    world.ready("early")
    assert "measure" not in world.take()


def test_the_boot_set_is_closed_when_early_units_take_too_long(make: Make) -> None:
    world = make([notify("early", stage=plan.EARLY, start_timeout=3600.0), make_unit("main")])
    world.start()
    assert world.pass_time(MEASURE_DEADLINE_SECONDS - 1) == 100.0 + MEASURE_DEADLINE_SECONDS
    assert world.take() == ["spawn early"]
    world.pass_time(1)
    assert world.take() == ["measure", "spawn main"]


def test_the_boot_set_does_not_wait_for_what_is_held(make: Make) -> None:
    """An early unit that requires a failed one will not come by itself."""
    world = make(
        [
            make_unit("bad", restart=plan.NEVER, type=plan.ONESHOT, stage=plan.EARLY),
            make_unit("behind", requires=["bad"], stage=plan.EARLY),
            make_unit("further", requires=["behind"], stage=plan.EARLY),
            make_unit("main"),
        ]
    )
    world.start()
    world.exit("bad", 1)
    assert world.take() == ["spawn bad", "measure", "spawn main"]


def test_a_refusal_stops_nobody_else(make: Make) -> None:
    world = make([make_unit("a"), make_unit("b"), make_unit("c", after=["a"])])
    world.refuse["a"] = "unsigned"
    world.start()
    assert world.take() == ["measure", "spawn b", "spawn c"]
    assert world.state("a") == life.REFUSED
    assert world.supervisor.order.findings() == ["a is refused: unsigned"]
    world.pass_time(1e6)
    assert world.take() == []


def test_what_the_system_cannot_start_is_tried_again(make: Make) -> None:
    world = make([make_unit("a", backoff_limit=3)])
    world.broken["a"] = "Cannot allocate memory"
    world.start()
    assert world.state("a") == life.BACKOFF
    (finding,) = world.supervisor.order.findings()
    assert "cannot start: [Errno 12] Cannot allocate memory" in finding
    del world.broken["a"]
    due = world.pass_time(0)
    assert due == world.now + 1
    world.pass_time(1)
    assert world.take() == ["measure", "spawn a"]


def test_a_start_that_fails_after_the_fork_is_a_start(make: Make) -> None:
    """The process is there: the kernel said so, whatever came after."""
    world = make([make_unit("a")])
    world.torn.add("a")
    world.start()
    assert (world.state("a"), world.take()) == (life.READY, ["measure", "spawn a"])
    assert world.pid("a") == world.journal.cell.value


def test_the_next_deadline_is_the_nearest(make: Make) -> None:
    slow, quick = notify("slow", start_timeout=50.0), notify("quick", start_timeout=20.0)
    world = make([slow, quick])
    world.start()
    assert world.pass_time(0) == 120.0
    world.ready("quick")
    world.pass_time(20)
    assert world.pass_time(0) == 150.0
    world.ready("slow")
    assert world.pass_time(50) == 0.0


def test_deadlines_do_not_pile_up(make: Make) -> None:
    """However often one gives way to a nearer one, a unit has few of them under way."""
    world = started(make, notify("a", watchdog=8.0))
    world.ready("a")
    for _ in range(50):
        world.ask("a", life.RESTART)
        world.settle()
        world.pass_time(1)
        world.ready("a")
        for _ in range(20):
            world.tell("a", life.PING)
            world.pass_time(1)
    assert world.state("a") == life.READY
    assert len(world.supervisor._deadlines._heap) <= 4


def test_what_is_not_ready_in_time_is_killed_even_outside_its_group(make: Make) -> None:
    world = started(make, notify("a", start_timeout=20.0))
    world.processes[world.pid("a")].group = "elsewhere"
    world.pass_time(20)
    assert world.take() == ["kill a", "kill elsewhere"]
    world.settle()
    assert world.reason("a") == "not ready in 20 s"


def test_a_watchdog_that_is_not_fed_kills_and_one_that_is_does_not(make: Make) -> None:
    world = started(make, notify("a", watchdog=10.0))
    world.ready("a")
    for _ in range(5):
        world.pass_time(9)
        world.tell("a", life.PING)
    assert world.take() == []
    world.pass_time(10)
    assert world.take() == ["kill a"]
    world.settle()
    assert (world.state("a"), world.reason("a")) == (
        life.BACKOFF,
        "no watchdog message in 10 s",
    )


def test_a_ping_is_not_worth_a_record(make: Make) -> None:
    world = started(make, notify("a", watchdog=10.0))
    world.ready("a")
    before = len(world.journal.records)
    world.tell("a", life.PING)
    assert len(world.journal.records) == before


def test_what_a_main_process_leaves_is_killed_and_waited_for(make: Make) -> None:
    world = started(make, make_unit("a"))
    child = world.fork("a")
    world.die(world.pid("a"), 1)
    world.supervisor.exited(world.supervisor.states["a"].pid, 1)
    assert (world.state("a"), world.take()) == (life.DRAINING, ["kill a"])
    world.pass_time(60)
    assert "spawn a" not in world.take()
    world.settle()
    assert world.state("a") == life.BACKOFF
    assert child not in world.processes
    world.pass_time(1)
    assert world.take() == ["spawn a"]


def test_what_cannot_be_killed_is_killed_again_every_five_seconds(make: Make) -> None:
    world = started(make, make_unit("a"))
    world.die(world.pid("a"), 1)
    world.fork("a")
    world.supervisor.exited(world.supervisor.states["a"].pid, 1)
    for one in world.members("a") or list(world.processes.values()):
        one.status = None  # it sleeps in the kernel
    world.take()
    for _ in range(3):
        world.pass_time(4)
        assert world.take() == []
        world.pass_time(1)
        assert world.take() == ["kill a"]
        for one in world.processes.values():
            one.status = None


def test_a_forking_unit_is_ready_when_its_first_process_left_one_behind(make: Make) -> None:
    world = started(make, make_unit("a", type=plan.FORKING), make_unit("b", requires=["a"]))
    adopted = world.fork("a")
    world.exit("a", 0)
    assert (world.state("a"), world.pid("a")) == (life.READY, adopted)
    assert world.take() == ["spawn b"]
    world.exit("a", 3)
    assert (world.state("a"), world.reason("a")) == (life.BACKOFF, "exited with status 3")


def test_a_forking_unit_without_one_main_process_lives_as_long_as_its_group(make: Make) -> None:
    world = started(make, make_unit("a", type=plan.FORKING))
    first, second = world.fork("a"), world.fork("a")
    world.exit("a", 0)
    assert (world.state("a"), world.supervisor.states["a"].pid) == (life.READY, 0)
    world.die(first, 1)
    world.die(second, 1)
    world.settle()
    assert (world.state("a"), world.reason("a")) == (life.BACKOFF, "all its processes ended")


@pytest.mark.parametrize("anew", [False, True])
def test_the_main_process_of_a_forking_unit_is_the_one_that_stays(make: Make, anew: bool) -> None:
    """A daemon's parent that has not ended yet counts beside it; also over a fault of PID 1."""
    world = started(make, make_unit("a", type=plan.FORKING))
    parent, daemon = world.fork("a"), world.fork("a")
    world.exit("a", 0)
    assert world.supervisor.states["a"].pid == 0
    world.die(parent, 0)
    if anew:
        world.processes.pop(parent)  # reaped, and then PID 1 failed
        world.again()
    else:
        world.supervisor.exited(parent, 0)  # known at once: the daemon may be the next to end
    assert (world.state("a"), world.pid("a")) == (life.READY, daemon)
    world.exit("a", 3)
    assert (world.state("a"), world.reason("a")) == (life.BACKOFF, "exited with status 3")


def test_all_of_a_forking_unit_get_the_signal_when_there_is_no_main_process(make: Make) -> None:
    world = started(make, make_unit("a", type=plan.FORKING))
    world.fork("a")
    world.fork("a")
    world.exit("a", 0)
    world.ask("a", life.STOP)
    assert world.take() == ["term a", "term a"]
    world.settle()
    assert world.state("a") == life.INACTIVE


def test_the_limit_used_up_leads_to_what_the_unit_says(make: Make) -> None:
    world = started(make, make_unit("a", backoff_limit=1, exhausted=plan.REBOOT))
    world.exit("a", 1)
    world.pass_time(1)
    world.exit("a", 1)
    assert world.take() == ["spawn a", "reboot for a"]
    assert world.state("a") == life.FAILED


def test_a_reload_is_a_signal(make: Make) -> None:
    world = started(make, make_unit("a", reload_signal=1), make_unit("b"))
    world.ask("a", life.RELOAD)
    world.ask("b", life.RELOAD)
    assert world.take() == ["hup a"]
    assert world.state("a") == life.READY


def test_another_main_process_is_waited_for_from_now_on(make: Make) -> None:
    world = started(make, make_unit("a"))
    first, second = world.pid("a"), world.fork("a")
    world.tell("a", life.MAIN_PID, pid=second, started=world.start_time(second))
    world.die(first, 0)
    world.settle()
    assert (world.state("a"), world.pid("a")) == (life.READY, second)
    world.exit("a", 1)
    assert world.state("a") == life.BACKOFF


def test_in_rescue_only_units_meant_for_it_run_and_nothing_is_measured(make: Make) -> None:
    world = make([make_unit("shell", rescue=True), make_unit("agent"), make_unit("store")])
    world.start(rescue=True)
    world.pass_time(1000)
    assert world.take() == ["spawn shell"]
    assert (world.state("agent"), world.supervisor.order.measured) == (life.INACTIVE, False)


def test_once_healthy_the_last_stage_runs_and_only_then(make: Make) -> None:
    world = make([notify("main"), make_unit("confirm", stage=plan.HEALTHY)])
    world.start()
    assert world.take() == ["measure", "spawn main"]
    assert world.reason("confirm") == "waits for the machine to be healthy"
    world.now += 7
    world.ready("main")
    assert world.take() == ["spawn confirm"]
    assert world.supervisor.order.healthy_at == world.now


def test_an_essential_failure_keeps_the_last_stage_back_and_others_do_not(make: Make) -> None:
    world = make(
        [
            make_unit("crash", restart=plan.NEVER, essential=False),
            make_unit("vital", restart=plan.NEVER, type=plan.ONESHOT),
            make_unit("confirm", stage=plan.HEALTHY),
        ]
    )
    world.start()
    world.exit("crash", 1)
    world.exit("vital", 1)
    assert "spawn confirm" not in world.take()
    world.ask("vital", life.START)
    world.exit("vital", 0)
    assert world.take() == ["spawn vital", "spawn confirm"]


def test_a_gpu_is_asked_for_before_and_given_back_after(make: Make) -> None:
    world = make([make_unit("a", gpu_profile="1g.10gb")])
    world.start()
    assert world.take() == ["measure", "allocate a"]
    world.answer("a")
    assert world.take() == ["spawn a"]
    world.ask("a", life.STOP)
    world.settle()
    assert world.take() == ["term a", "release a"]


def test_a_gpu_that_comes_after_the_stop_is_given_back(make: Make) -> None:
    world = make([make_unit("a", gpu_profile="1g.10gb")])
    world.start()
    world.ask("a", life.STOP)
    world.take()
    world.answer("a")
    assert world.take() == ["release a"]
    assert world.state("a") == life.INACTIVE


def test_an_orphan_means_nothing(make: Make) -> None:
    world = started(make, make_unit("a"))
    before = [state.to_record() for state in world.supervisor.states.values()]
    world.supervisor.exited(4_000_000, 1)
    assert [state.to_record() for state in world.supervisor.states.values()] == before


def test_a_process_belongs_to_the_unit_whose_group_it_is_in(make: Make) -> None:
    world = make([make_unit("a"), notify("down", requires=["a"])])
    assert world.supervisor.unit_of(0) is None  # what a peer outside the namespace looks like
    world.start()
    assert world.supervisor.unit_of(world.pid("a")) == "a"
    assert world.supervisor.unit_of(world.fork("a")) == "a"
    assert world.supervisor.unit_of(world.fork("unknown")) is None
    assert world.supervisor.unit_of(4_000_000) is None


def test_another_plan_keeps_what_runs_and_forgets_what_does_not(make: Make) -> None:
    world = started(make, make_unit("a"), make_unit("b"), make_unit("c", autostart=False))
    kept = world.pid("a")
    world.supervisor.replace([make_unit("a", description="new"), make_unit("d", requires=["a"])])
    assert set(world.supervisor.units) == {"a", "b", "d"}
    assert world.supervisor.units["a"].description == "new"
    assert world.pid("a") == kept
    world.ask("d", life.START)
    world.ask("b", life.STOP)
    world.settle()
    assert world.take() == ["spawn d", "term b"]
    world.supervisor.retire("b")
    assert set(world.supervisor.states) == {"a", "d"}


class Counting(dict[str, State]):
    """Counts how often a state is looked up."""

    count = 0

    def __getitem__(self, name: str) -> State:
        self.count += 1
        return super().__getitem__(name)

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        self.count += 1
        return super().get(name, default)

    def values(self) -> object:  # type: ignore[override]
        self.count += len(self)
        return super().values()

    def items(self) -> object:  # type: ignore[override]
        self.count += len(self)
        return super().items()


def touched(make: Make, count: int) -> list[int]:
    """How many states are touched by a death, the delay after it, a stop and a start."""
    world = make([make_unit(f"u{n}", after=["u0"] if n == 1 else []) for n in range(count)])
    world.start()
    states = Counting(world.supervisor.states)
    world.supervisor.states = world.supervisor.order._states = states
    found = []
    for step in (
        lambda: world.exit("u1", 1),
        lambda: world.pass_time(1),
        lambda: world.ask("u1", life.STOP),
        world.settle,
        lambda: world.ask("u1", life.START),
        lambda: world.tell("u1", life.PING),
    ):
        states.count = 0
        step()
        found.append(states.count)
    assert world.state("u1") == life.READY
    return found


def test_an_event_costs_the_same_among_few_and_among_many(make: Make) -> None:
    assert touched(make, 20) == touched(make, 2000)


@pytest.mark.parametrize("count", [1, 200])
def test_many_units(make: Make, count: int) -> None:
    world = make([make_unit(f"u{n}", after=[f"u{n - 1}"] if n else []) for n in range(count)])
    world.start()
    assert len(world.take()) == count + 1
    world.supervisor.stop_all()
    world.settle()
    assert world.supervisor.order.stopped


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_happens_the_way_down_ends(make: Make, data: st.DataObject) -> None:
    names = ["a", "b", "c", "d"]
    earlier = {name: names[:index] or ["x"] for index, name in enumerate(names)}
    units = [
        make_unit(
            name,
            type=data.draw(st.sampled_from(plan.TYPES)),
            restart=data.draw(st.sampled_from(plan.RESTARTS)),
            after=data.draw(st.lists(st.sampled_from(earlier[name]), max_size=2)),
            requires=data.draw(st.lists(st.sampled_from(earlier[name]), max_size=1)),
            bound_to=data.draw(st.lists(st.sampled_from(earlier[name]), max_size=1)),
            conflicts=data.draw(st.lists(st.sampled_from(names), max_size=1).map(set)) - {name},
            watchdog=data.draw(st.sampled_from([0.0, 50.0])),
        )
        for name in names
    ]
    world = make(units)
    world.start()
    for _ in range(data.draw(st.integers(0, 25))):
        name = data.draw(st.sampled_from(names))
        match data.draw(
            st.sampled_from(["exit", "fork", "ready", "time", "start", "stop", "restart", "again"])
        ):
            case "exit" if world.supervisor.states[name].pid:
                world.exit(name, data.draw(st.sampled_from([0, 1, -9])))
            case "fork" if world.members(name):
                world.fork(name)
            case "ready":
                world.ready(name)
            case "time":
                world.pass_time(data.draw(st.sampled_from([1.0, 30.0, 100.0])))
                world.settle()
            case "start" | "stop" | "restart" as kind:
                world.ask(name, kind)
                world.settle()
            case "again":
                world.again()
                world.settle()
            case _:
                pass
        running = {state.pid for state in world.supervisor.states.values() if state.pid}
        assert running <= set(world.processes)
    world.supervisor.stop_all()
    world.settle()
    assert world.supervisor.order.stopped
    assert not world.processes
