"""What holds of a unit whatever happens to it, in whatever order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ainit.policy import machine, plan
from ainit.policy.machine import Event, State
from ainit.wire.codec import dumps, loads
from tests.support.units import make_unit

NOW = 1000.0


class Life(RuleBasedStateMachine):
    """Random events in any order, as a hostile world would send them.

    The supervisor's part: it reports on a spawn at once, and each exit is that of a process.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.state = State("u")
        self.unit = make_unit()
        self.alive: set[int] = set()
        self.spawned = 0
        self.held: bool = False
        self.asked = 0

    @initialize(
        type=st.sampled_from(plan.TYPES),
        restart=st.sampled_from(plan.RESTARTS),
        limit=st.integers(0, 3),
        gpu=st.booleans(),
    )
    def choose(self, type: str, restart: str, limit: int, gpu: bool) -> None:  # noqa: A002
        profile = "1g.10gb" if gpu else ""
        self.unit = make_unit(type=type, restart=restart, backoff_limit=limit, gpu_profile=profile)

    def feed(self, event: Event) -> None:
        pid, deadline = self.state.pid, self.state.deadline
        actions = machine.step(self.unit, self.state, event, self.now)
        for action in actions:
            match action:
                case machine.SPAWN:
                    assert not self.alive, "two processes at once"
                case machine.TERMINATE:
                    assert self.state.pid in self.alive
                case machine.KILL:
                    assert pid
                case machine.ALLOCATE:
                    self.asked += 1
                case machine.RELEASE:
                    self.held = False
        assert deadline or not actions or event.kind != machine.DEADLINE
        if machine.SPAWN in actions:
            self.spawn_with()

    def spawn_with(self) -> None:
        self.spawned += 1
        match self.spawned % 7:
            case 5:
                self.feed(Event(machine.NOT_SPAWNED, reason="no memory"))
            case 6:
                self.feed(Event(machine.DENIED, reason="unsigned"))
            case _:
                self.alive.add(self.spawned)
                self.feed(Event(machine.SPAWNED, pid=self.spawned, started=1))

    @rule(
        kind=st.sampled_from(
            [machine.START, machine.STOP, machine.RESTART, machine.GO, machine.NOTIFIED_READY]
        )
    )
    def request(self, kind: str) -> None:
        self.feed(Event(kind))

    @rule(status=st.sampled_from([0, 1, -9]), late=st.booleans())
    def go_on(self, status: int, late: bool) -> None:
        """What a working world would do next, so that no state is out of reach."""
        if self.asked and not late:
            self.gpu_answer(given=True)
        elif self.alive:
            self.feed(Event(machine.NOTIFIED_READY))
            self.exit(status)
        elif self.state.deadline:
            self.now = self.state.deadline
            self.feed(Event(machine.DEADLINE))
        else:
            self.feed(Event(machine.GO if self.state.state == machine.WAITING else machine.START))

    @rule(given=st.booleans())
    @precondition(lambda self: self.asked > 0)
    def gpu_answer(self, given: bool) -> None:
        self.asked -= 1
        if given:
            self.held = True
            self.feed(Event(machine.ALLOCATED, gpu={"uuid": "MIG-0"}))
        else:
            self.feed(Event(machine.NOT_ALLOCATED, reason="full"))

    @rule(status=st.sampled_from([0, 1, -9, -15]))
    @precondition(lambda self: self.alive)
    def exit(self, status: int) -> None:
        self.feed(Event(machine.EXIT, pid=self.alive.pop(), status=status, reason="gone"))

    @rule(pid=st.integers(10**6, 10**6 + 5))
    def orphan_exits(self, pid: int) -> None:
        before = dumps(self.state.to_record())
        self.feed(Event(machine.EXIT, pid=pid, status=0))
        assert dumps(self.state.to_record()) == before

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Event(machine.DEADLINE))

    @invariant()
    def a_pid_means_running(self) -> None:
        assert bool(self.state.pid) == (self.state.state in machine.RUNNING)
        assert self.alive == ({self.state.pid} if self.state.pid else set())

    @invariant()
    def every_wait_has_a_deadline(self) -> None:
        if self.state.state in (machine.ALLOCATING, machine.BACKOFF):
            assert self.state.deadline
        if self.state.state in (machine.STARTING, machine.STOPPING):
            assert self.state.deadline or self.state.killed
        if self.state.state in (*machine.SETTLED, machine.WAITING):
            assert not self.state.deadline

    @invariant()
    def it_is_held_after_the_limit(self) -> None:
        if self.unit.backoff_limit:
            assert self.state.failures <= self.unit.backoff_limit + 1
            if self.state.failures > self.unit.backoff_limit:
                assert self.state.state in (machine.FAILED, machine.INACTIVE)

    @invariant()
    def a_gpu_is_released_when_down(self) -> None:
        assert self.held == (self.state.gpu is not None)
        if self.state.state in (machine.INACTIVE, machine.FAILED, machine.REFUSED, machine.EXITED):
            assert not self.held

    @invariant()
    def down_means_down(self) -> None:
        if self.state.desired == machine.DOWN:
            assert self.state.state in (machine.INACTIVE, machine.STOPPING)

    @invariant()
    def its_json_form_is_all_of_it(self) -> None:
        text = dumps(self.state.to_record())
        record = loads(text)
        assert isinstance(record, dict)
        assert dumps(State.from_record(record).to_record()) == text


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
