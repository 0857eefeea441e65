"""Timers: what starts when, over clock jumps and over a PID 1 that takes over."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.pid1 import loop
from ainit.pid1.stamps import Stamps
from ainit.pid1.timers import Timers
from ainit.policy.plan import Record, Unit

HOUR = 3600
HOURLY = [{"minute": [0], "second": [0]}]
DAILY = [{"hour": [3], "minute": [0], "second": [0]}]
DAY = 86400
NOON = 20000 * DAY + 12 * HOUR  # a noon in 2024


def unit(name: str, **keys: object) -> Unit:
    return Unit.from_record({"name": name, "kind": "service", **keys})


class World:
    """A clock since boot, a clock on the wall, and what was started. ``crash`` gives PID 1 anew."""

    def __init__(self, *units: Unit, stamps: Stamps | None = None, wall: float = NOON) -> None:
        self.now = 100.0
        self.offset = wall - 100.0
        self.starts: list[tuple[str, float]] = []
        self.why: list[str] = []
        self.running: set[str] = set()
        self.said: list[tuple[str, str]] = []
        self.journal: Record = {}
        self.stamps = stamps
        self.units = list(units)
        self.wanted: dict[str, float] = {}
        self.dies_at_start = self.dies_after_start = False
        self.timers = self.boot()

    def boot(self) -> Timers:
        self.timers = Timers(
            start=self._start,
            running=self.running.__contains__,
            say=lambda name, text: self.said.append((name, text)),
            wanted_at=lambda name: self.wanted.get(name, 0.0),
            journal=self.journal.__setitem__,
            stamps=self.stamps,
            now=lambda: self.now,
            wall=lambda: self.wall,
        )
        self.timers.resume(dict(self.journal))
        self.timers.configure(self.units)
        return self.timers

    @property
    def wall(self) -> float:
        return self.now + self.offset

    def _start(self, name: str, why: str) -> None:
        if self.dies_at_start:
            self.dies_at_start = False
            raise MemoryError
        self.starts.append((name, self.now))
        self.why.append(why)
        self.wanted[name] = self.now
        if self.dies_after_start:
            self.dies_after_start = False
            raise MemoryError
        self.timers.started(name, self.now)

    def run(self, seconds: float) -> list[float]:
        """Let time pass, going from deadline to deadline; when something was started."""
        end, before = self.now + seconds, len(self.starts)
        while True:
            deadline = self.timers.hook(self.now)
            assert not deadline or deadline > self.now
            if not deadline or deadline > end:
                break
            self.now = deadline
        self.now = end
        self.timers.hook(end)
        return [at for _, at in self.starts[before:]]

    def set_clock(self, wall: float) -> None:
        self.offset = wall - self.now
        self.timers.hook(self.now)


def test_a_time_after_boot_comes_once() -> None:
    world = World(unit("a", timer_boot=160.0))
    assert world.run(DAY) == [160.0]
    assert world.why == ["its timer: 160 s after boot"]


def test_a_time_after_boot_that_is_past_when_the_unit_comes_is_now() -> None:
    assert World(unit("a", timer_boot=5.0)).run(10) == [100.0]


def test_every_counts_from_the_last_start_whoever_did_it() -> None:
    world = World(unit("a", timer_boot=110.0, timer_every=60.0))
    assert world.run(100) == [110.0, 170.0]
    world.timers.started("a", world.now)
    assert world.run(100) == [260.0]
    assert world.why[1:] == ["its timer: 60 s after its last start"] * 2


def test_every_without_another_timer_counts_from_boot_on() -> None:
    assert World(unit("a", timer_every=60.0)).run(130) == [160.0, 220.0]


def test_every_beside_a_calendar_waits_for_its_first_start() -> None:
    world = World(unit("a", timer_calendar=HOURLY, timer_every=1000.0), wall=NOON - 50)
    assert world.run(2000) == [150.0, 1150.0]


def test_a_unit_that_still_runs_is_not_started_again_and_its_log_says_so() -> None:
    world = World(unit("a", timer_every=60.0))
    world.running.add("a")
    assert world.run(61) == []
    assert world.said == [
        ("a", "its timer elapsed while it still ran: it is not started again"),
    ]
    world.running.clear()
    assert world.run(60) == [220.0]


def test_the_calendar_starts_at_each_of_its_times() -> None:
    world = World(unit("a", timer_calendar=[*HOURLY, {"minute": [30], "second": [0]}]))
    assert world.run(2 * HOUR) == [1900.0, 3700.0, 5500.0, 7300.0]
    assert world.timers.next("a") == 9100.0


def test_a_calendar_that_is_over_waits_for_nothing() -> None:
    world = World(unit("a", timer_calendar=[{"year": [2020]}]))
    assert world.run(DAY) == []
    assert world.timers.next("a") == 0.0


def test_a_jump_forwards_over_several_elapses_starts_once() -> None:
    world = World(unit("a", timer_calendar=HOURLY))
    world.set_clock(NOON + 5 * HOUR + 60)
    assert len(world.starts) == 1
    assert world.run(HOUR) == [world.now - 60]


def test_a_jump_backwards_starts_nothing_twice() -> None:
    world = World(unit("a", timer_calendar=HOURLY))
    assert len(world.run(3 * HOUR)) == 3
    world.set_clock(NOON + 60)
    assert world.run(3 * HOUR - 61) == []
    assert len(world.run(HOUR + 2)) == 1  # 16:00 is new


def test_what_a_wrong_clock_jumped_over_comes_in_its_time() -> None:
    """2 days ahead by mistake: one start for what is next; the others come when they are due."""
    world = World(unit("a", timer_calendar=DAILY))
    world.set_clock(NOON + 2 * DAY)
    assert len(world.starts) == 1
    world.set_clock(NOON)
    assert world.run(16 * HOUR) == []  # 3 o'clock, which it was started for
    assert len(world.run(DAY)) == 1


def test_a_clock_that_was_years_ahead_does_not_silence_a_timer() -> None:
    world = World(unit("a", timer_calendar=HOURLY), wall=NOON + 3650 * DAY)
    assert len(world.run(HOUR)) == 1
    world.set_clock(NOON)
    assert len(world.run(DAY)) == 24


def test_a_timer_that_ended_in_a_wrong_future_comes_again() -> None:
    world = World(unit("a", timer_calendar=[{"year": [2030]}]), wall=NOON + 30 * 365 * DAY)
    world.set_clock(NOON)
    assert world.timers.next("a") > world.now


def test_a_correction_of_less_than_a_second_starts_nothing_twice() -> None:
    world = World(unit("a", timer_calendar=HOURLY))
    assert len(world.run(HOUR)) == 1
    world.set_clock(world.wall - 0.9)
    assert world.run(HOUR - 10) == []


def test_what_was_due_when_the_clock_was_set_back_is_started() -> None:
    world = World(unit("a", timer_calendar=HOURLY))
    world.now += HOUR + 5  # nobody looked in between
    world.set_clock(NOON - HOUR - 10)
    assert len(world.starts) == 1
    assert len(world.run(HOUR)) == 1  # 11:00, which the clock had not shown before
    assert len(world.run(HOUR)) == 1  # 12:00
    assert world.run(HOUR) == []  # 13:00 was before the jump
    assert len(world.run(HOUR)) == 1


def test_an_elapse_put_off_by_jitter_survives_a_jump_back() -> None:
    world = World(unit("a", timer_calendar=HOURLY, timer_jitter=1800.0))
    world.run(HOUR + 1)  # 13:00 is put off until then
    assert world.starts == []
    world.set_clock(NOON + HOUR - 60)
    assert len(world.run(HOUR + 60)) == 1


def test_jitter_is_bounded_differs_by_unit_and_day_and_can_be_repeated() -> None:
    units = [unit(f"u{number}", timer_calendar=DAILY, timer_jitter=600.0) for number in range(200)]
    first, second = World(*units), World(*units)
    first.run(DAY)
    assert second.run(DAY) == [at for _, at in first.starts]
    delays = [at - 100.0 - 15 * HOUR for _, at in first.starts]
    assert len(delays) == 200
    assert 0 <= min(delays) < 30
    assert 570 < max(delays) < 600
    assert len({round(delay) for delay in delays}) > 100
    days = [at - 100.0 - 15 * HOUR - DAY for name, at in first.starts if name == "u7"]
    first.run(DAY)
    assert days != [at - 100.0 - 15 * HOUR - 2 * DAY for n, at in first.starts[200:] if n == "u7"]


def test_jitter_longer_than_the_period_loses_no_elapse_that_is_still_to_come() -> None:
    world = World(unit("a", timer_calendar=[{"second": [0]}], timer_jitter=300.0))
    starts = world.run(HOUR)
    assert 20 < len(starts) <= 60
    assert starts == sorted(starts)


def test_a_thousand_timers_start_once_each_and_are_not_scanned() -> None:
    world = World(*(unit(f"u{number}", timer_every=1000.0 + number) for number in range(1000)))
    assert len(world.run(1999)) == 1000
    assert {name for name, _ in world.starts} == {f"u{number}" for number in range(1000)}


def test_starts_by_others_leave_nothing_behind() -> None:
    world = World(unit("a", timer_every=DAY * 1.0))
    for _ in range(1000):
        world.timers.started("a", world.now)
    assert len(world.timers._boot) == 1


def test_a_unit_that_is_gone_starts_no_more_and_one_that_stays_goes_on() -> None:
    world = World(unit("a", timer_every=60.0), unit("b", timer_every=60.0))
    world.run(30)
    world.timers.configure([unit("b", timer_every=60.0)])
    world.run(40)
    assert world.starts == [("b", 160.0)]
    assert world.timers.next("a") == 0.0


def test_a_timer_that_is_changed_counts_anew_but_not_from_boot() -> None:
    world = World(unit("a", timer_boot=110.0))
    assert world.run(20) == [110.0]
    world.timers.configure([unit("a", timer_boot=110.0, timer_jitter=1.0)])
    assert world.run(DAY) == []
    world.timers.configure([unit("a", timer_every=50.0)])
    assert world.run(1) == [world.now - 1]


@pytest.mark.parametrize("keys", [{"timer_every": 60.0}, {"timer_calendar": [{"second": [0]}]}])
def test_a_pid_1_that_takes_over_goes_on(keys: dict[str, object]) -> None:
    world = World(unit("a", **keys))
    first = world.run(130)
    world.boot()
    assert len(first) == 2
    assert world.run(60) == [first[-1] + 60]


def test_what_elapses_while_nobody_is_there_is_started() -> None:
    world = World(unit("a", timer_calendar=HOURLY), unit("b", timer_boot=3000.0))
    world.now += HOUR + 1
    world.boot()
    world.run(1)
    assert sorted(name for name, _ in world.starts) == ["a", "b"]


@pytest.mark.parametrize(
    "keys", [{"timer_every": 60.0}, {"timer_calendar": HOURLY}, {"timer_boot": 160.0}]
)
@pytest.mark.parametrize("did", [False, True])
def test_a_fault_at_the_start_costs_no_start_and_makes_no_second(
    keys: dict[str, object], did: bool
) -> None:
    world = World(unit("a", **keys))
    world.dies_at_start = True
    with pytest.raises(MemoryError):
        world.run(HOUR)
    if did:  # the unit was started, and only what follows was lost
        world.running.add("a")
    world.boot()
    world.timers.hook(world.now)
    assert len(world.starts) == (0 if did else 1)
    assert world.said == []
    before = len(world.starts)
    world.timers.hook(world.now)
    assert len(world.starts) == before


def test_a_clock_set_while_nobody_was_there_is_noticed() -> None:
    world = World(unit("a", timer_calendar=HOURLY))
    assert len(world.run(HOUR)) == 1
    world.offset -= HOUR - 60
    world.boot()
    assert world.run(HOUR - 120) == []
    assert len(world.run(HOUR + 61)) == 1


def test_a_journal_of_another_version_does_no_harm() -> None:
    world = World(unit("a", timer_every=60.0))
    world.journal = {"": {"offset": "x"}, "a": {"base": None, "later": 1}, "gone": {}}
    world.boot()
    assert world.run(61) == [160.0]


def test_the_record_says_what_was_journaled() -> None:
    world = World(unit("a", timer_every=60.0), unit("b", timer_calendar=HOURLY))
    world.run(HOUR)
    assert world.timers.to_record() == world.journal


def test_a_persistent_timer_makes_up_once_for_what_it_missed(tmp_path: Path) -> None:
    stamps = Stamps(str(tmp_path / "timers"))
    keys = {"timer_calendar": DAILY, "timer_persistent": True}
    assert World(unit("a", **keys), stamps=stamps).run(HOUR) == []  # never seen before
    later = World(unit("a", **keys), stamps=stamps, wall=NOON + 3 * DAY)
    assert later.run(HOUR) == [100.0]
    assert World(unit("a", **keys), stamps=stamps, wall=NOON + 3 * DAY + 60).run(HOUR) == []
    assert stamps.read("a") == NOON + 3 * DAY


def test_a_stamp_of_the_future_is_not_waited_for(tmp_path: Path) -> None:
    stamps = Stamps(str(tmp_path))
    stamps.write("a", NOON + 3650 * DAY)
    world = World(unit("a", timer_calendar=HOURLY, timer_persistent=True), stamps=stamps)
    assert len(world.run(HOUR)) == 1
    assert stamps.read("a") == NOON + HOUR


def test_a_timer_that_is_not_persistent_leaves_no_file(tmp_path: Path) -> None:
    World(unit("a", timer_calendar=HOURLY), stamps=Stamps(str(tmp_path))).run(HOUR)
    assert list(tmp_path.iterdir()) == []


def test_a_stamp_that_cannot_be_written_is_said_and_the_unit_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    stamps = Stamps(str(tmp_path / "file"))
    world = World(unit("a", timer_calendar=HOURLY, timer_persistent=True), stamps=stamps)
    assert len(world.run(HOUR)) == 1
    assert world.said[-1][1].startswith("when its timer elapsed cannot be kept: ")


def test_the_loop_wakes_for_a_timer() -> None:
    events, started = loop.Loop(), list[str]()
    timers = Timers(
        start=lambda name, why: started.append(name),
        running=lambda name: False,
        say=lambda name, text: None,
    )
    timers.configure([unit("a", timer_every=0.01)])
    events.hook(timers.hook)
    while not started:
        events.turn()


def test_what_a_former_pid1_did_start_is_not_started_again() -> None:
    """Not even when it is over by then: a fault came between the start and its record."""
    world = World(unit("a", timer_boot=160.0))
    world.dies_after_start = True
    with pytest.raises(MemoryError):
        world.run(100)
    world.boot()
    assert world.run(100) == []
    assert world.starts == [("a", 160.0)]


def test_what_became_a_start_is_not_about_to_be_one() -> None:
    world = World(unit("a", timer_boot=160.0, timer_every=600.0))
    world.dies_after_start = True
    with pytest.raises(MemoryError):
        world.run(100)
    world.timers.started("a", 160.5)  # a moment after it was wanted
    world.boot()
    assert world.run(100) == []
