"""What the GPU service remembers: who holds what, the partition in force, changes under way. PURE.

Times are seconds since boot (CLOCK_BOOTTIME); starts and sizes are memory slices. A GPU is known by
its UUID, for its index may be another one after a reset.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .place import Instance, mask


class Step(Enum):
    """What is about to be done to a GPU instance."""

    GPU = "gpu-instance"
    COMPUTE = "compute-instance"
    VERIFY = "verify"
    DESTROY = "destroy"


class Phase(Enum):
    """How far a transaction is. It begins with its plan, and ends when there is none any more."""

    DRAIN = "drain"
    APPLY = "apply"
    ROLLBACK = "rollback"


class End(Enum):
    """How a transaction ended."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled-back"
    PARTLY = "rolled-back-in-part"  # what is missing of the last good partition is in the reason


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for an instance: part of a partition, whether the instance is there or not."""

    gpu_uuid: str
    profile: str
    start: int
    size: int

    @property
    def mask(self) -> int:
        """The memory slices that it occupies."""
        return mask(self.start, self.size)

    def __str__(self) -> str:
        return f"{self.profile} at slice {self.start}"


@dataclass(frozen=True, slots=True)
class Assignment:
    """An instance and its holder. ``uuid`` is the MIG device's, ``size`` in memory slices."""

    agent: str
    uuid: str
    gpu_uuid: str
    gpu: int
    instance: int
    profile: str
    start: int
    size: int

    @property
    def slot(self) -> Slot:
        """Where it is."""
        return Slot(self.gpu_uuid, self.profile, self.start, self.size)


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of the partition: it stays when nobody holds it."""

    uuid: str
    gpu_uuid: str
    instance: int
    profile: str
    start: int
    size: int

    @property
    def slot(self) -> Slot:
        """Where it is."""
        return Slot(self.gpu_uuid, self.profile, self.start, self.size)


@dataclass(frozen=True, slots=True)
class Change:
    """One change under way. ``instance`` is None until the driver has named it. ``known`` are the
    instances that were there before a creation, None where it is not known. ``tries`` removals
    failed; the next is ``due``.
    """

    agent: str
    gpu_uuid: str
    gpu: int
    profile: str
    start: int
    step: Step
    instance: int | None = None
    known: tuple[int, ...] | None = None
    tries: int = 0
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class Barred:
    """Slices that the driver shows as free and gives to nobody. They are left alone ``until``."""

    gpu_uuid: str
    start: int
    size: int
    reason: str
    tries: int
    until: float

    @property
    def mask(self) -> int:
        """The memory slices in question."""
        return mask(self.start, self.size)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One partition on its way to another. ``target`` is all that the GPUs ``gpus`` shall hold.

    ``drain`` are agents to be stopped; ``stopped`` are units that were, and start again at the end.
    ``foreign`` are instances of others that it took over. ``tries`` creations failed; the next is
    ``due``; ``missing`` are slots that a rollback has given up.
    """

    number: int
    name: str
    phase: Phase
    gpus: tuple[str, ...]
    target: tuple[Slot, ...]
    drain: tuple[str, ...]
    since: float
    stopped: tuple[str, ...] = ()
    foreign: tuple[Member, ...] = ()
    reason: str = ""
    tries: int = 0
    due: float = 0.0
    missing: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction ended."""

    number: int
    name: str
    end: End
    reason: str
    time: float


@dataclass(frozen=True, slots=True)
class Record:
    """All that the journal holds. ``partition`` is the last good one, ``members`` what is there of
    it. ``resume`` are units that a transaction stopped and that are yet to be started, ``restart``
    agents whose instance is gone and who are yet to be told so.
    """

    assignments: tuple[Assignment, ...] = ()
    pending: tuple[Change, ...] = ()
    members: tuple[Member, ...] = ()
    partition: tuple[Slot, ...] = ()
    barred: tuple[Barred, ...] = ()
    transaction: Transaction | None = None
    resume: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    last: int = 0  # number of the last transaction


def is_instance(record: Assignment | Member, instance: Instance) -> bool:
    """Whether a live instance is exactly the one that was written down."""
    return (
        record.instance,
        record.profile,
        record.start,
        record.size,
        record.uuid,
    ) == (instance.id, instance.profile, instance.start, instance.size, instance.uuid)
