"""What is wrong with the machine's GPUs, for `ainitctl status`. PURE.

The words stay the same for as long as it is the same: they are told only when they change. A GPU
that an operator has cordoned is as it should be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from . import bus
from .condition import Cause, Condition
from .presence import Presence, finding
from .readings import Fabric, Shot

SETTING_UP = (Fabric.NOT_STARTED, Fabric.IN_PROGRESS)


def name_of(condition: Condition) -> str:
    """What a GPU is called in words."""
    return f"GPU {condition.index}" if condition.index >= 0 else condition.uuid


def findings(
    presence: Presence,
    problem: str,
    conditions: Collection[Condition],
    shots: Mapping[str, Shot],
    now: float,
) -> list[str]:
    """All that is wrong. ``problem`` says why the driver cannot be opened, if it cannot."""
    missing = finding(presence)
    found = [f"{missing}: {problem}" if problem else missing] if missing else []
    ordered = sorted(conditions, key=lambda condition: (condition.index, condition.uuid))
    reasons = ((each, _reasons(each, shots.get(each.uuid), now)) for each in ordered)
    return [*found, *(f"{name_of(each)}: {', '.join(why)}" for each, why in reasons if why)]


def unclaimed(addresses: Collection[str], conditions: Collection[Condition]) -> list[str]:
    """GPUs of the bus that the driver does not have, in words."""
    claimed = {bus.short(each.bus) for each in conditions}
    return [
        f"{address} is on the bus, and the driver does not have it"
        for address in addresses
        if address not in claimed
    ]


def _reasons(condition: Condition, shot: Shot | None, now: float) -> list[str]:
    reasons = [each.reason for each in condition.cordons if each.cause is not Cause.OPERATOR]
    if condition.is_lost or shot is None:
        return reasons
    if shot.is_stale(now):
        return [*reasons, "it does not answer"]
    fabric = shot.reading.fabric if shot.reading else None
    if fabric is Fabric.FAILED:
        reasons.append("its fabric could not be set up")
    elif fabric in SETTING_UP:
        reasons.append("its fabric is not set up yet")
    return reasons
