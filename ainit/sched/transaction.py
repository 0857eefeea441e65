"""Changes to GPU instances that never strand one, whenever this process dies.

Every step is written down before it is done. A change that fails is rolled back; what was cut off
by a crash is finished or undone by ``recover``; what is still in use is kept in ``pending`` and
tried again before the next change. Leaves out: which placement (``place``), the driver (``nvml``).

The order of a creation: plan → GPU instance → compute instance → verify → commit. Of a destruction:
plan (the holder has let go) → compute instances → GPU instance → verify → commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from .errors import GpuBusyError, GpuError
from .journal import Assignment, Change, Journal, Record, Step
from .place import Device, Instance, Proposal

_T = TypeVar("_T")


class Driver(Protocol):
    """What a transaction needs of a driver; ``nvml.Nvml`` and the tests' fake have it."""

    def devices(self) -> tuple[Device, ...]: ...
    def create_gpu_instance(self, gpu: int, profile: str, start: int) -> int: ...
    def create_compute_instance(self, gpu: int, instance: int) -> str: ...
    def destroy_compute_instances(self, gpu: int, instance: int) -> None: ...
    def destroy_gpu_instance(self, gpu: int, instance: int) -> None: ...


class Ledger:
    """Who holds which instance, and the changes that lead there."""

    def __init__(self, driver: Driver, journal: Journal) -> None:
        self._driver = driver
        self._journal = journal
        self._record = journal.load()

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """Who holds what, in the order of allocation."""
        return self._record.assignments

    @property
    def pending(self) -> tuple[Change, ...]:
        """Changes that are not finished: their slices are not free yet."""
        return self._record.pending

    def held_by(self, agent: str) -> Assignment | None:
        """What the agent holds."""
        return next((each for each in self.assignments if each.agent == agent), None)

    def recover(self) -> list[str]:
        """Bring journal and machine together, after a start; what was done, in words.

        Only instances that the journal names are ever destroyed: those of others stay.
        """
        notes = self.settle()
        devices = self._driver.devices()
        for each in self.assignments:
            if not _is_live(each, devices):
                notes.append(f"{each.agent} lost its {each.profile}: the instance is gone")
                self._drop(each)
        return notes

    def settle(self) -> list[str]:
        """Finish or undo every pending change that can be; what was done, in words."""
        notes = []
        for change in self.pending:
            try:
                self._remove(change)
            except GpuError as error:
                notes.append(f"{change.profile} at {change.gpu}:{change.start} stays: {error}")
            else:
                notes.append(f"{change.profile} at {change.gpu}:{change.start} was removed")
        return notes

    def create(self, agent: str, proposal: Proposal) -> Assignment:
        """Make the instance that was proposed and checked, and assign it.

        Raises GpuError when the driver refuses or the result is not what was asked for; nothing is
        left behind then, or it is pending.
        """
        device = _device(self._driver.devices(), proposal.gpu)
        change = Change(
            agent, device.uuid, proposal.gpu, proposal.profile, proposal.start, Step.GPU
        )
        self._plan(change)
        try:
            instance = self._driver.create_gpu_instance(
                proposal.gpu, proposal.profile, proposal.start
            )
        except GpuError:
            self._forget(change)  # the driver made nothing
            raise
        change = self._advance(change, Step.COMPUTE, instance)
        try:
            uuid = self._driver.create_compute_instance(proposal.gpu, instance)
            change = self._advance(change, Step.VERIFY, instance)
            made = Assignment(
                agent, uuid, device.uuid, proposal.gpu, instance,
                proposal.profile, proposal.start, proposal.size,
            )  # fmt: skip
            if not _is_live(made, self._driver.devices()):
                raise GpuError(f"GPU {proposal.gpu}: instance {instance} is not what was asked for")
        except GpuError:
            self._roll_back(change)
            raise
        self._commit(change, made)
        return made

    def destroy(self, agent: str) -> None:
        """Take the agent's instance away. One that is still in use stays pending."""
        held = self.held_by(agent)
        if held is None:
            return
        change = Change(
            agent, held.gpu_uuid, held.gpu, held.profile, held.start, Step.DESTROY, held.instance
        )
        self._save(
            replace(
                self._record,
                assignments=_without(self.assignments, held),
                pending=(*self.pending, change),
            )
        )
        self._roll_back(change)

    def _roll_back(self, change: Change) -> None:
        try:
            self._remove(change)
        except GpuError:
            return  # it is pending, and settle tries again

    def _remove(self, change: Change) -> None:
        """Destroy what a change made or was to destroy, and forget the change."""
        devices = self._driver.devices()
        device = next((each for each in devices if each.uuid == change.gpu_uuid), None)
        if device is not None and (found := _find(change, device)) is not None:
            if found.computes:
                self._driver.destroy_compute_instances(device.index, found.id)
            self._driver.destroy_gpu_instance(device.index, found.id)
            if _find(change, _device(self._driver.devices(), device.index)) is not None:
                raise GpuBusyError(f"instance {found.id} is still there")
        self._forget(change)

    def _plan(self, change: Change) -> None:
        self._save(replace(self._record, pending=(*self.pending, change)))

    def _advance(self, change: Change, step: Step, instance: int) -> Change:
        after = replace(change, step=step, instance=instance)
        pending = tuple(after if each == change else each for each in self.pending)
        self._save(replace(self._record, pending=pending))
        return after

    def _forget(self, change: Change) -> None:
        self._save(replace(self._record, pending=_without(self.pending, change)))

    def _commit(self, change: Change, made: Assignment) -> None:
        self._save(Record((*self.assignments, made), _without(self.pending, change)))

    def _drop(self, assignment: Assignment) -> None:
        kept = _without(self.assignments, assignment)
        self._save(replace(self._record, assignments=kept))

    def _save(self, record: Record) -> None:
        self._journal.save(record)
        self._record = record


def _without(items: Sequence[_T], item: _T) -> tuple[_T, ...]:
    return tuple(each for each in items if each != item)


def _device(devices: Sequence[Device], index: int) -> Device:
    for device in devices:
        if device.index == index:
            return device
    raise GpuError(f"GPU {index} is gone")


def _is_live(assignment: Assignment, devices: Sequence[Device]) -> bool:
    """Whether the instance is there, exactly as assigned."""
    return any(
        (each.id, each.profile, each.start, each.size, each.uuid)
        == (
            assignment.instance,
            assignment.profile,
            assignment.start,
            assignment.size,
            assignment.uuid,
        )
        for device in devices
        if device.uuid == assignment.gpu_uuid
        for each in device.instances
    )


def _find(change: Change, device: Device) -> Instance | None:
    """The live instance that a change is about.

    Cut off before the driver's answer was written down, a creation knows its placement only. What
    is there then is ours unless it has a compute instance, which is made later.
    """
    for each in device.instances:
        if (each.profile, each.start) != (change.profile, change.start):
            continue
        if change.instance is None and each.computes == 0:
            return each
        if change.instance == each.id:
            return each
    return None
