"""Reads each GPU in a thread of its own and hears Xids in another, so that nobody waits for NVML.

A call that never returns keeps its own thread only: the last reading of that GPU grows stale, the
others go on. Whoever asks gets what is there, at once. Leaves out what follows: see ``care``.

    monitor = Monitor(NvmlHealth(), wake)
    monitor.watch(uuids); monitor.shots(); monitor.heard()
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from .errors import GpuError, GpuLostError, GpuMissingError
from .readings import Reading, Shot

EVERY_S = 5.0
LISTEN_MS = 500  # and no longer does a stop take
AGAIN_S = 1.0  # between a listener that failed and the next
EVENTS_KEPT = 1024  # Xids that nobody has taken yet; a GPU in trouble reports the same for ever


class Event(Protocol):
    """An Xid; ``nvml_health.XidEvent`` is one."""

    @property
    def uuid(self) -> str: ...
    @property
    def code(self) -> int: ...
    @property
    def instance(self) -> int | None: ...


class Listener(Protocol):
    """What reports Xids; ``nvml_health.Listener`` is one."""

    def wait(self, timeout_ms: int) -> Event | None: ...
    def close(self) -> None: ...


class Source(Protocol):
    """What is read; ``nvml_health.NvmlHealth`` is one, the tests' fake another."""

    def uuids(self) -> tuple[str, ...]: ...
    def read(self, uuid: str) -> Reading: ...
    def listen(self, uuids: Iterable[str]) -> Listener: ...
    def persist(self) -> list[str]: ...


class NoGpus:
    """The source of a machine that has no GPU, and can have none."""

    def uuids(self) -> tuple[str, ...]:
        """None."""
        return ()

    def read(self, uuid: str) -> Reading:
        """Raises GpuLostError."""
        raise GpuLostError(f"{uuid} cannot be read: there is no NVML")

    def listen(self, uuids: Iterable[str]) -> Listener:
        """Raises GpuError."""
        raise GpuError("Xids cannot be heard: there is no NVML")

    def persist(self) -> list[str]:
        """Nothing to switch on."""
        return []


class _Reader:
    """One GPU's thread."""

    def __init__(self, monitor: Monitor, uuid: str) -> None:
        self._monitor = monitor
        self._uuid = uuid
        self._turn = threading.Condition()
        self._wanted = 1
        self._served = 0
        self._stopped = False
        self.shot = Shot()
        self.thread = threading.Thread(target=self._run, name=f"read {uuid}", daemon=True)

    def stop(self) -> None:
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def want(self) -> int:
        """Have it read anew, now; the number of that turn."""
        with self._turn:
            self._wanted += 1
            self._turn.notify_all()
            return self._wanted

    def settle(self, number: int, timeout_s: float) -> None:
        """Wait until that turn is over, the first being 1."""
        with self._turn:
            self._turn.wait_for(lambda: self._served >= number or self._stopped, timeout_s)

    def _run(self) -> None:
        while True:
            with self._turn:
                if self._stopped:
                    return
                number = self._wanted
            self.shot = self._monitor.take(self, self._uuid)
            with self._turn:
                self._served = number
                self._turn.notify_all()
            self._monitor.woken()
            with self._turn:
                pause = self._monitor.every_s
                self._turn.wait_for(lambda: self._wanted > self._served or self._stopped, pause)


class _Ear:
    """The thread that hears Xids."""

    def __init__(self, monitor: Monitor, uuids: tuple[str, ...]) -> None:
        self._monitor = monitor
        self._uuids = uuids
        self._stop = threading.Event()
        self._ready = threading.Event()
        self.thread = threading.Thread(target=self._run, name="xids", daemon=True)

    def stop(self) -> None:
        self._stop.set()

    def settle(self, timeout_s: float) -> None:
        """Wait until Xids are heard, or cannot be."""
        self._ready.wait(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                listener = self._monitor.source.listen(self._uuids)
            except GpuError:
                self._ready.set()
                self._stop.wait(AGAIN_S)
                continue
            self._ready.set()
            try:
                while not self._stop.is_set():
                    self._monitor.hear(listener.wait(LISTEN_MS))
            except GpuError:
                self._stop.wait(AGAIN_S)
            finally:
                listener.close()


class Monitor:
    """``wake`` is called, in any thread, when there is something new."""

    def __init__(
        self,
        source: Source,
        wake: Callable[[], object],
        now: Callable[[], float] = time.monotonic,
        every_s: float | None = None,
    ) -> None:
        self.source = source
        self.woken = wake
        self.every_s = EVERY_S if every_s is None else every_s
        self._now = now
        self._readers: dict[str, _Reader] = {}
        self._ear: _Ear | None = None
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)

    def watch(self, uuids: Iterable[str], settle_s: float = 0.0) -> None:
        """Read these GPUs and hear of them, from now on; at most ``settle_s`` until it is so."""
        wanted = tuple(uuids)
        for uuid in self._readers.keys() - set(wanted):
            self._readers.pop(uuid).stop()
        fresh = [uuid for uuid in wanted if uuid not in self._readers]
        if self._ear is not None and fresh:
            self._ear.stop()
            self._ear = None
        deadline = self._now() + settle_s
        if self._ear is None and wanted:
            self._ear = _Ear(self, wanted)
            self._ear.thread.start()
            self._ear.settle(settle_s)
        for uuid in fresh:
            self._readers[uuid] = reader = _Reader(self, uuid)
            reader.thread.start()
        for uuid in fresh:
            self._readers[uuid].settle(1, max(0.0, deadline - self._now()))

    def refresh(self, timeout_s: float = 0.0) -> None:
        """Read all GPUs now; at most ``timeout_s`` until it is so."""
        deadline = self._now() + timeout_s
        turns = [(reader, reader.want()) for reader in self._readers.values()]
        for reader, number in turns:
            reader.settle(number, max(0.0, deadline - self._now()))

    def stop(self, timeout_s: float) -> bool:
        """Stop all threads; whether all have ended in time, which a call that hangs prevents."""
        threads = [reader.thread for reader in self._readers.values()]
        for reader in self._readers.values():
            reader.stop()
        self._readers.clear()
        if self._ear is not None:
            self._ear.stop()
            threads.append(self._ear.thread)
            self._ear = None
        deadline = self._now() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - self._now()))
        return not any(thread.is_alive() for thread in threads)

    def shots(self) -> dict[str, Shot]:
        """The last that is known of each GPU, by UUID."""
        return {uuid: reader.shot for uuid, reader in self._readers.items()}

    def heard(self) -> list[Event]:
        """The Xids that came since this was asked last, oldest first."""
        found = []
        while self._events:
            found.append(self._events.popleft())
        return found

    def take(self, reader: _Reader, uuid: str) -> Shot:
        """Read a GPU; for its own thread."""
        before = reader.shot
        reader.shot = replace(before, busy_since=self._now())
        try:
            reading = self.source.read(uuid)
        except GpuError as error:
            return Shot(
                before.reading,
                before.taken_at,
                str(error),
                is_lost=isinstance(error, GpuLostError),
                is_closed=isinstance(error, GpuMissingError),
            )
        return Shot(reading, self._now())

    def hear(self, event: Event | None) -> None:
        """Keep an Xid for whoever asks; for the thread that hears them."""
        if event is not None:
            self._events.append(event)
            self.woken()
