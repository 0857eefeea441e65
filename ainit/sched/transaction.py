"""Who holds which GPU instance: agents their own, and those of a partition that they claim.

An instance is made for an agent and goes with it, unless it belongs to the partition in force: then
it stays for the next. How one is made and removed without ever being stranded is for ``changes``;
how one partition becomes another, for ``repartition``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from . import quarantine
from .changes import Changes, Driver, is_live, without
from .errors import GpuError
from .journal import Journal
from .place import Device, Instance, Proposal
from .records import Assignment, Change, Member, Record, Slot

__all__ = ["Driver", "Ledger", "boot_time"]


def boot_time() -> float:
    """Seconds since boot, with those in which the machine slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Ledger:
    """Who holds which instance, and the changes that lead there."""

    def __init__(
        self, driver: Driver, journal: Journal, now: Callable[[], float] = boot_time
    ) -> None:
        self.driver = driver
        self._now = now
        self.changes = Changes(driver, journal, now)

    @property
    def record(self) -> Record:
        """All that is written down."""
        return self.changes.record

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """Who holds what, in the order of allocation."""
        return self.record.assignments

    @property
    def pending(self) -> tuple[Change, ...]:
        """Changes that are not finished: their slices are not free yet."""
        return self.record.pending

    def held_by(self, agent: str) -> Assignment | None:
        """What the agent holds."""
        return next((each for each in self.assignments if each.agent == agent), None)

    def devices(self) -> tuple[Device, ...]:
        """The GPUs as placement may see them: what is quarantined or reserved is barred."""
        now = self._now()
        return tuple(
            replace(
                device,
                barred=quarantine.barred_mask(self.record, device.uuid, now)
                | quarantine.reserved_mask(self.record, device),
            )
            for device in self.driver.devices()
        )

    def unknown(self, devices: Sequence[Device]) -> list[tuple[Device, Instance]]:
        """Live instances that nothing written down explains: somebody else made them."""
        written: list[Assignment | Member | Change] = [*self._instances(), *self.pending]
        ours = {(each.gpu_uuid, each.instance) for each in written}
        return [
            (device, instance)
            for device in devices
            for instance in device.instances
            if (device.uuid, instance.id) not in ours
        ]

    def recover(self) -> list[str]:
        """Bring journal and machine together, after a start; what was done, in words.

        Only instances that the journal names are ever destroyed: those of others stay. What lay on
        a GPU that is not there is kept until it is: the instances may come back with it.
        """
        return [*self.settle(force=True), *self.forget_dead()]

    def settle(self, *, force: bool = False) -> list[str]:
        """Finish or undo every pending change that is due, or all; what was done, in words."""
        return self.changes.settle(force=force)

    def forget_dead(self) -> list[str]:
        """Strike out what is not there any more, on GPUs that are; what it was, in words. Agents
        that held any of it are to be started anew: they do not know.
        """
        devices = self.driver.devices()
        present = {device.uuid for device in devices}
        gone = [
            each
            for each in self._instances()
            if each.gpu_uuid in present and not is_live(each, devices)
        ]
        lost = [each.agent for each in gone if isinstance(each, Assignment)]
        self.save(
            replace(
                self.record,
                restart=tuple(dict.fromkeys((*self.record.restart, *lost))),
                assignments=tuple(each for each in self.assignments if each not in gone),
                members=tuple(each for each in self.record.members if each not in gone),
                barred=quarantine.remembered(self.record, self._now()),
            )
        )
        return [
            f"{each.agent} lost its {each.profile}: the instance is gone"
            if isinstance(each, Assignment)
            else f"{each.slot} of the partition is gone"
            for each in gone
        ]

    def create(self, agent: str, proposal: Proposal) -> Assignment:
        """Make the instance that was proposed and checked, and assign it.

        Raises GpuError when the driver refuses or the result is not what was asked for; nothing is
        left behind then, or it is pending.
        """
        change, made = self.changes.build(agent, proposal)
        held = _assigned(agent, made, proposal.gpu)
        self.changes.commit(change, self._with(held), made)
        return held

    def claim(
        self, agent: str, profile: str, usable: Collection[Device] | None = None
    ) -> Assignment | None:
        """Give the agent a free instance of the partition, on a usable GPU; None when there is none
        to give.
        """
        held = {(each.gpu_uuid, each.instance) for each in self.assignments}
        transaction = self.record.transaction
        changing = () if transaction is None else transaction.gpus
        devices = self.driver.devices()
        good = {device.uuid for device in (devices if usable is None else usable)}
        index_of = {device.uuid: device.index for device in devices}
        for member in self.record.members:
            is_free = (member.gpu_uuid, member.instance) not in held
            is_kept = member.gpu_uuid not in changing and is_live(member, devices)
            if member.profile == profile and is_free and is_kept and member.gpu_uuid in good:
                claimed = _assigned(agent, member, index_of[member.gpu_uuid])
                self.save(self._with(claimed))
                return claimed
        return None

    def destroy(self, agent: str) -> None:
        """Take the agent's instance away. One that is still in use stays pending; one that belongs
        to the partition stays there for the next.
        """
        held = self.held_by(agent)
        if held is None:
            return
        record = replace(self.record, assignments=without(self.assignments, held))
        if any((held.slot, held.uuid) == (each.slot, each.uuid) for each in record.members):
            self.save(record)
        else:
            self.changes.doom(agent, held, record)

    def make(self, slot: Slot) -> Member:
        """Make an instance of a partition, which nobody holds yet. Raises as ``create`` does."""
        devices = self.driver.devices()
        device = next((each for each in devices if each.uuid == slot.gpu_uuid), None)
        if device is None:
            raise GpuError(f"the GPU of {slot} is gone")
        proposal = Proposal(device.index, slot.profile, slot.start, slot.size)
        change, made = self.changes.build("", proposal)
        record = replace(self.record, members=(*self.record.members, made))
        self.changes.commit(change, record, made)
        return made

    def unmake(self, member: Member) -> None:
        """Take an instance out of the partition and away. One in use stays pending."""
        members = without(self.record.members, member)
        self.changes.doom("", member, replace(self.record, members=members))

    def _with(self, held: Assignment) -> Record:
        """The record with one more assignment: who asked for it knows what it has."""
        return replace(
            self.record,
            assignments=(*self.assignments, held),
            restart=without(self.record.restart, held.agent),
        )

    def _instances(self) -> list[Assignment | Member]:
        return [*self.assignments, *self.record.members]

    def save(self, record: Record) -> None:
        """Replace the record, on disk first. Raises OSError; then the old one stands."""
        self.changes.save(record)


def _assigned(agent: str, made: Member, gpu: int) -> Assignment:
    return Assignment(
        agent, made.uuid, made.gpu_uuid, gpu, made.instance, made.profile, made.start, made.size
    )
