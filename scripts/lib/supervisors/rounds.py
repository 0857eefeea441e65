"""What is measured of one supervisor in one round. Every phase has a deadline.

A phase that fails is noted with its reason, and those after it are left out; the phases before it
keep their figures.
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lib.host import HostError
from lib.supervisors.ground import SCRIPT, Ground, Memory
from lib.supervisors.peer import Peer
from lib.supervisors.records import DONE, EXEC, LateError

START_S = 120.0
RESTART_S = 15.0
STORM_S = 180.0
SETTLE_S = 1.5  # runit and s6 pause before they restart what lived for less than a second
RESTARTS = 10
IDLE_S = 2.0
ASKING_NICE = -15
SWITCH_S = 0.0001
PAUSE_S = 0.004  # between two control calls
JOIN_S = 60.0


@dataclass(slots=True)
class Figures:
    """One supervisor in one round: seconds, bytes; a phase that did not happen is None or empty.

    ``start`` lasts from the exec of PID 1 until every service has started, ``ready`` until PID 1
    acted on the readiness of them all. ``restarted`` counts the services that did not live through
    ``reexec`` and ``fault``.
    """

    name: str
    count: int
    start: float | None = None
    ready: float | None = None
    start_cpu: float | None = None
    restarts: list[float] = field(default_factory=list)
    storm: float | None = None
    storm_cpu: float | None = None
    memory: dict[int, Memory] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)
    loaded: list[float] = field(default_factory=list)
    reexec: float | None = None
    fault: float | None = None
    restarted: int = 0
    failure: str = ""


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which ``share`` of all lie."""
    ordered = sorted(samples)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


class Sampler:
    """Makes a control call again and again in a thread, while something else happens.

    What is measured is how long PID 1 takes, not how long whoever asks waits for a processor or for
    Python's lock: the thread goes before everybody else's, and gets the lock at once.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self.samples: list[float] = []
        self.failure: Exception | None = None
        self._call = call
        self._interval = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> list[float]:
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()
        return self.samples

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(JOIN_S)
        sys.setswitchinterval(self._interval)
        if self.failure is not None:
            raise HostError(f"control call: {self.failure}")

    def _work(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), ASKING_NICE)
            while not self._over.is_set():
                start = time.perf_counter()
                self._call()
                self.samples.append(time.perf_counter() - start)
                self._over.wait(PAUSE_S)
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that waits
            self.failure = error


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share."""

    layers: Sequence[Path]
    service: Path
    form: str = SCRIPT

    def ground(self, peer: Peer, count: int) -> Ground:
        """A run of a peer."""
        return Ground(peer, count, self.layers, self.service, self.form)

    def start(self, peer: Peer, count: int) -> Figures:
        """Start so many services and end; the figures have start and memory only."""
        figures = Figures(peer.name, count)
        self._guarded(figures, peer, count, lambda _: None)
        return figures

    def whole(self, peer: Peer, count: int, smaller: Sequence[int]) -> Figures:
        """All phases with ``count`` services, and the memory with fewer."""
        figures = Figures(peer.name, count)
        self._guarded(figures, peer, count, lambda ground: _phases(ground, count, figures))
        for size in smaller:
            few = self.start(peer, size)
            figures.memory |= few.memory
            figures.failure = figures.failure or few.failure
        return figures

    def _guarded(
        self, figures: Figures, peer: Peer, count: int, then: Callable[[Ground], None]
    ) -> None:
        try:
            with self.ground(peer, count) as ground:
                try:
                    _start(ground, count, figures)
                    then(ground)
                except (HostError, LateError, OSError, ValueError) as error:
                    figures.failure = f"{error} {ground.console()}".strip()[:500]
        except (HostError, OSError) as error:
            figures.failure = figures.failure or str(error)[:500]


def _start(ground: Ground, count: int, figures: Figures) -> None:
    last = ground.wait(range(count), START_S)
    begun = ground.records.latest[EXEC].moment
    figures.start = last - begun
    if ground.peer.done:
        if DONE not in ground.records.latest:
            ground.wait({DONE}, START_S)
        figures.ready = ground.records.latest[DONE].moment - begun
    figures.start_cpu = ground.cpu()
    time.sleep(SETTLE_S)
    figures.memory[count] = ground.memory()


def _phases(ground: Ground, count: int, figures: Figures) -> None:
    peer = ground.peer
    if not peer.restarts:
        return
    for number in range(0, count, max(count // RESTARTS, 1)):
        killed = ground.kill([ground.records.latest[number].pid])
        figures.restarts.append(ground.wait({number}, RESTART_S) - killed)
    time.sleep(SETTLE_S)
    if peer.control is None:
        _storm(ground, count, figures)
        return
    with peer.control(ground.find()) as call:
        with Sampler(call) as figures.idle:
            time.sleep(IDLE_S)
        with Sampler(call) as figures.loaded:
            _storm(ground, count, figures)
    time.sleep(SETTLE_S)
    ground.records.read()
    if peer.reexec is not None:
        figures.reexec = _timed(peer.reexec, ground)
    if peer.fault is not None:
        figures.fault = _timed(peer.fault, ground)
    time.sleep(SETTLE_S)
    figures.restarted = len([one for one in ground.records.read() if one.number < count])


def _storm(ground: Ground, count: int, figures: Figures) -> None:
    before = ground.cpu()
    everyone = [ground.records.latest[number].pid for number in range(count)]
    killed = ground.kill(everyone)
    figures.storm = ground.wait(range(count), STORM_S) - killed
    figures.storm_cpu = ground.cpu() - before


def _timed(what: Callable[[int], None], ground: Ground) -> float:
    start = time.perf_counter()
    what(ground.find())
    return time.perf_counter() - start


def median(values: Sequence[float | None]) -> float | None:
    """The median of what there is, None of nothing."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None
