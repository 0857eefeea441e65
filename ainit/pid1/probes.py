"""Asks units at intervals whether they are well, and tells when they are not.

A unit has one attempt at a time, each with a deadline, and a phase of its own, so that a thousand
probes do not come together. After so many failures in a row the unit is reported, and counted anew.
A probe that makes its unit ready is asked more often until it first succeeds; those failures do not
count, as the unit's start has its own deadline. Leaves out the attempts themselves: see ``probe``.

>>> probes = Probes(loop, spawn=spawn, kill=kill, call=relay.call,              # doctest: +SKIP
...                 report=trouble, ready=ready, journal=keep)
>>> probes.resume(kept); loop.hook(probes.hook)                                 # doctest: +SKIP
>>> probes.watch(unit, starting=False)                                          # doctest: +SKIP
"""

from __future__ import annotations

import errno
from _heapq import heapify, heappop, heappush

from ..errors import RefusedError
from ..linux import process
from ..policy.plan import spread
from . import loop
from .probe import Probe, connect, varlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..policy.plan import Record, Unit
    from .probe import Call

_FIRST_SECONDS = 0.1  # between two attempts of one that starts, doubling up to its interval
# It is PID 1 that lacks these, or its own files that err: no word on the unit.
_OUR_OWN = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.ENOBUFS,
    errno.ENOSPC,
    errno.EIO,
)
_STALE = 64  # entries of the heap that may be without meaning


