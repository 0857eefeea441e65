"""A small world around the GPU service: fake GPUs, fake PID 1 with agents, time, and sudden death.

The service can be killed at every *moment*: before and after each call of the driver, each save of
the journal and each call to PID 1. PID 1 and the GPUs go on, and a new life of the service begins.
``verdict`` says what is wrong afterwards: overlaps, strandings, untruths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ainit.child.server import VarlinkError
from ainit.sched import decide, place
from ainit.sched.changes import is_live
from ainit.sched.decide import Decider
from ainit.sched.journal import Journal, PartitionFile
from ainit.sched.opening import Opening
from ainit.sched.partition_methods import Partitions
from ainit.sched.place import Device
from ainit.sched.records import Assignment, Member, Record, Slot
from ainit.sched.service import Scheduler
from ainit.sched.transaction import Ledger
from ainit.sched.upkeep import KEEP_S
from tests.unit.sched.fake_nvml import FakeNvml, ProcessDeath

TURNS = 400  # more than any case needs: one that needs them all never comes to rest
LONG_S = 1300.0  # beyond every delay of a retry and of the quarantine's memory


class Moments:
    """Counts moments, and dies at the one of number ``fatal``; 0 for never."""

    def __init__(self) -> None:
        self.count = 0
        self.fatal = 0

    def __call__(self, call: str, when: str) -> None:
        self.count += 1
        if self.count == self.fatal:
            raise ProcessDeath(f"{when} {call}")


class MortalJournal(Journal):
    """A journal whose process may die before and after a save."""

    def __init__(self, path: str, moment: Callable[[str, str], None]) -> None:
        super().__init__(path)
        self._moment = moment

    def save(self, record: Record) -> None:
        self._moment("save", "before")
        super().save(record)
        self._moment("save", "after")


@dataclass
class Agent:
    """A unit with an instance: what it wants, whether it runs, and the UUID that it was told."""

    profile: str
    uuid: str | None = None
    wanted: bool = True
    stopping: bool = False


@dataclass
class Pid1:
    """Stops and starts agents, and asks the service for their instances."""

    moment: Callable[[str, str], None]
    agents: dict[str, Agent] = field(default_factory=dict)
    mail: list[tuple[str, str]] = field(
        default_factory=list
    )  # what the service is still to be told

    def affected(self, agents: Sequence[str]) -> tuple[str, ...]:
        return tuple(agents)

    def stop(self, agents: Sequence[str]) -> None:
        self.moment("stop", "before")
        for name in agents:
            agent = self.agents[name]
            agent.wanted = False
            agent.stopping = agent.uuid is not None
        self.moment("stop", "after")

    def running(self, agents: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in agents if self.agents[name].uuid is not None)

    def start(self, units: Sequence[str]) -> None:
        self.moment("start", "before")
        for name in units:
            if not self.agents[name].wanted:
                self.agents[name].wanted = True
                self.mail.append(("Allocate", name))
        self.moment("start", "after")

    def restart(self, units: Sequence[str]) -> None:
        self.moment("restart", "before")
        for name in units:
            if self.agents[name].wanted:
                self.agents[name].uuid = None
                self.mail += [("Release", name), ("Allocate", name)]
        self.moment("restart", "after")

    def turn(self) -> None:
        """What was told to stop is down now, and PID 1 gives its instance back."""
        for name, agent in self.agents.items():
            if agent.stopping:
                agent.stopping, agent.uuid = False, None
                self.mail.append(("Release", name))


@dataclass(frozen=True)
class Snapshot:
    """What a world is made of, apart from the service."""

    journal: bytes
    devices: tuple[Device, ...]
    agents: dict[str, Agent]
    now: float


class World:
    """GPUs, PID 1, a clock, and the present life of the service."""

    def __init__(self, folder: str, *boards: str) -> None:
        self.moments = Moments()
        self.gpus = FakeNvml(*boards)
        self.gpus.on_call = self.moments
        self.pid1 = Pid1(self.moments)
        self.now = 1000.0
        self.deaths = 0
        self.foreign: set[tuple[str, int]] = set()
        self.journal = f"{folder}/journal.json"
        self.keeper = PartitionFile(f"{folder}/partition.json")
        self.live()

    def snapshot(self) -> Snapshot:
        """The world as it is, at rest."""
        return Snapshot(
            Path(self.journal).read_bytes(),
            self.gpus.devices(),
            {name: replace(agent) for name, agent in self.pid1.agents.items()},
            self.now,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Make the world what it was, in a new life of the service."""
        Path(self.journal).write_bytes(snapshot.journal)
        self.gpus.restore(snapshot.devices)
        self.pid1.agents = {name: replace(agent) for name, agent in snapshot.agents.items()}
        self.now = snapshot.now
        self.live()
        self.partitions.engine()

    def live(self) -> None:
        """The service starts (again)."""
        decider = Decider(None, decide.MISSING, "no policy was handed over")
        journal = MortalJournal(self.journal, self.moments)
        self.opening = Opening(self._open, journal, now=lambda: self.now)
        self.scheduler = Scheduler(self.opening, decider, 0.0, lambda: self.now)
        self.partitions = Partitions(
            self.opening.open, self.pid1, self.keeper, lambda: self.now,
            forget=self.opening.forget,
        )  # fmt: skip
        self.partitions.tell = lambda kind, text: None  # type: ignore[method-assign]

    def _open(self) -> FakeNvml:
        self.gpus.is_gone = False
        return self.gpus

    def ledger(self) -> Ledger:
        return self.opening.open()[1]

    # ---- what happens

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One call of the service, which may die of it: then an empty answer."""
        methods = {**self.scheduler.methods(), **self.partitions.methods()}
        try:
            return dict(methods[method](parameters))
        except ProcessDeath:
            self.die()
            return {}

    def die(self) -> None:
        """The next life; dead moments do not come back."""
        self.deaths += 1
        self.moments.fatal = 0
        self.live()

    def start(self, name: str, profile: str) -> None:
        """An agent that wants an instance."""
        self.pid1.agents[name] = Agent(profile)
        self.pid1.mail.append(("Allocate", name))

    def deliver(self) -> None:
        """Tell the service what PID 1 has to say. Of what it dies, only Allocate is asked again."""
        while self.pid1.mail:
            method, name = self.pid1.mail.pop(0)
            agent = self.pid1.agents[name]
            if method == "Release":
                self._try(method, agent=name)
                continue
            if not agent.wanted:
                continue
            answer = self._try(method, agent=name, profile=agent.profile)
            agent.uuid = answer.get("uuid") if answer else None
            if answer == {}:
                self.pid1.mail.append((method, name))  # the connection broke: once more

    def _try(self, method: str, **parameters: object) -> dict[str, Any] | None:
        try:
            return self.call(method, **parameters)
        except VarlinkError:
            return None

    def rest(self) -> bool:
        """Let time pass until nothing is under way; whether it ever came to that."""
        quiet = False
        for _ in range(TURNS):
            self.pid1.turn()
            self.deliver()
            try:
                seconds = self.partitions.tick()
                record = self.ledger().record
            except ProcessDeath:
                self.die()
                continue
            is_moving = record.transaction is not None or bool(record.resume or record.restart)
            if self.pid1.mail or any(each.stopping for each in self.pid1.agents.values()):
                continue
            if is_moving or seconds == 0:
                self.now += max(seconds, 0.0)
            elif quiet:
                return True
            else:
                quiet = True
                self.now += KEEP_S  # after which the service looks again
                continue
            quiet = False
        return False

    def heal(self) -> bool:
        """All faults end, and much time passes; whether the world came to rest."""
        self.gpus.heal()
        rested = True
        for _ in range(3):
            self.now += LONG_S
            for name, agent in self.pid1.agents.items():
                if agent.wanted and not self._is_alive(agent):
                    agent.uuid = None
                    self.pid1.mail.append(("Allocate", name))
            self._try("Allocate", agent="probe", profile="none")  # settles, as any Allocate does
            rested = self.rest() and rested
        return rested

    def _is_alive(self, agent: Agent) -> bool:
        return any(
            each.uuid == agent.uuid for device in self.gpus.devices() for each in device.instances
        )

    def _record(self) -> Record:
        return Journal(self.journal).load()

    # ---- what must hold

    def verdict(self) -> list[str]:
        """What is wrong now, while faults may go on."""
        record, devices = self._record(), self.gpus.devices()
        present = {device.uuid for device in devices}
        wrong = [*overlaps(devices)]
        if self.ledger().record != record:
            wrong.append("disagreement: the journal is not what the service believes")
        written: list[Assignment | Member] = [*record.assignments, *record.members]
        wrong += [
            f"untruth: {each} is written down and not there"
            for each in written
            if each.gpu_uuid in present and not is_live(each, devices)
        ]
        wrong += [
            f"stranded: {instance.profile} at {device.index}:{instance.start} is nobody's"
            for device, instance in self.ledger().unknown(devices)
            if (device.uuid, instance.id) not in self.foreign
        ]
        told = {each.agent: each.uuid for each in record.assignments}
        for name, agent in self.pid1.agents.items():
            if agent.uuid is not None and self._is_alive(agent) and told.get(name) != agent.uuid:
                wrong.append(f"untruth: {name} was told {agent.uuid}, and {told.get(name)} is its")
        return wrong

    def final_verdict(self) -> list[str]:
        """What is wrong when all faults are over and everything had its time."""
        record, devices = self._record(), self.gpus.devices()
        wrong = self.verdict()
        wrong += [f"stranded: {each} is still pending" for each in record.pending]
        wrong += [f"stranded: {each} is still barred" for each in record.barred]
        if record.transaction is not None or record.resume or record.restart:
            wrong.append("stranded: what was under way never ends")
        slots = {each.slot for each in record.members}
        held = {each.slot for each in record.assignments}
        for slot in record.partition:
            blocked = self._blocked(slot, devices, held)
            if slot not in slots and not blocked:
                wrong.append(f"stranded: {slot} of the partition is missing")
        wrong += [
            f"stranded: {name} waits for {agent.profile} though there is room"
            for name, agent in self.pid1.agents.items()
            if agent.wanted and agent.uuid is None and self._has_room(agent.profile)
        ]
        wrong += [f"{name} was never started again" for name, agent in self.pid1.agents.items()
                  if not agent.wanted]  # fmt: skip
        return wrong

    def _blocked(self, slot: Slot, devices: Sequence[Device], held: set[Slot]) -> bool:
        device = next((each for each in devices if each.uuid == slot.gpu_uuid), None)
        return device is None or any(each.mask & slot.mask for each in held if each != slot)

    def _has_room(self, profile: str) -> bool:
        return place.best(profile, self.ledger().devices()) is not None

    def slices_stranded(self) -> int:
        """Slices that neither a holder, nor the partition, nor an allocation can use."""
        record, devices = self._record(), self.gpus.devices()
        lost = sum(
            instance.size
            for device, instance in self.ledger().unknown(devices)
            if (device.uuid, instance.id) not in self.foreign
        )
        return lost + sum(each.size for each in record.barred)


def overlaps(devices: Sequence[Device]) -> list[str]:
    """Live instances that share a slice."""
    found = []
    for device in devices:
        taken = 0
        for each in device.instances:
            if taken & each.mask:
                found.append(f"overlap: {each.profile} at {device.index}:{each.start}")
            taken |= each.mask
    return found
