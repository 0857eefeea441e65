"""One partition becomes another, or nothing changes: drain, apply, verify, commit or roll back.

The wish is written down first. ``advance`` then does one step at a time and never waits: whoever
calls it comes back when it says. It goes on after a crash at any step, for each step follows from
what the driver lists (``converge``). Holders are stopped before anything is touched, and started
again at the end, however it ends; what they held is struck out before it goes, so the record never
promises an instance that is not there.

Leaves out the plan (``partition``), and what is done between transactions (``upkeep``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ..errors import AinosError, UnavailableError
from . import converge
from .converge import Finish, GiveUp, Make, Reprieve, Settle, TurnBack, Unmake, Wait
from .drain import Drainer
from .errors import GpuError
from .partition import Plan
from .place import Device, Instance
from .records import (
    Change,
    End,
    Member,
    Outcome,
    Phase,
    Record,
    Slot,
    Step,
    Transaction,
)
from .transaction import Ledger
from .upkeep import Upkeep

DRAIN_S = 90.0  # units have a stop timeout of their own, after which they are killed
LOOK_S = 0.1  # between two looks at a unit that is on its way down
RETRY_S = 0.25  # after the first creation that failed; it doubles
OUTCOMES_KEPT = 8


class BusyError(GpuError):
    """Another transaction is under way."""


class Keeper(Protocol):
    """Where the partition outlives a boot; ``journal.PartitionFile`` is one."""

    def save(self, partition: tuple[Slot, ...]) -> None: ...


class Engine:
    """Carries transactions out. ``tell(kind, text)`` hears of every turn that one takes."""

    def __init__(
        self,
        ledger: Ledger,
        drainer: Drainer,
        keeper: Keeper,
        now: Callable[[], float],
        tell: Callable[[str, str], None],
    ) -> None:
        self._ledger = ledger
        self._drainer = drainer
        self._keeper = keeper
        self._now = now
        self._tell = tell
        self._asked = False  # whether this process has asked for the stop of the present holders
        self._upkeep = Upkeep(ledger, now, tell)

    def begin(self, plan: Plan, name: str, foreign: Sequence[tuple[Device, Instance]] = ()) -> int:
        """Write the transaction down; its number. ``foreign`` instances are taken over by it.

        Raises BusyError, and GpuError for a plan with problems.
        """
        record = self._ledger.record
        if record.transaction is not None:
            raise BusyError(f"transaction {record.transaction.number} is under way")
        if plan.problems:
            raise GpuError("; ".join(f"GPU {each.gpu}: {each.reason}" for each in plan.problems))
        number = record.last + 1
        taken = tuple(
            Member(each.uuid, device.uuid, each.id, each.profile, each.start, each.size)
            for device, each in foreign
            if each.uuid is not None
        )
        halves = tuple(  # nothing can run on one without a compute instance
            Change("", device.uuid, device.index, each.profile, each.start, Step.DESTROY, each.id)
            for device, each in foreign
            if each.uuid is None
        )
        transaction = Transaction(
            number, name, Phase.DRAIN, plan.gpus, plan.target, plan.disturbed, self._now(),
            foreign=taken,
        )  # fmt: skip
        self._ledger.save(
            replace(
                record,
                transaction=transaction,
                last=number,
                members=(*record.members, *taken),
                pending=(*record.pending, *halves),
            )
        )
        self._asked = False
        self._tell("begin", f"transaction {number} ({name}): {_summary(plan)}")
        return number

    def advance(self) -> float:
        """Do one step; seconds until the next is wanted, 0 for at once.

        Raises GpuError when the driver as a whole is gone, OSError when the record cannot be saved:
        nothing is lost, and the next call goes on from there.
        """
        record = self._ledger.record
        if record.resume or record.restart:
            return self._wake(record)
        if record.transaction is None:
            return self._upkeep.look()
        if record.transaction.phase is Phase.DRAIN:
            return self._drain(record.transaction)
        return self._converge(record.transaction)

    def keep(self) -> None:
        """Have the partition in force outlive this boot, as far as that is possible."""
        try:
            self._keeper.save(self._ledger.record.partition)
        except OSError as error:
            self._tell("keep", f"the partition is not kept for the next boot: {error}")

    # ---- drain

    def _drain(self, transaction: Transaction) -> float:
        if not transaction.drain:
            return self._drained(transaction)
        if self._now() > transaction.since + DRAIN_S:
            return self._turn_back(f"{', '.join(transaction.drain)} did not stop in time")
        try:
            if not transaction.stopped:
                transaction = replace(
                    transaction, stopped=self._drainer.affected(transaction.drain)
                )
                self._save(transaction)
            if not self._asked:
                self._drainer.stop(transaction.drain)
                self._asked = True
                self._tell("drain", f"stopping {', '.join(transaction.drain)}")
            if self._drainer.running(transaction.drain):
                return LOOK_S
        except UnavailableError as error:
            self._tell("drain", str(error))
            return LOOK_S * 10
        except AinosError as error:
            return self._turn_back(str(error))
        return self._drained(transaction)

    def _drained(self, transaction: Transaction) -> float:
        """Nobody is in what has to go: it is struck out as held, and belongs to nobody yet."""
        record = self._ledger.record
        left = [each for each in record.assignments if each.agent in transaction.drain]
        known = {(each.gpu_uuid, each.instance) for each in record.members}
        freed = tuple(
            Member(each.uuid, each.gpu_uuid, each.instance, each.profile, each.start, each.size)
            for each in left
            if (each.gpu_uuid, each.instance) not in known
        )
        self._ledger.save(
            replace(
                record,
                assignments=tuple(each for each in record.assignments if each not in left),
                members=(*record.members, *freed),
                transaction=replace(transaction, phase=Phase.APPLY),
            )
        )
        return 0.0

    # ---- apply, roll back

    def _converge(self, transaction: Transaction) -> float:
        for note in self._ledger.forget_dead():
            self._tell("lost", note)
        devices = self._ledger.driver.devices()
        now = self._now()
        match converge.next_step(self._ledger.record, transaction, devices, now):
            case Wait(until):
                return max(until - now, 0.0)
            case Settle():
                self._ledger.settle()
            case Reprieve(change):
                self._reprieve(change)
            case Unmake(member):
                self._ledger.unmake(member)
            case Make(slot):
                self._make(transaction, slot)
            case GiveUp(slot, reason):
                self._tell("give-up", f"{slot}: {reason}")
                missing = (*transaction.missing, slot)
                self._save(replace(transaction, missing=missing, tries=0, due=0.0))
            case TurnBack(reason):
                return self._turn_back(reason)
            case Finish():
                self._finish(transaction, devices)
        return 0.0

    def _make(self, transaction: Transaction, slot: Slot) -> None:
        try:
            self._ledger.make(slot)
        except GpuError as error:
            self._tell("refused", f"{slot}: {error}")
            tries = transaction.tries + 1
            due = self._now() + RETRY_S * 2.0 ** (tries - 1)
            self._save(replace(transaction, tries=tries, due=due))
        else:
            if transaction.tries:
                self._save(replace(transaction, tries=0, due=0.0))

    def _reprieve(self, change: Change) -> None:
        try:
            if not self._ledger.changes.reprieve(change):
                self._ledger.settle(force=True)
        except GpuError as error:
            self._tell("refused", str(error))
            self._ledger.changes.put_off(change)

    def _turn_back(self, reason: str) -> float:
        transaction = self._ledger.record.transaction
        assert transaction is not None
        self._tell("rollback", f"transaction {transaction.number}: {reason}")
        self._save(replace(transaction, phase=Phase.ROLLBACK, reason=reason, tries=0, due=0.0))
        return 0.0

    def _finish(self, transaction: Transaction, devices: Sequence[Device]) -> None:
        record = self._ledger.record
        if transaction.phase is Phase.ROLLBACK:
            foreign = {(each.gpu_uuid, each.slot) for each in transaction.foreign}
            end = (
                End.PARTLY if converge.is_partial(record, transaction, devices) else End.ROLLED_BACK
            )
            partition = record.partition
            members = tuple(
                each
                for each in record.members
                if (each.gpu_uuid, each.slot) not in foreign or each.slot in partition
            )
        else:
            end = End.COMMITTED
            others = [slot for slot in record.partition if slot.gpu_uuid not in transaction.gpus]
            partition = (*others, *transaction.target)
            members = converge.members(record, transaction.target, devices)
        outcome = Outcome(
            transaction.number, transaction.name, end, transaction.reason, self._now()
        )
        self._ledger.save(
            replace(
                record,
                members=members,
                partition=partition,
                transaction=None,
                resume=transaction.stopped,
                outcomes=(*record.outcomes, outcome)[-OUTCOMES_KEPT:],
            )
        )
        if end is End.COMMITTED:
            self.keep()
        self._tell(end.value, f"transaction {transaction.number} {transaction.reason}".rstrip())

    def _wake(self, record: Record) -> float:
        """Have PID 1 start who was stopped, and start anew who lost an instance."""
        names = ", ".join((*record.resume, *record.restart))
        try:
            self._drainer.start(record.resume)
            lost = [name for name in record.restart if self._ledger.held_by(name) is None]
            self._drainer.restart(lost)  # others have asked for another one already
        except AinosError as error:
            self._tell("wake", f"{names} not started yet: {error}")
            return LOOK_S * 10
        self._tell("wake", f"started {names}")
        self._ledger.save(replace(self._ledger.record, resume=(), restart=()))
        return 0.0

    def _save(self, transaction: Transaction) -> None:
        self._ledger.save(replace(self._ledger.record, transaction=transaction))


def _summary(plan: Plan) -> str:
    stops = f", stopping {', '.join(plan.disturbed)}" if plan.disturbed else ""
    return f"{len(plan.keep)} kept, {len(plan.remove)} removed, {len(plan.create)} created{stops}"
