"""A plan on live GPUs, and what Plan, Apply and Status say about partitions over the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

from . import quarantine, wishes
from .partition import Occupant, Plan, Problem, plan_changes
from .place import Device, Instance
from .records import Record, Slot
from .transaction import Driver, Ledger


class Unknown(Enum):
    """What becomes of instances that somebody else made."""

    KEEP = "keep"  # they stay, and count as nothing: they are in the way
    ADOPT = "adopt"  # they stay, and count towards what is wished for
    REMOVE = "remove"  # they are as ours: kept where they fit, removed where not


class Gpus(Driver, Protocol):
    """A driver that also shows processes."""

    def processes(self, gpu: int, instance: int) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the entry that each GPU's problem comes from, and what it takes over."""

    plan: Plan
    entries: Mapping[int, int]
    objections: tuple[wishes.Objection, ...]
    foreign: tuple[tuple[Device, Instance], ...]
    indices: Mapping[str, int]


def plan(
    entries: tuple[wishes.Entry, ...], unknown: Unknown, gpus: Gpus, ledger: Ledger, now: float
) -> Planned:
    """What has to change, as things are now."""
    devices = tuple(
        replace(device, barred=quarantine.barred_mask(ledger.record, device.uuid, now))
        for device in gpus.devices()
    )
    assigned = wishes.assign(entries, devices)
    foreign = ledger.unknown(devices)
    taken = [] if unknown is Unknown.KEEP else foreign
    strangers = {(device.uuid, each.id) for device, each in foreign}
    holders = {(each.gpu_uuid, each.instance): each.agent for each in ledger.assignments}
    going = {(each.gpu_uuid, each.instance) for each in ledger.pending}

    def occupant(device: Device, instance: Instance) -> Occupant:
        key = (device.uuid, instance.id)
        holder = holders.get(key)
        if key in going:
            return Occupant(instance, fixed="its removal is under way", foreign=True)
        if key in strangers and unknown is not Unknown.REMOVE:
            is_foreign = unknown is Unknown.KEEP
            return Occupant(instance, fixed="it was not made here", foreign=is_foreign)
        if holder is None and (pids := gpus.processes(device.index, instance.id)):
            reason = f"process {pids[0]} is on it, which PID 1 did not start"
            return Occupant(instance, fixed=reason)
        return Occupant(instance, holder)

    occupants = {
        device.uuid: [occupant(device, each) for each in device.instances]
        for device in devices
        if device.index in assigned.wishes
    }
    found = plan_changes(devices, occupants, assigned.wishes)
    covered = [(device, each) for device, each in taken if device.uuid in found.gpus]
    indices = {device.uuid: device.index for device in devices}
    return Planned(found, assigned.entries, assigned.objections, tuple(covered), indices)


def answer(planned: Planned) -> dict[str, Any]:
    """The reply's ``plan`` and ``problems``."""
    found = planned.plan
    problems: list[Problem | wishes.Objection] = [*planned.objections, *found.problems]
    return {
        "plan": {
            "keep": [slot_record(slot, planned.indices) for slot in found.keep],
            "remove": [
                {
                    **slot_record(each.slot, planned.indices),
                    "instance": each.instance,
                    "agent": each.holder,
                }
                for each in found.remove
            ],
            "create": [slot_record(slot, planned.indices) for slot in found.create],
            "disturbed": list(found.disturbed),
        },
        "problems": [
            {
                "gpu": each.gpu,
                "entry": each.entry
                if isinstance(each, wishes.Objection)
                else planned.entries.get(each.gpu),
                "reason": each.reason,
            }
            for each in problems
        ],
    }


def slot_record(slot: Slot, indices: Mapping[str, int]) -> dict[str, object]:
    """A slot as replies have it."""
    return {
        "gpu": slot.gpu_uuid,
        "index": indices.get(slot.gpu_uuid),
        "profile": slot.profile,
        "start": slot.start,
        "size": slot.size,
    }


def status(record: Record, devices: Sequence[Device], now: float) -> Mapping[str, object]:
    """What Status says about partitions."""
    indices = {device.uuid: device.index for device in devices}
    transaction = record.transaction
    return {
        "partition": [slot_record(slot, indices) for slot in record.partition],
        "transaction": None
        if transaction is None
        else {
            "number": transaction.number,
            "name": transaction.name,
            "phase": transaction.phase.value,
            "reason": transaction.reason,
            "since": transaction.since,
        },
        "outcomes": [
            {
                "number": each.number,
                "name": each.name,
                "end": each.end.value,
                "reason": each.reason,
                "time": each.time,
            }
            for each in record.outcomes
        ],
        "quarantine": [
            *(
                {
                    "gpu": each.gpu_uuid,
                    "index": indices.get(each.gpu_uuid),
                    "start": each.start,
                    "size": each.size,
                    "reason": each.reason,
                    "tries": each.tries,
                    "retry_s": max(round(each.until - now, 3), 0.0),
                }
                for each in record.barred
            ),
            *(
                {
                    "gpu": each.gpu_uuid,
                    "index": indices.get(each.gpu_uuid),
                    "start": each.start,
                    "size": None,
                    "reason": f"{each.profile} does not go away",
                    "tries": each.tries,
                    "retry_s": max(round(each.due - now, 3), 0.0),
                }
                for each in record.pending
                if quarantine.is_stuck(each)
            ),
        ],
    }
