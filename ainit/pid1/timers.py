"""Starts units at a time: after boot, after their last start, and by the calendar.

Seconds after boot and after a start are on CLOCK_BOOTTIME, which nobody sets. A calendar is on
CLOCK_REALTIME, in UTC, and that clock jumps: forwards over several elapses, and the unit is started
once; backwards, and it is not started again for what it was started for (see ``clock``). What is
about to be started is journaled before, and that it was started after, so that a PID 1 that takes
over starts it once. Leaves out waiting (``hook`` says until when), and files (see ``stamps``).

>>> timers = Timers(start=start, running=running, say=logs.say, journal=keep,   # doctest: +SKIP
...                 stamps=Stamps(constants.TIMERS), seed=hostname)
>>> timers.resume(kept); timers.configure(plan.units)                           # doctest: +SKIP
>>> loop.hook(timers.hook)                                                      # doctest: +SKIP
"""

from __future__ import annotations

import time
from _heapq import heapify, heappop, heappush

from ..policy.calendar import next_of
from .clock import WallClock
from .loop import now as boot_now
from .timer import Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..policy.plan import Record, Unit
    from .stamps import Stamps

_LOOKED_AHEAD = 64  # elapses within the jitter of one another


class Timers:
    """The timers of all units. ``start(name, why)`` is called when one elapses, unless
    ``running(name)``: then ``say(name, text)`` is. ``wanted_at(name)`` tells when a unit was last
    started, in seconds since boot: whether a former PID 1 carried out what it was about to.

    ``journal(name, record)`` keeps what ``resume`` takes; the name "" is the clock's.
    """

    def __init__(  # noqa: PLR0913 - what PID 1 gives it
        self,
        *,
        start: Callable[[str, str], None],
        running: Callable[[str], bool],
        say: Callable[[str, str], None],
        wanted_at: Callable[[str], float] = lambda name: 0.0,
        journal: Callable[[str, Record], None] = lambda name, record: None,
        stamps: Stamps | None = None,
        seed: str = "",
        now: Callable[[], float] = boot_now,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._start = start
        self._running = running
        self._wanted_at = wanted_at
        self._say = say
        self._journal = journal
        self._stamps = stamps
        self._seed = seed
        self._now = now
        self._wall = wall
        self._timers: dict[str, Timer] = {}
        self._kept: Record = {}
        self._boot: list[tuple[float, str]] = []
        self._calendar: list[tuple[float, str]] = []
        self._again: list[str] = []
        self._clock = WallClock(now(), wall())

    def resume(self, record: Record) -> None:
        """Take over what was journaled, by name; before ``configure``."""
        self._kept = dict(record)
        clock = self._kept.pop("", None)
        if isinstance(clock, dict):
            self._clock.resume(clock)

    def to_record(self) -> Record:
        """Everything that was journaled and still counts."""
        record: Record = {name: timer.to_record() for name, timer in self._timers.items()}
        return {"": self._clock.to_record(), **record}

    def configure(self, units: Iterable[Unit]) -> None:
        """Arm the timers of these units and forget all others. One that is as it was goes on."""
        now, wall = self._now(), self._wall()
        if not self._timers:
            self._journal("", self._clock.to_record())
        before, self._timers = self._timers, {}
        for unit in units:
            if unit.timer_calendar or unit.timer_boot or unit.timer_every:
                timer = before.get(unit.name)
                if timer is None or not timer.fits(unit):
                    timer = self._arm(unit, timer, now, wall)
                timer.unit = unit
                self._timers[unit.name] = timer
        self._kept = {}
        self._boot.clear()
        for timer in self._timers.values():
            timer.queued = False
            self._push(timer)
        self._push_calendar()

    def started(self, name: str, at: float) -> None:
        """A unit was started, by whatever, so many seconds after boot."""
        timer = self._timers.get(name)
        if timer is not None and timer.unit.timer_every:
            timer.base, timer.pending = at, ""
            self._journal(name, timer.to_record())
            self._push(timer)

    def next(self, name: str) -> float:
        """When a unit's timer elapses next, in seconds since boot; 0 for never."""
        timer = self._timers.get(name)
        if timer is None:
            return 0.0
        due = timer.due()
        if timer.elapse is not None:
            calendar = timer.at(timer.elapse) - self._wall() + self._now()
            due = min(due or calendar, calendar)
        return due

    def hook(self, now: float) -> float:
        """Start what is due; returns when something is next (0: never). For ``Loop.hook``."""
        wall = self._wall()
        if self._clock.was_set(now, wall):
            self._was_set(now, wall)
        while self._again:
            self._resume(self._again.pop(), now)
        while self._boot and self._boot[0][0] <= now:
            self._elapse_boot(heappop(self._boot)[1], now)
        self._elapse_calendar(wall, now)
        deadline = self._boot[0][0] if self._boot else 0.0
        if self._calendar:
            calendar = now + self._calendar[0][0] - wall
            deadline = min(deadline or calendar, calendar)
        return deadline

    def _arm(self, unit: Unit, before: Timer | None, now: float, wall: float) -> Timer:
        timer = Timer(unit, self._seed)
        kept = self._kept.get(unit.name)
        if isinstance(kept, dict):
            timer.resume(kept)
            if timer.pending:
                self._again.append(unit.name)
        elif before is not None:
            timer.base, timer.last = before.base, before.last
            timer.boot = timer.boot and (before.boot or not before.unit.timer_boot)
        if not timer.base and not unit.timer_boot and not unit.timer_calendar:
            timer.base = now
        elapse = timer.elapse
        if elapse is None or next_of(unit.timer_calendar, elapse - 1) != elapse:
            timer.elapse = self._first(timer, wall)
        self._journal(unit.name, timer.to_record())
        return timer

    def _first(self, timer: Timer, wall: float) -> int | None:
        """What the calendar of a timer that is new is waited for: it may have been missed."""
        if timer.unit.timer_persistent and self._stamps is not None:
            stamp = self._stamps.read(timer.name)
            if stamp is None:
                self._stamp(timer, wall)
            elif stamp <= wall:
                return next_of(timer.unit.timer_calendar, stamp)
        return self._after(timer, int(wall))

    def _after(self, timer: Timer, at: int) -> int | None:
        """The first elapse after ``at`` that the unit was not started for."""
        while True:
            elapse = next_of(timer.unit.timer_calendar, at)
            if elapse is None:
                return None
            shown = self._clock.shown(elapse)
            if shown is None and elapse != timer.last:
                return elapse
            at = max(elapse, int(shown or 0))

    def _push(self, timer: Timer) -> None:
        if not timer.queued and (due := timer.due()):
            timer.queued = True
            heappush(self._boot, (due, timer.name))

    def _push_calendar(self) -> None:
        self._calendar = [
            (timer.at(timer.elapse), timer.name)
            for timer in self._timers.values()
            if timer.elapse is not None
        ]
        heapify(self._calendar)

    def _elapse_boot(self, name: str, now: float) -> None:
        timer = self._timers[name]
        timer.queued = False
        if timer.due() <= now:  # it was not started in between
            if timer.boot and timer.boot_due() <= now:
                timer.boot = False
                why = f"its timer: {timer.unit.timer_boot:g} s after boot"
            else:
                why = f"its timer: {timer.unit.timer_every:g} s after its last start"
            timer.base = now
            self._fire(name, why, now)
        self._push(timer)

    def _elapse_calendar(self, wall: float, now: float) -> None:
        while self._calendar and self._calendar[0][0] <= wall:
            timer = self._timers[heappop(self._calendar)[1]]
            assert timer.elapse is not None
            timer.last = timer.elapse
            timer.elapse = self._following(timer, timer.elapse, wall)
            if timer.elapse is not None:
                heappush(self._calendar, (timer.at(timer.elapse), timer.name))
            self._fire(timer.name, "its timer: by the calendar", now)
            if timer.unit.timer_persistent:
                self._stamp(timer, wall)

    def _following(self, timer: Timer, elapse: int, wall: float) -> int | None:
        """What is waited for next: of what was missed besides, nothing is made up for."""
        at = max(elapse, int(wall - timer.unit.timer_jitter))
        for _ in range(_LOOKED_AHEAD):
            following = self._after(timer, at)
            if following is None or timer.at(following) > wall:
                return following
            at = following
        return self._after(timer, int(wall))

    def _fire(self, name: str, why: str, now: float) -> None:
        timer = self._timers[name]
        if self._running(name):
            self._say(name, "its timer elapsed while it still ran: it is not started again")
        else:
            timer.base = now
            timer.pending = why
            self._journal(name, timer.to_record())
            self._start(name, why)
        timer.pending = ""
        self._journal(name, timer.to_record())
        self._push(timer)

    def _resume(self, name: str, now: float) -> None:
        """Start what the PID 1 before was about to start, unless it did."""
        timer = self._timers.get(name)
        if timer is not None:
            if not self._running(name) and self._wanted_at(name) < timer.base:
                self._start(name, timer.pending)
            timer.pending = ""
            self._journal(name, timer.to_record())

    def _stamp(self, timer: Timer, wall: float) -> None:
        if self._stamps is not None:
            try:
                self._stamps.write(timer.name, int(wall))
            except OSError as error:
                self._say(timer.name, f"when its timer elapsed cannot be kept: {error}")

    def _was_set(self, now: float, wall: float) -> None:
        before = self._clock.expected(now)
        self._elapse_calendar(before, now)
        self._clock.set(now, wall)
        self._journal("", self._clock.to_record())
        if wall > before:
            return  # what was jumped over is due now
        for timer in self._timers.values():
            if timer.unit.timer_calendar and (timer.elapse is None or timer.elapse > wall):
                earlier = self._after(timer, int(wall))
                if earlier is not None and (timer.elapse is None or earlier < timer.elapse):
                    timer.elapse = earlier
                    self._journal(timer.name, timer.to_record())
        self._push_calendar()
