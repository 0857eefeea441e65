"""What is done between transactions: the partition stays as it was committed.

What a reset or a reboot took is made again, where there is room, and who held it is told; what was
to be destroyed and would not go is tried again. One step at a time, as in ``repartition``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from . import quarantine
from .errors import GpuError
from .place import Device
from .records import Slot
from .transaction import Ledger

KEEP_S = 5.0  # between two looks at whether all that is written down is there


class Upkeep:
    """Keeps the last good partition. ``tell(kind, text)`` hears of what was done."""

    def __init__(
        self, ledger: Ledger, now: Callable[[], float], tell: Callable[[str, str], None]
    ) -> None:
        self._ledger = ledger
        self._now = now
        self._tell = tell
        self._kept_at = -math.inf
        self._hold: dict[Slot, tuple[int, float]] = {}  # failed restorations, and when to try again

    def look(self) -> float:
        """Settle what is due, and make again what is missing; seconds until the next look,
        infinity when nothing is kept."""
        now = self._now()
        for note in self._ledger.settle():
            self._tell("settle", note)
        record = self._ledger.record
        due = [max(each.due - now, 0.0) for each in record.pending]
        if not (record.partition or record.assignments or record.members):
            return min(due, default=math.inf)
        if now < self._kept_at + KEEP_S:
            return min((*due, self._kept_at + KEEP_S - now))
        for note in self._ledger.forget_dead():
            self._tell("lost", note)
        for device in self._ledger.driver.devices():
            if (slot := self._restorable(device, now)) is not None:
                self._restore(slot, now)
                return 0.0
        self._kept_at = now
        return min((*due, KEEP_S))

    def _restorable(self, device: Device, now: float) -> Slot | None:
        record = self._ledger.record
        there = {member.slot for member in record.members}
        barred = quarantine.barred_mask(record, device.uuid, now)
        taken = replace(device, barred=barred).occupied
        for slot in record.partition:
            is_missing = slot.gpu_uuid == device.uuid and slot not in there and device.mig
            _, due = self._hold.get(slot, (0, 0.0))
            if is_missing and not slot.mask & taken and now >= due:
                return slot
        return None

    def _restore(self, slot: Slot, now: float) -> None:
        try:
            self._ledger.make(slot)
        except GpuError as error:
            tries, _ = self._hold.get(slot, (0, 0.0))
            self._hold[slot] = tries + 1, now + quarantine.barred_for(tries + 1)
            self._tell("refused", f"{slot}: {error}")
        else:
            self._hold.pop(slot, None)
            self._tell("restored", str(slot))