class Probes:
    """``spawn(unit)`` starts the unit's command in its group and returns the pid; ``kill(pid)``
    ends it; ``call`` is the relay's. ``report(name, words)`` when a unit is not well,
    ``ready(name)`` at the first success of one that starts.

    ``journal(name, record)`` keeps what ``resume`` takes.
    """

    def __init__(
        self,
        events: loop.Loop,
        *,
        spawn: Callable[[Unit], int],
        kill: Callable[[int], None],
        call: Call,
        report: Callable[[str, str], None],
        ready: Callable[[str], None],
        journal: Callable[[str, Record], None] = lambda name, record: None,
        now: Callable[[], float] = loop.now,
    ) -> None:
        self._loop = events
        self._spawn = spawn
        self._kill = kill
        self._call = call
        self._report = report
        self._ready = ready
        self._journal = journal
        self._now = now
        self._probes: dict[str, Probe] = {}
        self._pids: dict[int, str] = {}  # commands that run, also those that nobody waits for
        self._heap: list[tuple[float, int, Probe]] = []
        self._serial = 0
        self._kept: Record = {}
        self._journaled: Record = {}

    def resume(self, record: Record) -> None:
        """Take over what was journaled, by unit; before ``watch``. Commands that run go on."""
        self._kept = dict(record)
        self._journaled = dict(record)
        for name, kept in record.items():
            if isinstance(kept, dict) and isinstance(pid := kept.get("pid"), int) and pid:
                self._pids[pid] = name

    def to_record(self) -> Record:
        """What was journaled and still counts."""
        return {name: record for name, record in self._journaled.items() if record}

    def owns(self, pid: int) -> bool:
        """Whether this process is a probe's command rather than the unit's own."""
        return pid in self._pids

    def watch(self, unit: Unit, *, starting: bool) -> None:
        """Probe a unit that is ready; one that starts only if its probe makes it ready."""
        if not unit.has_probe or (starting and not unit.probe_readiness):
            return
        now = self._now()
        probe = self._probes.get(unit.name)
        if probe is not None and probe.starting == starting and probe.unit is unit:
            return
        self._cancel(unit.name)
        probe = self._probes[unit.name] = Probe(unit)
        probe.starting = starting
        probe.delay = min(_FIRST_SECONDS, unit.probe_interval)
        kept = self._kept.pop(unit.name, None)
        if isinstance(kept, dict):
            failures = kept.get("failures")
            probe.failures = failures if isinstance(failures, int) else 0
            self._take_over(probe, kept.get("pid"), now)
        if not probe.abandon:
            probe.upcoming = now if starting else now + _phase(unit)
            self._at(probe, probe.upcoming)

    def unwatch(self, name: str) -> None:
        """A unit is no longer to be probed: it stops, or is down."""
        self._kept.pop(name, None)
        self._cancel(name)
        self._keep(name, {})

    def exited(self, pid: int, status: int) -> bool:
        """A child died. False when it was none of these."""
        name = self._pids.pop(pid, None)
        if name is None:
            return False
        probe = self._probes.get(name)
        if probe is not None and probe.pid == pid:
            probe.pid = 0
            late = probe.abandon is None
            problem = f"{probe.unit.probe_exec[0]} {process.describe(status)}" if status else ""
            if late:
                self._keep(name, _record(probe))  # its time was up before
            else:
                self._done(probe, problem)
        else:
            self._forget(name, pid)
        return True

    def hook(self, now: float) -> float:
        """Begin and end what is due; returns when something is next. For ``Loop.hook``."""
        while self._heap and self._heap[0][0] <= now:
            _, serial, probe = heappop(self._heap)
            if serial == probe.serial:
                self._turn(probe, now)
        return self._heap[0][0] if self._heap else 0.0

    def _turn(self, probe: Probe, now: float) -> None:
        seconds = f"{probe.unit.probe_timeout:g} s"
        if probe.abandon is not None:
            abandon, probe.abandon = probe.abandon, None
            abandon()
            self._finish(probe, f"no success in {seconds}", now)
        elif probe.pid:
            self._finish(probe, f"its command of before, which took {seconds}, is not gone", now)
        else:
            self._begin(probe, now)

    def _begin(self, probe: Probe, now: float) -> None:
        unit = probe.unit
        self._at(probe, now + unit.probe_timeout)
        probe.abandon = _nothing
        serial = probe.serial

        def done(problem: str) -> None:
            if probe.serial == serial:
                self._done(probe, problem)

        try:
            if unit.probe_exec:
                probe.pid = self._spawn(unit)
                self._pids[probe.pid] = unit.name
                self._keep(unit.name, _record(probe))
                abandon = self._killer(probe.pid)
            elif unit.probe_connect:
                abandon = connect(self._loop, unit.probe_connect, done)
            else:
                abandon = varlink(self._call, unit.name, unit.probe_varlink, done)
        except (OSError, RefusedError) as error:
            probe.abandon = None
            if isinstance(error, OSError) and error.errno in _OUR_OWN:
                self._later(probe, now)
            else:
                self._finish(probe, f"cannot be asked: {error}", now)
            return
        if probe.serial == serial:  # it did not end at once
            probe.abandon = abandon

    def _take_over(self, probe: Probe, pid: object, now: float) -> None:
        """Go on with the command that a former PID 1 started."""
        if isinstance(pid, int) and pid in self._pids:
            probe.pid = pid
            probe.abandon = self._killer(pid)
            probe.upcoming = now
            self._at(probe, now + probe.unit.probe_timeout)

    def _done(self, probe: Probe, problem: str) -> None:
        probe.abandon = None
        self._finish(probe, problem, self._now())

    def _finish(self, probe: Probe, problem: str, now: float) -> None:
        """An attempt has ended. Everything is in order again before anybody is told."""
        unit = probe.unit
        started = probe.starting and not problem
        if started:
            probe.starting = False
            probe.upcoming = now + _phase(unit)
        self._later(probe, now)
        if not probe.starting:
            probe.failures = probe.failures + 1 if problem else 0
        failures = probe.failures
        is_ill = failures >= unit.probe_failures
        if is_ill:
            probe.failures = 0
        self._keep(unit.name, _record(probe))
        if started:
            self._ready(unit.name)
        if is_ill:
            times = "" if failures == 1 else f" {failures} times in a row"
            self._report(unit.name, f"its probe failed{times}: {problem}")

    def _later(self, probe: Probe, now: float) -> None:
        """The next attempt, in step with the ones before."""
        interval = probe.unit.probe_interval
        if probe.starting:
            probe.upcoming = now + probe.delay
            probe.delay = min(2 * probe.delay, interval)
        elif probe.upcoming <= now:
            probe.upcoming += interval * (int((now - probe.upcoming) / interval) + 1)
        self._at(probe, max(probe.upcoming, now))

    def _at(self, probe: Probe, due: float) -> None:
        """Have the probe's turn at that time, and at no other."""
        self._serial += 1
        probe.serial, probe.due = self._serial, due
        heappush(self._heap, (due, probe.serial, probe))
        if len(self._heap) > 2 * len(self._probes) + _STALE:
            self._heap = [
                (each.due, each.serial, each) for each in self._probes.values() if each.serial
            ]
            heapify(self._heap)

    def _cancel(self, name: str) -> None:
        probe = self._probes.pop(name, None)
        if probe is not None:
            probe.serial = 0
            if probe.abandon is not None:
                abandon, probe.abandon = probe.abandon, None
                abandon()

    def _killer(self, pid: int) -> Callable[[], None]:
        """Ends an attempt that is a command; one that is gone is no attempt any more."""
        return lambda: self._kill(pid)

    def _forget(self, name: str, pid: int) -> None:
        """A command that nobody waits for is gone: nobody is to wait for it after a fault, or when
        user space begins anew.
        """
        kept = self._journaled.get(name)
        if not isinstance(kept, dict) or kept.get("pid") != pid:
            return
        record: Record = {**kept, "pid": 0} if kept.get("failures") else {}
        if name in self._kept:
            self._kept[name] = record
        self._keep(name, record)

    def _keep(self, name: str, record: Record) -> None:
        if self._journaled.get(name, {}) != record:
            self._journaled[name] = record
            self._journal(name, record)


def _record(probe: Probe) -> Record:
    if not (probe.failures or probe.pid):
        return {}
    return {"failures": probe.failures, "pid": probe.pid}


def _phase(unit: Unit) -> float:
    """Seconds to the first question: an interval at most, and another for each unit."""
    return unit.probe_interval * spread(unit.name)


def _nothing() -> None:
    """Stands for an attempt that is about to begin."""
