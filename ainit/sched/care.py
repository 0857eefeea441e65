"""Looks after GPUs: takes in what is read and reported, cordons, moves holders, looks for GPUs that
are missing, and says what is wrong.

The scheduler asks it where work may go (``placeable``) and tells it when the driver was opened; it
asks the scheduler who holds what. Both run in the service's one thread; NVML's slow calls do not
(``monitor``). What the evidence means is decided in ``health``, ``presence`` and ``bus``; what is
told to callers is in ``care_methods``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from ..child.client import VarlinkError
from ..errors import AinosError, ConfigError
from . import bus, findings, health, presence, xid
from .condition import Condition, Store
from .errors import GpuError
from .journal import Assignment
from .monitor import Monitor, Source
from .place import Device
from .presence import Presence
from .readings import Reading, Shot
from .reset import Resets

SETTLE_S = 10.0  # how long the first reading of every GPU is waited for
STOP_S = 2.0
TICK_S = 2.0
FABRIC_S = 120.0  # how long a GPU whose fabric is not set up yet is given no work
REVOKE_AGAIN_S = 60.0  # a holder that is still there then is told again
REOPEN_S = 2.0  # between two openings of a driver that was loaded anew
HUNG_S = 10.0  # a call that takes longer is not waited for
ARRIVAL_LOOKS_S = (1.0, 4.0, 15.0)  # after a GPU came: its driver takes a while
_GONE = "it does not answer any more"


class Host(Protocol):
    """The scheduler, as seen from here."""

    def assignments(self) -> tuple[Assignment, ...]: ...
    def reopen(self) -> None: ...
    def hold(self, reason: str) -> None: ...
    def free(self) -> None: ...


class Care:
    """``revoke(agent, uuid, reason)`` tells PID 1; ``say`` gets the findings when they change."""

    def __init__(
        self,
        source: Source,
        store: Store,
        revoke: Callable[[str, str, str], None],
        say: Callable[[list[str]], object],
        now: Callable[[], float],
        expected: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._source = source
        self._store = store
        self._revoke = revoke
        self._say = say
        self._now = now
        self._expected = expected
        self._wakeup, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._monitor = Monitor(source, self._wake, now)
        self._host: Host | None = None
        self._looked: dict[str, Reading] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._said: list[str] | None = None
        self._opened_at = 0.0
        self._looks: list[float] = []
        self._bus: tuple[str, ...] | None = None
        self._away: set[str] = set()  # what was on the bus, and is not now
        self._problem = ""
        self.resets = Resets()
        self.presence = Presence()
        self.emulated = False
        try:
            self.conditions = store.load()
        except ConfigError as error:
            print(f"{error}; set aside as {store.set_aside()}", flush=True)
            self.conditions = {}
        self._saved = dict(self.conditions)

    def attach(self, host: Host) -> None:
        """Whose GPUs these are."""
        self._host = host

    def close(self) -> None:
        """Stop all threads."""
        self._monitor.stop(STOP_S)
        os.close(self._wakeup)
        os.close(self._woken)

    # For the scheduler.

    def opened(self, *, emulated: bool) -> list[str]:
        """The driver is open: watch what answers. What could not be done, in words."""
        now = self._opened_at = self._now()
        self.emulated, self._problem = emulated, ""
        notes = self._source.persist()
        uuids = self._source.uuids()
        self._monitor.watch(uuids, SETTLE_S)
        for uuid in uuids:
            self.conditions.setdefault(uuid, Condition(uuid))
        for uuid, known in self.conditions.items():
            if uuid not in uuids:
                self.conditions[uuid] = health.lose(known, _GONE, now)
        self.presence = presence.look(self.presence, self._expected(), len(uuids), now)
        self._take(now)
        return notes

    def closing(self) -> None:
        """The driver is about to be closed, or is gone."""
        self._monitor.stop(STOP_S)

    def failed(self, error: GpuError) -> None:
        """The driver cannot be opened."""
        self._problem = str(error)
        self.presence = presence.look(self.presence, self._expected(), 0, self._now())

    def placeable(self, devices: Sequence[Device]) -> tuple[Device, ...]:
        """The devices that may be given something new."""
        return tuple(device for device in devices if not self.obstacle(device.uuid))

    def may_stay(self, uuid: str) -> bool:
        """Whether what is held of this GPU may be given again."""
        condition = self.conditions.get(uuid)
        return condition is None or not condition.moves

    def obstacle(self, uuid: str) -> str:
        """Why nothing new may be placed on a GPU, in words; "" when it may."""
        now = self._now()
        condition = self.conditions.get(uuid)
        if condition is not None and condition.is_cordoned:
            return f"is cordoned: {condition.reason}"
        shot = self._monitor.shots().get(uuid)
        if shot is None or shot.reading is None or shot.is_stale(now):
            return "does not answer"
        if shot.reading.fabric in findings.SETTING_UP and now < self._opened_at + FABRIC_S:
            return "waits for its fabric"
        return ""

    # For the loop.

    def fileno(self) -> int:
        """Readable when there is something new: then ``tick``."""
        return self._wakeup

    def tick(self) -> float:
        """Take in what is new, and do what follows; in how many seconds to call again."""
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        now = self._now()
        if self._host is not None and (uuid := self.resets.finish(self._host, now)):
            self.conditions[uuid] = health.was_reset(self.conditions[uuid])
        self._take(now)
        self._look_again(now)
        self._move(now)
        self._save()
        found = self.findings()
        if found != self._said:
            self._said = found
            self._say(found)
        return TICK_S

    def on_bus(self, addresses: tuple[str, ...]) -> None:
        """These GPUs are on the bus now."""
        now = self._now()
        came, went = bus.changes(addresses if self._bus is None else self._bus, addresses)
        self._bus = addresses
        self._away = (self._away | set(went)) - set(came)
        for uuid, known in self.conditions.items():
            if bus.short(known.bus) in went:
                self.conditions[uuid] = health.lose(known, "it was taken off the bus", now)
        if came:
            self._looks = [now + wait for wait in ARRIVAL_LOOKS_S]

    # For callers, and for ``care_methods``.

    def shots(self) -> dict[str, Shot]:
        """The last that is known of each GPU that is watched."""
        return self._monitor.shots()

    def now(self) -> float:
        """Seconds since boot."""
        return self._now()

    def holders(self) -> tuple[Assignment, ...]:
        """Who holds what."""
        return self._host.assignments() if self._host else ()

    def name_of(self, uuid: str) -> str:
        """What a GPU is called in words."""
        return findings.name_of(self.conditions.get(uuid) or Condition(uuid))

    def change(self, condition: Condition) -> None:
        """An operator has changed the condition of a GPU."""
        self.conditions[condition.uuid] = condition
        self._save()

    def reset(self, uuid: str) -> None:
        """Begin to reset a GPU that nobody uses. Raises OSError; then nothing has changed."""
        if self._host is not None:
            self.resets.begin(self._host, uuid, self.name_of(uuid), self._now())

    def findings(self) -> list[str]:
        """What is wrong, in words."""
        known = self.conditions.values()
        now, shots = self._now(), self._monitor.shots()
        found = findings.findings(self.presence, self._problem, known, shots, now)
        return found if self.emulated else [*found, *findings.unclaimed(self._bus or (), known)]

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._woken, b".")

    def _take(self, now: float) -> None:
        heard = self._monitor.heard()
        if heard:
            self._monitor.refresh()  # what the board says of it follows
        for event in heard:
            known = self.conditions.get(event.uuid) or Condition(event.uuid)
            if all(each.code != event.code for each in known.xids):
                print(f"{self.name_of(event.uuid)}: {xid.describe(event.code)}", flush=True)
            self.conditions[event.uuid] = health.hear(known, event.code, event.instance, now)
        for uuid, shot in self._monitor.shots().items():
            known = self.conditions.get(uuid) or Condition(uuid)
            if bus.short(known.bus) in self._away:
                continue
            if shot.is_lost:
                self.conditions[uuid] = health.lose(known, _GONE, now)
            elif shot.reading is not None and self._looked.get(uuid) is not shot.reading:
                self._looked[uuid] = shot.reading
                self.conditions[uuid] = health.look(known, shot.reading, now)

    def _look_again(self, now: float) -> None:
        """Open the driver anew when a GPU is missing or has come, unless one of its calls hangs."""
        expected = self._expected()
        if expected != self.presence.expected:  # it was configured anew
            self.presence = presence.look(self.presence, expected, self.presence.found, now)
        due = self.presence.again_at is not None and now >= self.presence.again_at
        if self._looks and now >= self._looks[0]:
            self._looks.pop(0)
            due = True
        shots = self._monitor.shots().values()
        if any(shot.is_closed for shot in shots) and now >= self._opened_at + REOPEN_S:
            due = True
        if not due or self._host is None or self.resets.uuid:
            return
        if any(shot.busy_since is not None and now - shot.busy_since > HUNG_S for shot in shots):
            self.presence = presence.look(self.presence, expected, self.presence.found, now)
            return
        self._host.reopen()

    def _move(self, now: float) -> None:
        """Tell PID 1 of holders that must not stay where they are."""
        wanted = {}
        for each in self.holders():
            if not self.may_stay(each.gpu_uuid):
                reason = self.conditions[each.gpu_uuid].reason
                wanted[each.agent, each.uuid] = f"{self.name_of(each.gpu_uuid)}: {reason}"
        self._told = {key: at for key, at in self._told.items() if key in wanted}
        for (agent, uuid), reason in wanted.items():
            if now - self._told.get((agent, uuid), -REVOKE_AGAIN_S) < REVOKE_AGAIN_S:
                continue
            try:
                self._revoke(agent, uuid, reason)
            except VarlinkError as error:
                print(f"{agent} is not moved: {error}", flush=True)
            except AinosError as error:
                print(f"{agent} is to be moved: {error}", flush=True)
                return  # PID 1 does not answer: the others would wait as long
            self._told[agent, uuid] = now

    def _save(self) -> None:
        if self.conditions == self._saved:
            return
        try:
            self._store.save(self.conditions.values())
        except OSError as error:
            print(f"the health of GPUs cannot be written down: {error}", flush=True)
            return
        self._saved = dict(self.conditions)
