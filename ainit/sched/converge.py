"""The next step of a transaction. PURE: what is written down, what is there, and the time go in.

No list of steps is kept. Each step follows from the difference between the goal and what the driver
lists, so a transaction goes on after a crash at any moment, and after things that it did not do
itself: an instance that is gone is made again, one that is left over is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import quarantine
from .place import Device
from .records import Assignment, Change, Member, Phase, Record, Slot, Transaction, is_instance

TRIES = 5  # creations that may fail before a transaction turns back, or gives a slot up


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before ``until``."""

    until: float


@dataclass(frozen=True, slots=True)
class Settle:
    """A removal that failed before is due again."""


@dataclass(frozen=True, slots=True)
class Reprieve:
    """What was to be removed belongs to the goal again, and is made whole."""

    change: Change


@dataclass(frozen=True, slots=True)
class Unmake:
    """An instance is not part of the goal."""

    member: Member


@dataclass(frozen=True, slots=True)
class Make:
    """An instance of the goal is missing, and there is room for it."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A rollback cannot bring this back now."""

    slot: Slot
    reason: str


@dataclass(frozen=True, slots=True)
class TurnBack:
    """The goal cannot be reached: back to the last good partition."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """All of the goal is there, and nothing else of ours."""


Step = Wait | Settle | Reprieve | Unmake | Make | GiveUp | TurnBack | Finish


def goal(record: Record, transaction: Transaction) -> tuple[Slot, ...]:
    """What the GPUs of the transaction shall hold: in a rollback, what they did before."""
    if transaction.phase is not Phase.ROLLBACK:
        return transaction.target
    before = [slot for slot in record.partition if slot.gpu_uuid in transaction.gpus]
    before += [member.slot for member in transaction.foreign]
    given_up = set(transaction.missing)
    return tuple(slot for slot in dict.fromkeys(before) if slot not in given_up)


def next_step(
    record: Record, transaction: Transaction, devices: Sequence[Device], now: float
) -> Step:
    """What to do next about a transaction that is past its drain."""
    is_back = transaction.phase is Phase.ROLLBACK
    by_uuid = {each.uuid: each for each in devices if each.uuid in transaction.gpus}
    if not is_back and (gone := [uuid for uuid in transaction.gpus if uuid not in by_uuid]):
        return TurnBack(f"{', '.join(gone)} is gone")
    wanted = [slot for slot in goal(record, transaction) if slot.gpu_uuid in by_uuid]
    changes = [each for each in record.pending if each.gpu_uuid in by_uuid]
    return (
        _removals(changes, wanted, is_back, now)
        or _surplus(record, by_uuid, wanted, is_back)
        or _missing(record, transaction, by_uuid, wanted, now)
        or Finish()
    )


def _removals(
    changes: Sequence[Change], wanted: Sequence[Slot], is_back: bool, now: float
) -> Step | None:
    """What becomes of removals that failed."""
    places = {(slot.gpu_uuid, slot.profile, slot.start): slot for slot in wanted if is_back}
    for change in changes:
        slot = places.get((change.gpu_uuid, change.profile, change.start))
        if slot is None:
            continue
        if change.tries > quarantine.STUCK_TRIES + TRIES:
            return GiveUp(slot, "it is neither whole nor does it go away")
        if change.tries > quarantine.STUCK_TRIES and change.due > now:
            return Wait(change.due)
        return Reprieve(change)
    for change in changes:
        where = f"{change.profile} at {change.gpu}:{change.start}"
        if quarantine.is_stuck(change):
            if not is_back:
                return TurnBack(f"{where} does not go away")
        elif change.due > now:
            return Wait(change.due)
        else:
            return Settle()
    return None


def _surplus(
    record: Record, by_uuid: dict[str, Device], wanted: Sequence[Slot], is_back: bool
) -> Step | None:
    held = {(each.gpu_uuid, each.instance): each.agent for each in record.assignments}
    for member in record.members:
        if member.gpu_uuid not in by_uuid or member.slot in wanted:
            continue
        agent = held.get((member.gpu_uuid, member.instance))
        if agent is None:
            return Unmake(member)
        if not is_back:
            return TurnBack(f"{agent} took {member.slot} in the meantime")
    return None


def _missing(
    record: Record,
    transaction: Transaction,
    by_uuid: dict[str, Device],
    wanted: Sequence[Slot],
    now: float,
) -> Step | None:
    is_back = transaction.phase is Phase.ROLLBACK
    ours: list[Member | Assignment] = [*record.members, *record.assignments]
    for slot in wanted:
        live = by_uuid[slot.gpu_uuid].instances
        if any(each.slot == slot and any(is_instance(each, one) for one in live) for each in ours):
            continue
        in_the_way = [each for each in live if each.mask & slot.mask]
        if in_the_way:
            reason = f"instance {in_the_way[0].id} is where {slot} shall be"
        elif transaction.tries >= TRIES:
            reason = transaction.reason if is_back else ""
            reason = reason or f"{slot} could not be made in {TRIES} tries"
        elif transaction.due > now:
            return Wait(transaction.due)
        else:
            return Make(slot)
        return GiveUp(slot, reason) if is_back else TurnBack(reason)
    return None


# ---- what is there at the end


def members(
    record: Record, target: Sequence[Slot], devices: Sequence[Device]
) -> tuple[Member, ...]:
    """The members after a commit: those of other GPUs, and all that is live of the target."""
    gpus = {slot.gpu_uuid for slot in target}
    wanted = set(target)
    kept = [each for each in record.members if each.gpu_uuid not in gpus]
    for device in devices:
        for each in device.instances:
            slot = Slot(device.uuid, each.profile, each.start, each.size)
            if slot in wanted and each.uuid is not None:
                kept.append(
                    Member(each.uuid, device.uuid, each.id, each.profile, each.start, each.size)
                )
    return tuple(kept)


def is_partial(record: Record, transaction: Transaction, devices: Sequence[Device]) -> bool:
    """Whether a rollback leaves anything of the last good partition missing."""
    present = {device.uuid for device in devices}
    live = {
        member.slot
        for member in record.members
        for device in devices
        if device.uuid == member.gpu_uuid
        and any(is_instance(member, each) for each in device.instances)
    }
    return any(
        slot not in live for slot in record.partition if slot.gpu_uuid in transaction.gpus
    ) or any(uuid not in present for uuid in transaction.gpus)
