"""The GPU service ``org.ainos.Gpu``: gives agents their MIG instances.

PID 1 asks; ``decide`` says where; ``transaction`` makes it. A machine without a GPU is a state that
Status names and that Allocate answers with NoGpu; the driver is looked for again at each call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..child.server import Handler, VarlinkError
from ..errors import ConfigError
from ..wire.protocol import INVALID_PARAMETER, Message
from . import place
from .decide import Decider, Decision
from .errors import GpuError, GpuMissingError, NoRoomError
from .journal import Assignment, Journal
from .place import Device, Instance
from .transaction import Driver, Ledger

INTERFACE = "org.ainos.Gpu"
DECISIONS_KEPT = 64
NOTES_KEPT = 32
ALLOCATED = "allocated"


class Gpus(Driver, Protocol):
    """A driver as the service sees it; ``nvml.Nvml`` is one."""

    version: str

    @property
    def is_emulated(self) -> bool: ...
    def enable_mig(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision that was acted upon, with its outcome and the time since boot in seconds."""

    time: float
    agent: str
    decision: Decision
    outcome: str


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Scheduler:
    """The service's methods and its memory of what it decided."""

    def __init__(
        self,
        open_driver: Callable[[], Gpus],
        journal: Journal,
        decider: Decider,
        deadline_ms: float,
        now: Callable[[], float] = _boot_time,
    ) -> None:
        self._open_driver = open_driver
        self._journal = journal
        self._decider = decider
        self._deadline_ms = deadline_ms
        self._now = now
        self._gpus: Gpus | None = None
        self._ledger: Ledger | None = None
        self._entries: deque[Entry] = deque(maxlen=DECISIONS_KEPT)
        self._notes: deque[str] = deque(maxlen=NOTES_KEPT)

    def methods(self) -> Mapping[str, Handler]:
        """The handlers, by method."""
        return {"Allocate": self.allocate, "Release": self.release, "Status": self.status}

    def open(self) -> tuple[Gpus, Ledger]:
        """The driver and the ledger, reconciled. Raises GpuError while there is no GPU."""
        if self._gpus is None or self._ledger is None:
            gpus = self._open_driver()
            try:
                ledger = Ledger(gpus, self._journal)
            except ConfigError as error:
                self._notes.append(f"{error}; set aside as {self._journal.set_aside()}")
                ledger = Ledger(gpus, self._journal)
            self._notes.extend(gpus.enable_mig())
            self._notes.extend(ledger.recover())
            self._gpus, self._ledger = gpus, ledger
        return self._gpus, self._ledger

    def allocate(self, parameters: Message) -> Mapping[str, object]:
        """``Allocate``: idempotent for an agent and a profile."""
        agent, profile = _text(parameters, "agent"), _text(parameters, "profile")
        try:
            gpus, ledger = self.open()
            self._notes.extend(ledger.settle())
            devices = gpus.devices()
            if (held := self._still_held(agent, profile, ledger, devices)) is not None:
                return _granted(held)
            if all(device.profile(profile) is None for device in devices):
                raise VarlinkError(f"{INTERFACE}.UnknownProfile", {"profile": profile})
            return _granted(self._place(agent, profile, gpus, ledger))
        except NoRoomError:
            raise VarlinkError(f"{INTERFACE}.NoCapacity", {"profile": profile}) from None
        except GpuError as error:
            raise self._failed(error) from error

    def release(self, parameters: Message) -> Mapping[str, object]:
        """``Release``: idempotent."""
        agent = _text(parameters, "agent")
        try:
            _, ledger = self.open()
            ledger.destroy(agent)
        except GpuError as error:
            raise self._failed(error) from error
        return {}

    def status(self, _parameters: Message) -> Mapping[str, object]:
        """``Status``: never an error, whatever the machine lacks."""
        devices: tuple[Device, ...] = ()
        ledger: Ledger | None = None
        reason, version, emulated = "", "", False
        try:
            gpus, ledger = self.open()
            devices = gpus.devices()
            version, emulated = gpus.version, gpus.is_emulated
        except GpuError as error:
            self._forget_driver(error)
            reason = str(error)
        holders = {} if ledger is None else _holders(ledger)
        pending = () if ledger is None else ledger.pending
        return {
            "state": "no-gpu" if reason else "ready",
            "reason": reason,
            "emulated": emulated,
            "driver": version,
            "policy": {
                "state": self._decider.state,
                "reason": self._decider.reason,
                "proposals": self._decider.proposals,
                "accepted": self._decider.accepted,
                "deadline_ms": self._deadline_ms,
            },
            "devices": [_device(device, holders) for device in devices],
            "decisions": [_decision(entry) for entry in self._entries],
            "pending": [f"{each.profile} at {each.gpu}:{each.start}" for each in pending],
            "notes": list(self._notes),
        }

    def _still_held(
        self, agent: str, profile: str, ledger: Ledger, devices: tuple[Device, ...]
    ) -> Assignment | None:
        """What the agent holds, if that is alive and of this profile; else it is let go."""
        held = ledger.held_by(agent)
        if held is None:
            return None
        uuids = {each.uuid for device in devices for each in device.instances}
        if held.profile == profile and held.uuid in uuids:
            return held
        ledger.destroy(agent)
        return None

    def _place(self, agent: str, profile: str, gpus: Gpus, ledger: Ledger) -> Assignment:
        decision = self._decider.decide(profile, gpus.devices())
        if decision is None:
            raise NoRoomError(f"no GPU has room for {profile}")
        outcome = "interrupted"
        try:
            made = ledger.create(agent, decision.proposal)
            outcome = ALLOCATED
            return made
        except GpuError as error:
            outcome = str(error)
            raise
        finally:
            self._entries.append(Entry(self._now(), agent, decision, outcome))

    def _failed(self, error: GpuError) -> VarlinkError:
        self._forget_driver(error)
        name = "NoGpu" if isinstance(error, GpuMissingError) else "Failed"
        return VarlinkError(f"{INTERFACE}.{name}", {"reason": str(error)})

    def _forget_driver(self, error: GpuError) -> None:
        """A driver that has gone is looked for, and reconciled with, at the next call."""
        if isinstance(error, GpuMissingError):
            self._gpus = self._ledger = None


