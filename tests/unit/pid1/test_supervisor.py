"""The supervisor with a fake world: order, stages, the boot set, refusals, the way down, rescue."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.linux.cgroup import Tree
from ainit.pid1.supervisor import MEASURE_DEADLINE_SECONDS, Effects, Supervisor
from ainit.policy import machine, plan
from ainit.policy.machine import Event
from ainit.policy.plan import Plan, Record, Unit
from ainit.wire.codec import dumps
from tests.support.units import make_unit

SIGTERM, SIGKILL = 15, 9


class World:
    """Everything the supervisor acts on: it records, and it answers when told to."""

    def __init__(self, units: list[Unit]) -> None:
        self.now = 100.0
        self.events: list[str] = []
        self.refuse: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.pids: dict[str, int] = {}
        self.obedient = True
        self.answers: dict[str, Callable[[Record | None, str], None]] = {}
        self._next = 1000
        effects = Effects(
            spawn=self._spawn,
            signal=self._signal,
            allocate=self._allocate,
            release=lambda unit: self.events.append(f"release {unit.name}"),
            measure=lambda: self.events.append("measure"),
            say=lambda unit, text: None,
            now=lambda: self.now,
        )
        self.supervisor = Supervisor(Plan(units, {}), effects, Tree("/nonexistent"))
        self._signals: list[tuple[int, int]] = []

    def _spawn(self, unit: Unit, gpu: Record | None) -> tuple[int, int]:
        if unit.name in self.refuse:
            raise RefusedError(self.refuse[unit.name])
        if unit.name in self.broken:
            raise OSError(12, self.broken[unit.name])
        assert unit.name not in self.pids, "started twice"
        self._next += 1
        self.pids[unit.name] = self._next
        self.events.append(f"spawn {unit.name}")
        return self._next, 1

    def _signal(self, pid: int, number: int) -> None:
        self.events.append(f"{'term' if number == SIGTERM else 'kill'} {self.name_of(pid)}")
        if self.obedient or number == SIGKILL:
            self._signals.append((pid, number))

    def _allocate(self, unit: Unit, done: Callable[[Record | None, str], None]) -> None:
        self.events.append(f"allocate {unit.name}")
        self.answers[unit.name] = done

    def name_of(self, pid: int) -> str:
        return next(name for name, known in self.pids.items() if known == pid)

    def start(self, *, rescue: bool = False) -> None:
        self.supervisor.start_all(rescue=rescue)

    def settle(self) -> None:
        """Let every process that got a signal die of it, as the loop would report it."""
        while self._signals:
            pid, number = self._signals.pop(0)
            self.exit(self.name_of(pid), -number)

    def ready(self, name: str) -> None:
        self.supervisor.post(name, Event(machine.NOTIFIED_READY))
        self.supervisor.run()

    def exit(self, name: str, status: int) -> None:
        self.supervisor.exited(self.pids.pop(name), status)

    def pass_time(self, seconds: float) -> float:
        self.now += seconds
        return self.supervisor.tick(self.now)

    def ask(self, name: str, kind: str) -> None:
        self.supervisor.post(name, Event(kind))
        self.supervisor.run()

    def state(self, name: str) -> str:
        return self.supervisor.states[name].state

    def take(self) -> list[str]:
        taken, self.events = self.events, []
        return taken


def notify(name: str, **fields: object) -> Unit:
    return make_unit(name, type=plan.NOTIFY, **fields)


def test_dependencies_are_started_in_order_when_ready() -> None:
    world = World([notify("a", requires=["b"]), notify("b", after=["c"]), notify("c")])
    world.start()
    assert world.take() == ["measure", "spawn c"]
    assert world.supervisor.states["a"].reason == "waits for b, which is waiting"
    assert world.supervisor.states["b"].reason == "waits for c"
    world.ready("c")
    assert world.take() == ["spawn b"]
    world.ready("b")
    assert world.take() == ["spawn a"]


def test_an_order_is_met_by_failure_and_a_requirement_is_not() -> None:
    units = [
        make_unit("bad", restart=plan.NEVER, type=plan.ONESHOT),
        make_unit("ordered", after=["bad"]),
        make_unit("wanting", wants=["bad"]),
        make_unit("requiring", requires=["bad"]),
    ]
    world = World(units)
    world.start()
    world.exit("bad", 1)
    assert world.take() == ["measure", "spawn bad", "spawn ordered", "spawn wanting"]
    assert world.supervisor.states["requiring"].reason == "waits for bad, which is failed"
    assert world.supervisor.settled
    assert world.supervisor.findings() == [
        "bad is failed: exited with status 1",
        "requiring is waiting: waits for bad, which is failed",
    ]
    world.ask("bad", machine.START)
    world.exit("bad", 0)
    assert world.take() == ["spawn bad", "spawn requiring"]
    assert world.supervisor.findings() == []


def test_a_oneshot_that_did_its_work_meets_a_requirement() -> None:
    world = World([make_unit("work", type=plan.ONESHOT), make_unit("next", requires=["work"])])
    world.start()
    assert world.take() == ["measure", "spawn work"]
    world.exit("work", 0)
    assert world.take() == ["spawn next"]


def test_the_boot_set_is_a_barrier() -> None:
    world = World([notify("early", stage=plan.EARLY), make_unit("main")])
    world.start()
    assert world.take() == ["spawn early"]
    assert world.supervisor.states["main"].reason == "waits for the boot set to be measured"
    world.ready("early")
    assert world.take() == ["measure", "spawn main"]
    assert world.supervisor.measured_at == world.now
    world.ask("early", machine.RESTART)
    world.settle()
    world.ready("early")
    assert "measure" not in world.take()


def test_the_boot_set_is_closed_when_early_units_take_too_long() -> None:
    world = World([notify("early", stage=plan.EARLY, start_timeout=3600.0), make_unit("main")])
    world.start()
    assert world.pass_time(MEASURE_DEADLINE_SECONDS - 1) == 100.0 + MEASURE_DEADLINE_SECONDS
    assert world.take() == ["spawn early"]
    world.pass_time(1)
    assert world.take() == ["measure", "spawn main"]


def test_the_boot_set_does_not_wait_for_what_is_held() -> None:
    """An early unit that requires a failed one will not come by itself."""
    units = [
        make_unit("bad", restart=plan.NEVER, type=plan.ONESHOT, stage=plan.EARLY),
        make_unit("behind", requires=["bad"], stage=plan.EARLY),
        make_unit("further", requires=["behind"], stage=plan.EARLY),
        make_unit("main"),
    ]
    world = World(units)
    world.start()
    world.exit("bad", 1)
    assert world.take() == ["spawn bad", "measure", "spawn main"]


def test_a_refusal_stops_nobody_else() -> None:
    world = World([make_unit("a"), make_unit("b"), make_unit("c", after=["a"])])
    world.refuse["a"] = "unsigned"
    world.start()
    assert world.take() == ["measure", "spawn b", "spawn c"]
    assert world.state("a") == machine.REFUSED
    assert world.supervisor.findings() == ["a is refused: unsigned"]
    world.pass_time(1e6)
    assert world.take() == []


def test_what_the_system_cannot_start_is_tried_again() -> None:
    world = World([make_unit("a", backoff_limit=3)])
    world.broken["a"] = "Cannot allocate memory"
    world.start()
    assert world.state("a") == machine.BACKOFF
    assert "cannot start: [Errno 12] Cannot allocate memory" in world.supervisor.findings()[0]
    del world.broken["a"]
    due = world.pass_time(0)
    assert due == world.now + 1
    world.pass_time(1)
    assert world.take() == ["measure", "spawn a"]


def test_the_next_deadline_is_the_nearest() -> None:
    slow, quick = notify("slow", start_timeout=50.0), notify("quick", start_timeout=20.0)
    world = World([slow, quick, make_unit("steady")])
    world.start()
    assert world.pass_time(0) == 120.0
    world.ready("quick")
    assert world.pass_time(0) == 150.0
    world.ready("slow")
    assert world.pass_time(0) == 0.0


def test_what_is_not_ready_in_time_is_killed_even_outside_its_group() -> None:
    world = World([notify("a", start_timeout=20.0)])
    world.start()
    world.take()
    world.pass_time(20)
    assert world.take() == ["kill a"]
    world.settle()
    assert world.supervisor.states["a"].reason == "not ready in 20 s"


def test_the_way_down_is_the_way_up_reversed() -> None:
    world = World([make_unit("a", requires=["b"]), make_unit("b", after=["c"]), make_unit("c")])
    world.start()
    world.take()
    world.supervisor.stop_all()
    assert world.take() == ["term a"]
    assert not world.supervisor.stopped
    world.settle()
    assert world.take() == ["term b", "term c"]
    assert world.supervisor.stopped


def test_a_unit_that_will_not_stop_holds_only_those_below_it() -> None:
    world = World([make_unit("a", after=["b"]), make_unit("b"), make_unit("other")])
    world.start()
    world.take()
    world.obedient = False
    world.supervisor.stop_all()
    assert world.take() == ["term a", "term other"]
    world.pass_time(5)
    assert world.take() == ["kill a", "kill other"]
    world.settle()
    assert world.take() == ["term b"]
    assert world.state("other") == machine.INACTIVE


def test_nothing_comes_back_on_the_way_down() -> None:
    world = World([make_unit("a", after=["b"]), make_unit("b"), notify("c", after=["a"])])
    world.start()
    world.ask("a", machine.RESTART)
    world.exit("b", 1)
    world.take()
    world.supervisor.stop_all()
    world.settle()
    world.pass_time(1e6)
    world.settle()
    assert world.take() == ["term c"]
    assert world.supervisor.stopped


def test_stopping_twice_is_stopping_once() -> None:
    world = World([make_unit("a")])
    world.start()
    world.take()
    world.supervisor.stop_all()
    world.supervisor.stop_all()
    assert world.take() == ["term a"]


def test_in_rescue_only_units_meant_for_it_run_and_nothing_is_measured() -> None:
    world = World([make_unit("shell", rescue=True), make_unit("agent"), make_unit("store")])
    world.start(rescue=True)
    world.pass_time(1000)
    assert world.take() == ["spawn shell"]
    assert (world.state("agent"), world.supervisor.measured) == (machine.INACTIVE, False)


def test_once_healthy_the_last_stage_runs_and_only_then() -> None:
    world = World([notify("main"), make_unit("confirm", stage=plan.HEALTHY)])
    world.start()
    assert world.take() == ["measure", "spawn main"]
    assert world.supervisor.states["confirm"].reason == "waits for the machine to be healthy"
    world.now += 7
    world.ready("main")
    assert world.take() == ["spawn confirm"]
    assert world.supervisor.healthy_at == world.now


def test_an_essential_failure_keeps_the_last_stage_back_and_others_do_not() -> None:
    units = [
        make_unit("crash", restart=plan.NEVER, essential=False),
        make_unit("vital", restart=plan.NEVER, type=plan.ONESHOT),
        make_unit("confirm", stage=plan.HEALTHY),
    ]
    world = World(units)
    world.start()
    world.exit("crash", 1)
    world.exit("vital", 1)
    assert "spawn confirm" not in world.take()
    world.ask("vital", machine.START)
    world.exit("vital", 0)
    assert world.take() == ["spawn vital", "spawn confirm"]


def test_a_gpu_is_asked_for_before_and_given_back_after() -> None:
    world = World([make_unit("a", gpu_profile="1g.10gb")])
    world.start()
    assert world.take() == ["measure", "allocate a"]
    world.answers["a"]({"uuid": "MIG-0"}, "")
    assert world.take() == ["spawn a"]
    world.ask("a", machine.STOP)
    world.settle()
    assert world.take() == ["term a", "release a"]


def test_a_gpu_that_comes_after_the_stop_is_given_back() -> None:
    world = World([make_unit("a", gpu_profile="1g.10gb")])
    world.start()
    world.ask("a", machine.STOP)
    world.take()
    world.answers["a"]({"uuid": "MIG-0"}, "")
    assert world.take() == ["release a"]
    assert world.state("a") == machine.INACTIVE


def test_an_orphan_means_nothing() -> None:
    world = World([make_unit("a")])
    world.start()
    before = dumps(world.supervisor.to_record())
    world.supervisor.exited(4_000_000, 1)
    assert dumps(world.supervisor.to_record()) == before


def test_a_process_belongs_to_the_unit_whose_main_process_it_is() -> None:
    world = World([make_unit("a"), notify("down", requires=["a"])])
    assert world.supervisor.unit_of(0) is None  # what a peer outside the namespace looks like
    world.start()
    assert world.supervisor.unit_of(world.pids["a"]) == "a"
    assert world.supervisor.unit_of(4_000_000) is None


@pytest.mark.parametrize("count", [1, 200])
def test_many_units(count: int) -> None:
    units = [make_unit(f"u{n}", after=[f"u{n - 1}"] if n else []) for n in range(count)]
    world = World(units)
    world.start()
    assert len(world.take()) == count + 1
    world.supervisor.stop_all()
    world.settle()
    assert world.supervisor.stopped


@given(st.data())
def test_whatever_happens_the_way_down_ends(data: st.DataObject) -> None:
    names = ["a", "b", "c", "d"]
    units = [
        make_unit(
            name,
            type=data.draw(st.sampled_from(plan.TYPES)),
            restart=data.draw(st.sampled_from(plan.RESTARTS)),
            after=data.draw(st.lists(st.sampled_from(names[:index] or ["x"]), max_size=2)),
            requires=data.draw(st.lists(st.sampled_from(names[:index]), max_size=1))
            if index
            else [],
            gpu_profile=data.draw(st.sampled_from(["", "1g.10gb"])),
        )
        for index, name in enumerate(names)
    ]
    world = World(units)
    world.start()
    for _ in range(data.draw(st.integers(0, 25))):
        name = data.draw(st.sampled_from(names))
        match data.draw(
            st.sampled_from(["exit", "ready", "time", "start", "stop", "restart", "gpu"])
        ):
            case "exit" if name in world.pids:
                world.exit(name, data.draw(st.sampled_from([0, 1, -9])))
            case "ready":
                world.ready(name)
            case "time":
                world.pass_time(data.draw(st.sampled_from([1.0, 30.0, 100.0])))
            case "gpu" if name in world.answers:
                world.answers.pop(name)({"uuid": "MIG-0"}, "")
            case "start" | "stop" | "restart" as kind:
                world.ask(name, kind)
            case _:
                pass
        running = {n for n, state in world.supervisor.states.items() if state.pid}
        assert running == set(world.pids)
    world._signals.clear()
    world.supervisor.stop_all()
    for _ in range(len(names) + 1):
        for name in list(world.pids):
            if world.state(name) == machine.STOPPING:
                world.exit(name, -15)
    assert world.supervisor.stopped
    assert not world.pids
