"""What the GPU service answers about health and readings, and an operator's cordons.

>>> CareMethods(care).table()["Uncordon"]({"gpu": "0"})         # doctest: +SKIP
{}
"""

from __future__ import annotations

from collections.abc import Mapping

from ..child.server import Handler, VarlinkError
from ..wire.protocol import INVALID_PARAMETER, Message
from . import health, xid
from .care import Care
from .condition import Condition, Cordon, Heard
from .readings import Part, Reading, Shot

INTERFACE = "org.ainos.Gpu"
REASON_MAX = 256

READY = "ready"
CORDONED = "cordoned"
LOST = "lost"
SILENT = "silent"  # it does not answer
WAITING = "waiting"  # for its fabric
RESETTING = "resetting"


class CareMethods:
    """The methods, bound to who looks after the GPUs."""

    def __init__(self, care: Care) -> None:
        self._care = care

    def table(self) -> Mapping[str, Handler]:
        """Method name → handler."""
        return {
            "Health": self.health,
            "Readings": self.readings,
            "Cordon": self.cordon,
            "Uncordon": self.uncordon,
            "Reset": self.reset,
        }

    def health(self, _parameters: Message) -> Mapping[str, object]:
        """``Health``: what is known of every GPU of this boot, also of those that are gone."""
        care, shots = self._care, self._care.shots()
        return {
            "emulated": care.emulated,
            "expected": care.presence.expected,
            "found": care.presence.found,
            "findings": care.findings(),
            "gpus": [self._health(each, shots.get(each.uuid)) for each in self._known()],
        }

    def readings(self, _parameters: Message) -> Mapping[str, object]:
        """``Readings``: the last of every GPU that is watched; nobody is waited for."""
        care = self._care
        held = {each.uuid: (each.agent, each.profile) for each in care.holders()}
        now, shots = care.now(), care.shots()
        return {
            "emulated": care.emulated,
            "gpus": [
                self._reading(shot.reading, shot, now, held)
                for each in self._known()
                if (shot := shots.get(each.uuid)) is not None and shot.reading is not None
            ],
        }

    def cordon(self, parameters: Message) -> Mapping[str, object]:
        """``Cordon``: idempotent."""
        reason = parameters.get("reason")
        if reason is not None and not isinstance(reason, str):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "reason"})
        said = "".join(one for one in (reason or "")[:REASON_MAX] if one.isprintable())
        words = f"by an operator: {said}" if said else "by an operator"
        self._care.change(health.hold(self._named(parameters), words, self._care.now()))
        return {}

    def uncordon(self, parameters: Message) -> Mapping[str, object]:
        """``Uncordon``: idempotent."""
        condition = self._named(parameters)
        if condition.is_lost:
            name = self._care.name_of(condition.uuid)
            raise _refused(f"{name} is lost: there is nothing to place on")
        self._care.change(health.release(condition))
        return {}

    def reset(self, parameters: Message) -> Mapping[str, object]:
        """``Reset``: begins one; its state says when it is over."""
        condition = self._named(parameters)
        care, name = self._care, self._care.name_of(condition.uuid)
        agents = [each.agent for each in care.holders() if each.gpu_uuid == condition.uuid]
        if care.resets.uuid:
            raise _refused(f"{care.name_of(care.resets.uuid)} is being reset")
        if not condition.is_cordoned:
            raise _refused(f"{name} may be given new work: cordon it first")
        if agents:
            raise _refused(f"{name} is held by {', '.join(agents)}")
        try:
            care.reset(condition.uuid)
        except OSError as error:
            raise _refused(f"nvidia-smi cannot be run: {error.strerror}") from error
        return {}

    def _known(self) -> list[Condition]:
        known = self._care.conditions.values()
        return sorted(known, key=lambda condition: (condition.index, condition.uuid))

    def _named(self, parameters: Message) -> Condition:
        """The GPU of a call, by index or UUID."""
        name = parameters.get("gpu")
        if not isinstance(name, str) or not name:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "gpu"})
        for each in self._known():
            if name in (each.uuid, str(each.index)):
                return each
        raise VarlinkError(f"{INTERFACE}.NoSuchGpu", {"gpu": name})

    def _health(self, condition: Condition, shot: Shot | None) -> Mapping[str, object]:
        reading = shot.reading if shot else None
        told = reading.to_record() if reading else {}
        return {
            "index": condition.index if condition.index >= 0 else None,
            "uuid": condition.uuid,
            "name": condition.name,
            "bus": condition.bus,
            "state": self._state(condition),
            "reason": self._care.obstacle(condition.uuid),
            "cordons": [_cordon(each) for each in condition.cordons],
            "xids": [_heard(each) for each in condition.xids],
            "warnings": self._warnings(condition, reading),
            **{key: told.get(key) for key in _HEALTH},
        }

    def _state(self, condition: Condition) -> str:
        if condition.uuid == self._care.resets.uuid:
            return RESETTING
        if condition.is_lost:
            return LOST
        if condition.is_cordoned:
            return CORDONED
        obstacle = self._care.obstacle(condition.uuid)
        if not obstacle:
            return READY
        return WAITING if "fabric" in obstacle else SILENT

    def _warnings(self, condition: Condition, reading: Reading | None) -> list[str]:
        found = health.warnings(reading) if reading else []
        if why := self._care.resets.failed.get(condition.uuid):
            found.append(f"the last reset failed: {why}")
        return found

    def _reading(
        self, reading: Reading, shot: Shot, now: float, held: Mapping[str, tuple[str, str]]
    ) -> Mapping[str, object]:
        condition = self._care.conditions.get(reading.uuid) or Condition(reading.uuid)
        told = reading.to_record()
        return {
            **{key: told[key] for key in _READING},
            "state": self._state(condition),
            "cordoned": condition.is_cordoned,
            "stale": shot.is_stale(now) or condition.is_lost,
            "age_s": round(now - (shot.taken_at or 0.0), 3),
            "problem": shot.problem,
            "xids": len(condition.xids),
            "parts": [_part(part, *held.get(part.uuid, (None, None))) for part in reading.parts],
        }


_HEALTH = (
    "uncorrected", "corrected", "aggregate", "remapped", "remap_pending", "remap_failed",
    "retired", "retired_pending", "recovery", "fabric",
)  # fmt: skip
_READING = (
    "index", "uuid", "name", "bus", "temperature_c", "power_w", "power_limit_w", "clock_sm_mhz",
    "clock_memory_mhz", "throttle", "utilisation", "memory_used_mib", "memory_mib", "pcie_replays",
    "persistence", "uncorrected", "corrected", "remapped",
)  # fmt: skip


def _refused(reason: str) -> VarlinkError:
    return VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})


def _cordon(cordon: Cordon) -> Mapping[str, object]:
    return {
        "cause": cordon.cause.value,
        "reason": cordon.reason,
        "time": cordon.at,
        "lifted_by": cordon.lift.value,
        "moves": cordon.moves,
    }


def _heard(heard: Heard) -> Mapping[str, object]:
    entry = xid.classify(heard.code)
    return {
        "code": heard.code,
        "words": entry.words,
        "response": entry.response.value,
        "instance": heard.instance,
        "time": heard.at,
    }


def _part(part: Part, agent: str | None, profile: str | None) -> Mapping[str, object]:
    return {
        "instance": part.instance,
        "uuid": part.uuid,
        "agent": agent,
        "profile": profile,
        "memory_used_mib": part.memory_used_mib,
        "memory_mib": part.memory_mib,
        "processes": part.processes,
    }
