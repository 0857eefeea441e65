"""What holds of a unit whatever happens to it, in whatever order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ainit.policy import machine, plan
from ainit.policy import state as life
from ainit.policy.state import Event, State
from ainit.wire.codec import dumps, loads
from tests.support.units import make_unit

NOW = 1000.0


class Life(RuleBasedStateMachine):
    """Random events in any order, as a hostile world would send them.

    The supervisor's part: it reports on a spawn at once, each exit is that of a process, and it
    says who is left in the cgroup.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.state = State("u")
        self.unit = make_unit()
        self.group: set[int] = set()  # who lives in the cgroup
        self.next_pid = 1
        self.spawned = 0
        self.held = False
        self.asked = 0
        self.frozen = False  # the cgroup, as the kernel sees it

    @initialize(
        type=st.sampled_from(plan.TYPES),
        restart=st.sampled_from(plan.RESTARTS),
        limit=st.integers(0, 3),
        gpu=st.booleans(),
        watchdog=st.sampled_from([0.0, 3.0]),
        probed=st.booleans(),
        exhausted=st.sampled_from(plan.EXHAUSTIONS),
    )
    def choose(
        self,
        type: str,  # noqa: A002
        restart: str,
        limit: int,
        gpu: bool,
        watchdog: float,
        probed: bool,
        exhausted: str,
    ) -> None:
        self.unit = make_unit(
            type=type,
            restart=restart,
            backoff_limit=limit,
            gpu_profile="1g.10gb" if gpu and type != plan.TARGET else "",
            watchdog=watchdog,
            probe_readiness=probed,
            exhausted=exhausted,
            reload_signal=1,
            gpu_resizable=True,
        )

    def feed(self, event: Event) -> None:  # noqa: C901 - one branch for each action
        before, failures = self.state.state, self.state.failures
        actions = machine.step(self.unit, self.state, event, self.now)
        for action in actions:
            match action:
                case life.SPAWN:
                    assert self.state.state == life.STARTING
                    assert not self.state.pid
                    assert not self.group, "started before the last one was gone"
                    assert not self.state.quarantine
                case life.TERMINATE:
                    assert self.state.pid in self.group or not self.state.pid
                    assert not self.frozen, "asked to stop, which it cannot hear"
                case life.KILL:
                    assert event.kind != life.DEADLINE or before != life.QUARANTINED
                case life.FREEZE:
                    assert self.group
                    self.frozen = True
                case life.THAW:
                    self.frozen = False
                case life.EVIDENCE:
                    assert self.state.quarantine
                case life.ALLOCATE:
                    self.asked += 1
                case life.RELEASE:
                    self.held = False
                case life.EXHAUST:
                    assert self.unit.exhausted != plan.HOLD
                    assert self.unit.backoff_limit == failures < self.state.failures
                    assert self.state.state == life.FAILED
        if self.state.state == life.READY and before != life.READY:
            assert self.state.desired == life.UP
        if life.SPAWN in actions:
            self.spawn_with()
        if self.state.state == life.DRAINING and not self.group:
            self.feed(Event(life.EMPTIED))  # whoever begins to watch it sees that

    def born(self) -> int:
        self.next_pid += 1
        self.group.add(self.next_pid)
        return self.next_pid

    def spawn_with(self) -> None:
        self.spawned += 1
        match self.spawned % 7:
            case 5:
                self.feed(Event(life.NOT_SPAWNED, reason="no memory"))
            case 6:
                self.feed(Event(life.DENIED, reason="unsigned"))
            case _:
                self.feed(Event(life.SPAWNED, pid=self.born(), started=1))

    @rule(
        kind=st.sampled_from(
            [life.START, life.STOP, life.RESTART, life.RELOAD, life.GO, life.HOLD,
             life.NOTIFIED_READY, life.RELOADING, life.NOTIFIED_STOPPING, life.TROUBLE, life.MOVE,
             life.TURN, life.QUARANTINE, life.FROZEN, life.LET_GO]
        )
    )  # fmt: skip
    def request(self, kind: str) -> None:
        self.feed(Event(kind, reason="so"))

    @rule(kind=st.sampled_from([life.PING, life.EXTEND]), seconds=st.sampled_from([0.0, 2.0]))
    def say(self, kind: str, seconds: float) -> None:
        self.feed(Event(kind, seconds=seconds))

    @rule(status=st.sampled_from([0, 1, -9]), late=st.booleans())
    def go_on(self, status: int, late: bool) -> None:
        """What a working world would do next, so that no state is out of reach."""
        if self.asked and not late:
            self.gpu_answer(given=True)
        elif self.state.pid:
            self.feed(Event(life.NOTIFIED_READY))
            self.exit(status)
        elif self.group:
            self.last_exit()
        elif self.state.deadline:
            self.now = max(self.now, self.state.deadline)
            self.feed(Event(life.DEADLINE))
        else:
            self.feed(Event(life.GO if self.state.state == life.WAITING else life.START))

    @rule(given=st.booleans())
    @precondition(lambda self: self.asked > 0)
    def gpu_answer(self, given: bool) -> None:
        self.asked -= 1
        if given:
            self.held = True
            self.feed(Event(life.ALLOCATED, gpu={"uuid": "MIG-0"}))
        else:
            self.feed(Event(life.NOT_ALLOCATED, reason="full"))

    @rule(seconds=st.sampled_from([0.5, 15.0]))
    @precondition(lambda self: self.asked > 0)
    def gpu_later(self, seconds: float) -> None:
        self.asked -= 1
        self.feed(Event(life.QUEUED, reason="second of two", seconds=seconds))

    @invariant()
    def who_stands_in_the_queue_asks_again(self) -> None:
        assert not self.state.queued or self.state.state == life.ALLOCATING

    @rule()
    def revoke(self) -> None:
        self.feed(Event(life.REVOKED, reason="its GPU is lost", gpu={"uuid": "MIG-0"}))

    @rule()
    @precondition(lambda self: self.group)
    def fork(self) -> None:
        self.born()

    @rule(status=st.sampled_from([0, 1, -9, -15]))
    @precondition(lambda self: self.state.pid)
    def exit(self, status: int) -> None:
        self.group.remove(self.state.pid)
        event = Event(life.EXIT, pid=self.state.pid, status=status, reason="gone")
        event.left = bool(self.group)
        self.frozen &= bool(self.group)  # the next process is born into a group made anew
        if len(self.group) == 1:
            (event.main,) = self.group
            event.started = 1
        self.feed(event)

    @rule()
    @precondition(lambda self: self.group - {self.state.pid})
    def last_exit(self) -> None:
        """All but the main process end."""
        self.group &= {self.state.pid}
        self.frozen &= bool(self.group)
        if not self.group:
            self.feed(Event(life.EMPTIED))

    @rule()
    @precondition(lambda self: self.state.pid and len(self.group) > 1)
    def another_main(self) -> None:
        pid = max(self.group - {self.state.pid})
        self.feed(Event(life.MAIN_PID, pid=pid, started=1))

    @rule(pid=st.integers(10**6, 10**6 + 5))
    def orphan_exits(self, pid: int) -> None:
        before = dumps(self.state.to_record())
        self.feed(Event(life.EXIT, pid=pid, status=0))
        assert dumps(self.state.to_record()) == before

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Event(life.DEADLINE))

    @rule(wish=st.sampled_from([life.START, life.RESTART, life.STOP]))
    def it_is_stopped_for_good(self, wish: str) -> None:
        """After a stop and the end of every process it is down, whatever was wanted before."""
        self.feed(Event(wish))
        self.feed(Event(life.STOP))
        if self.state.pid:
            self.exit(-15)
        if self.group:
            self.last_exit()
        assert self.state.is_stopped
        assert bool(self.state.quarantine) == (self.state.state == life.QUARANTINED)

    @rule(wish=st.sampled_from([life.START, life.RESTART, life.HOLD, life.TROUBLE, life.MOVE]))
    @precondition(lambda self: self.state.state == life.QUARANTINED)
    def it_goes_on_where_it_stood(self, wish: str) -> None:
        """Nothing but a stop, and no time, changes what is frozen."""
        was, pid, group, alive = self.state.was, self.state.pid, set(self.group), bool(self.group)
        self.feed(Event(wish, reason="so"))
        self.now += 1000.0
        self.feed(Event(life.DEADLINE))
        assert self.state.state == life.QUARANTINED
        self.feed(Event(life.LET_GO))
        assert (self.state.pid, self.group) == (pid, group)
        if alive:
            assert self.state.state == was
        elif wish == life.START:
            assert self.state.state == life.WAITING

    @invariant()
    def only_quarantine_is_frozen(self) -> None:
        if self.frozen and self.group:
            assert self.state.quarantine
            assert self.state.state in (life.QUARANTINED, life.STOPPING, life.DRAINING)
        if self.state.state == life.QUARANTINED:
            assert self.state.quarantine
            assert self.frozen or not self.group
        if self.state.quarantine:
            assert self.state.state in (life.QUARANTINED, life.STOPPING, life.DRAINING)

    @invariant()
    def a_pid_means_running(self) -> None:
        assert not self.state.pid or self.state.pid in self.group
        assert not self.state.pid or self.state.is_alive
        mainless = self.state.state in life.RUNNING and not self.state.pid
        assert not mainless or self.unit.type in (plan.FORKING, plan.TARGET)

    @invariant()
    def nobody_is_left_behind(self) -> None:
        assert not self.group or self.state.is_alive

    @invariant()
    def every_wait_has_a_deadline(self) -> None:
        if self.state.state in (life.ALLOCATING, life.BACKOFF, life.STOPPING, life.DRAINING):
            assert self.state.deadline
        if self.state.state == life.STARTING:
            assert self.state.deadline or self.state.killed
        if self.state.state in (*life.DOWN_STATES, life.WAITING):
            assert not self.state.next_deadline

    @invariant()
    def only_what_is_ready_is_watched(self) -> None:
        assert not self.state.watchdog_at or self.state.state == life.READY

    @invariant()
    def it_is_held_after_the_limit(self) -> None:
        if self.unit.backoff_limit:
            assert self.state.failures <= self.unit.backoff_limit + 1
            if self.state.failures > self.unit.backoff_limit:
                assert self.state.state in (life.FAILED, life.INACTIVE, life.QUARANTINED)

    @invariant()
    def a_gpu_is_released_when_down(self) -> None:
        assert self.held == (self.state.gpu is not None)
        assert not (self.held and self.state.state in life.DOWN_STATES)

    @invariant()
    def nothing_runs_on_a_gpu_that_was_revoked(self) -> None:
        assert not (self.state.moving and self.state.state in (life.STARTING, life.READY))

    @invariant()
    def down_means_down(self) -> None:
        if self.state.desired == life.DOWN:
            assert self.state.state in (
                life.INACTIVE, life.STOPPING, life.DRAINING, life.FAILED, life.QUARANTINED
            )  # fmt: skip

    @invariant()
    def its_json_form_is_all_of_it(self) -> None:
        text = dumps(self.state.to_record())
        record = loads(text)
        assert isinstance(record, dict)
        assert dumps(State.from_record(record).to_record()) == text


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
