"""Making and removing one GPU instance so that it is never stranded, whenever this process dies.

Every step is written down before it is done: a change is *pending* from its plan to its end. One
that fails is undone; one that cannot be undone, because the instance is in use, stays pending and
is tried again, ever more rarely. What a driver says counts less than what it lists afterwards:
drivers have failed and done it all the same, and have succeeded and left remnants (go-nvml #146).

The order of a creation: plan → GPU instance → compute instance → verify → commit. Of a removal:
plan → compute instances → GPU instance → verify → commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from . import place, quarantine
from .errors import GpuBusyError, GpuError, NoRoomError
from .journal import Journal
from .place import Device, Instance, Proposal
from .records import Assignment, Change, Member, Record, Step, is_instance

_T = TypeVar("_T")


class Driver(Protocol):
    """What a change needs of a driver; ``nvml.Nvml`` and the tests' fake have it."""

    def devices(self) -> tuple[Device, ...]: ...
    def create_gpu_instance(self, gpu: int, profile: str, start: int) -> int: ...
    def create_compute_instance(self, gpu: int, instance: int) -> str: ...
    def destroy_compute_instances(self, gpu: int, instance: int) -> None: ...
    def destroy_gpu_instance(self, gpu: int, instance: int) -> None: ...


class Changes:
    """The record, and the changes of single instances that it tells of."""

    def __init__(self, driver: Driver, journal: Journal, now: Callable[[], float]) -> None:
        self.driver = driver
        self.now = now
        self._journal = journal
        self.record = journal.load()

    def save(self, record: Record) -> None:
        """Replace the record, on disk first. Raises OSError; then the old one stands."""
        if record != self.record:
            self._journal.save(record)
            self.record = record

    def build(self, agent: str, proposal: Proposal) -> tuple[Change, Member]:
        """Make and verify an instance; what it is, and the change, for ``commit``.

        Raises GpuError when the driver refuses or the result is not what was asked for; nothing is
        left behind then, or it is pending.
        """
        device = _at(self.driver.devices(), proposal.gpu)
        change = Change(
            agent, device.uuid, proposal.gpu, proposal.profile, proposal.start, Step.GPU,
            known=tuple(each.id for each in device.instances),
        )  # fmt: skip
        self.save(replace(self.record, pending=(*self.record.pending, change)))
        try:
            number = self.driver.create_gpu_instance(proposal.gpu, proposal.profile, proposal.start)
        except GpuError as error:
            was_made = self.try_removal(change)
            if was_made is False and isinstance(error, NoRoomError) and _has_room(proposal, device):
                self._bar(device, proposal, error)
            raise
        change = self._advance(change, Step.COMPUTE, number)
        try:
            self._require_place(device, number, proposal)
            uuid = self.driver.create_compute_instance(proposal.gpu, number)
            change = self._advance(change, Step.VERIFY, number)
            made = Member(
                uuid, device.uuid, number, proposal.profile, proposal.start, proposal.size
            )
            if not is_live(made, self.driver.devices()):
                raise GpuError(f"GPU {proposal.gpu}: instance {number} is not what was made")
        except GpuError:
            self.try_removal(change)
            raise
        return change, made

    def commit(self, change: Change, record: Record, made: Member) -> None:
        """Save ``record``, in which the instance has its place, and end the change."""
        self.save(
            replace(
                record,
                pending=without(record.pending, change),
                barred=quarantine.freed(record.barred, made.gpu_uuid, made.slot.mask),
            )
        )

    def doom(self, agent: str, held: Assignment | Member, record: Record) -> None:
        """Save ``record``, in which nobody has the instance any more, and remove it. One that is
        still in use stays pending.
        """
        gpu = held.gpu if isinstance(held, Assignment) else self._index(held.gpu_uuid)
        change = Change(
            agent, held.gpu_uuid, gpu, held.profile, held.start, Step.DESTROY, held.instance
        )
        self.save(replace(record, pending=(*record.pending, change)))
        self.try_removal(change)

    def reprieve(self, change: Change) -> bool:
        """Keep an instance that was to be removed as one of the partition, made whole again; False
        when it is not there any more. Raises GpuError when its compute instance is refused.
        """
        device = _of(change, self.driver.devices())
        found = None if device is None else _find(change, device)
        if device is None or found is None:
            return False
        uuid = found.uuid or self.driver.create_compute_instance(device.index, found.id)
        kept = Member(uuid, change.gpu_uuid, found.id, found.profile, found.start, found.size)
        self.save(
            replace(
                self.record,
                members=(*self.record.members, kept),
                pending=without(self.record.pending, change),
            )
        )
        return True

    def put_off(self, change: Change) -> None:
        """Count one more failure of a change, and try later."""
        self._exchange(change, quarantine.failed(change, self.now()))

    def settle(self, *, force: bool) -> list[str]:
        """Finish or undo every pending change that is due; what was done, in words."""
        notes = []
        for change in self.record.pending:
            if not force and self.now() < change.due:
                continue
            where = f"{change.profile} at {change.gpu}:{change.start}"
            try:
                self._remove(change)
            except GpuError as error:
                notes.append(f"{where} stays: {error}")
            else:
                notes.append(f"{where} was removed")
        return notes

    def try_removal(self, change: Change) -> bool | None:
        """Whether there was an instance to remove; None when it is still pending."""
        try:
            return self._remove(change)
        except GpuError:
            return None  # settle tries again

    def _remove(self, change: Change) -> bool:
        """Destroy what a change made or was to destroy, and forget the change; whether there was
        anything. Raises GpuError; then the change is pending.
        """
        try:
            device = _of(change, self.driver.devices())
            if device is None:
                raise GpuError(f"GPU {change.gpu} is gone")
            found = _find(change, device)
            if found is not None:
                change = self._named(change, found)
                self._destroy(device, found)
        except GpuError:
            self.put_off(change)
            raise
        self.save(replace(self.record, pending=without(self.record.pending, change)))
        return found is not None

    def _destroy(self, device: Device, instance: Instance) -> None:
        refusal: GpuError = GpuBusyError(f"instance {instance.id} is still there")
        try:
            if instance.computes:
                self.driver.destroy_compute_instances(device.index, instance.id)
            self.driver.destroy_gpu_instance(device.index, instance.id)
        except GpuError as error:
            refusal = error
        after = next((each for each in self.driver.devices() if each.uuid == device.uuid), None)
        if after is None or any(_is_same(instance, each) for each in after.instances):
            raise refusal

    def _require_place(self, device: Device, number: int, proposal: Proposal) -> None:
        """Raises GpuError unless the driver made what it was asked for. Until that is known there
        is no compute instance, by which it is recognised as ours if we die here.
        """
        after = _at(self.driver.devices(), device.index)
        if not any(
            (each.id, each.profile, each.start, each.size)
            == (number, proposal.profile, proposal.start, proposal.size)
            for each in after.instances
        ):
            raise GpuError(f"GPU {proposal.gpu}: instance {number} is not what was asked for")

    def _bar(self, device: Device, proposal: Proposal, error: GpuError) -> None:
        placement = (proposal.start, proposal.size)
        barred = quarantine.bar(self.record, device.uuid, placement, str(error), self.now())
        self.save(replace(self.record, barred=barred))

    def _index(self, gpu_uuid: str) -> int:
        devices = self.driver.devices()
        return next((device.index for device in devices if device.uuid == gpu_uuid), -1)

    def _advance(self, change: Change, step: Step, instance: int) -> Change:
        after = replace(change, step=step, instance=instance)
        self._exchange(change, after)
        return after

    def _named(self, change: Change, instance: Instance) -> Change:
        """The change with the instance that was found to be its, written down: it may stay."""
        after = replace(change, instance=instance.id)
        self._exchange(change, after)
        return after

    def _exchange(self, change: Change, after: Change) -> None:
        pending = tuple(after if each == change else each for each in self.record.pending)
        self.save(replace(self.record, pending=pending))


