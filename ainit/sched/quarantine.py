"""Slices that will not free, and when to try again. PURE: the time goes in.

Two things keep a slice from use. A *stuck* instance is still listed, though it was to be destroyed:
it stays in the record as a pending change, and is seen by all as occupied. *Barred* slices are
listed as free, yet the driver has no room there (a destroyed instance that left remnants):
placement avoids them until a time, then they may be tried again. Both are tried ever more rarely,
and for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .place import Device, mask, union
from .records import Barred, Change, Record

STUCK_TRIES = 5  # failed removals after which a change is called stuck
_REMOVAL_S = 0.25  # delay after the second failed removal; it doubles
_BARRED_S = 5.0  # delay after the first creation that found no room; it doubles
LONGEST_S = 600.0


def removal_delay(tries: int) -> float:
    """Seconds until the next removal, after so many failed ones. The second follows at once."""
    return 0.0 if tries < 2 else min(_REMOVAL_S * 2.0 ** min(tries - 2, 20), LONGEST_S)


def failed(change: Change, now: float) -> Change:
    """The change after one more removal that failed."""
    tries = change.tries + 1
    return replace(change, tries=tries, due=now + removal_delay(tries))


def is_stuck(change: Change) -> bool:
    """Whether so many removals failed that the slices count as quarantined."""
    return change.tries >= STUCK_TRIES


def bar(
    record: Record, gpu_uuid: str, placement: tuple[int, int], reason: str, now: float
) -> tuple[Barred, ...]:
    """The barred slices with one more placement (start, size), refused though it is free."""
    start, size = placement
    taken = mask(start, size)
    same = [each for each in record.barred if each.gpu_uuid == gpu_uuid and each.mask & taken]
    tries = 1 + max((each.tries for each in same), default=0)
    until = now + barred_for(tries)
    kept = tuple(each for each in record.barred if each not in same or each.mask & ~taken)
    return (*kept, Barred(gpu_uuid, start, size, reason, tries, until))


def barred_for(tries: int) -> float:
    """Seconds for which slices are left alone, after so many refused creations."""
    return min(_BARRED_S * 2.0 ** min(tries - 1, 20), LONGEST_S)


def freed(barred: Iterable[Barred], gpu_uuid: str, taken: int) -> tuple[Barred, ...]:
    """The barred slices without those where an instance could be made after all."""
    return tuple(each for each in barred if each.gpu_uuid != gpu_uuid or not each.mask & taken)


def remembered(record: Record, now: float) -> tuple[Barred, ...]:
    """The barred slices without those whose time is long over.

    They are remembered for as long again as they were barred, so that a refusal in that time counts
    as the next and not as the first.
    """
    return tuple(each for each in record.barred if now < each.until + barred_for(each.tries))


def barred_mask(record: Record, gpu_uuid: str, now: float) -> int:
    """The slices of a GPU that placement leaves alone now."""
    return union(
        each.mask for each in record.barred if each.gpu_uuid == gpu_uuid and now < each.until
    )


def reserved_mask(record: Record, device: Device) -> int:
    """The slices that a partition needs: all of a GPU in a transaction, or slots not there yet."""
    transaction = record.transaction
    if transaction is not None and device.uuid in transaction.gpus:
        return mask(0, device.slices)
    there = {member.slot for member in record.members}
    return union(
        slot.mask for slot in record.partition if slot.gpu_uuid == device.uuid and slot not in there
    )