def _text(parameters: Message, name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise VarlinkError(INVALID_PARAMETER, {"parameter": name})
    return value


def _granted(held: Assignment) -> Mapping[str, object]:
    return {
        "uuid": held.uuid,
        "gpu": held.gpu,
        "profile": held.profile,
        "start": held.start,
        "size": held.size,
        "environment": {"CUDA_VISIBLE_DEVICES": held.uuid, "AINOS_GPU_UUID": held.uuid},
    }


def _holders(ledger: Ledger) -> dict[tuple[str, int], str]:
    return {(each.gpu_uuid, each.instance): each.agent for each in ledger.assignments}


def _device(device: Device, holders: Mapping[tuple[str, int], str]) -> Mapping[str, object]:
    return {
        "index": device.index,
        "uuid": device.uuid,
        "name": device.name,
        "mig": device.mig,
        "memory_mib": device.memory_mib,
        "slices": device.slices,
        "free": device.slices - device.occupied.bit_count(),
        "stranded": round(place.stranded(device, device.occupied), 3),
        "profiles": [profile.name for profile in device.profiles],
        "instances": [
            _instance(each, holders.get((device.uuid, each.id))) for each in device.instances
        ],
    }


def _instance(instance: Instance, agent: str | None) -> Mapping[str, object]:
    return {
        "id": instance.id,
        "profile": instance.profile,
        "start": instance.start,
        "size": instance.size,
        "uuid": instance.uuid,
        "agent": agent,
    }


def _decision(entry: Entry) -> Mapping[str, object]:
    decision = entry.decision
    return {
        "time": entry.time,
        "agent": entry.agent,
        "profile": decision.proposal.profile,
        "gpu": decision.proposal.gpu,
        "start": decision.proposal.start,
        "size": decision.proposal.size,
        "decided_by": decision.decided_by,
        "fallback": decision.fallback,
        "candidates": decision.candidates,
        "legal": decision.legal,
        "score": decision.score,
        "milliseconds": round(decision.seconds * 1000, 3),
        "features": decision.features,
        "outcome": entry.outcome,
    }