def without(items: Sequence[_T], item: _T) -> tuple[_T, ...]:
    """All but that one."""
    return tuple(each for each in items if each != item)


def is_live(record: Assignment | Member, devices: Sequence[Device]) -> bool:
    """Whether the instance is there, exactly as written down."""
    return any(
        is_instance(record, each)
        for device in devices
        if device.uuid == record.gpu_uuid
        for each in device.instances
    )


def _at(devices: Sequence[Device], index: int) -> Device:
    for device in devices:
        if device.index == index:
            return device
    raise GpuError(f"GPU {index} is gone")


def _of(change: Change, devices: Sequence[Device]) -> Device | None:
    return next((each for each in devices if each.uuid == change.gpu_uuid), None)


def _has_room(proposal: Proposal, device: Device) -> bool:
    """Whether the driver should have had room there, going by what it lists."""
    return not place.check(proposal, proposal.profile, [device])


def _is_same(one: Instance, other: Instance) -> bool:
    return (one.id, one.profile, one.start) == (other.id, other.profile, other.start)


def _find(change: Change, device: Device) -> Instance | None:
    """The live instance that a change is about.

    Cut off before the driver's answer was written down, a creation knows only what was there
    before. What is new is ours, wherever it is, unless it has a compute instance, which is made
    later. (Journals of version 1 do not say what was there: then the place must be right.)
    """
    for each in device.instances:
        is_there = (each.profile, each.start) == (change.profile, change.start)
        if change.instance is None:
            is_new = is_there if change.known is None else each.id not in change.known
            if each.computes == 0 and is_new:
                return each
        elif change.instance == each.id and (
            is_there or (change.step is not Step.DESTROY and each.computes == 0)
        ):
            return each
    return None
