"""The GPU service ``org.ainos.Gpu``: gives agents their MIG instances.

PID 1 asks; ``decide`` says where; ``transaction`` makes it. A machine without a GPU is a state that
Status names and that Allocate answers with NoGpu; the driver is looked for again at each call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from ..child.server import Handler, VarlinkError
from ..linux import nvidia_proc, pci
from ..policy import device_nodes
from ..wire.codec import dumps
from ..wire.protocol import Message
from . import numa, place, planning, queue_file
from .decide import Decider
from .errors import GpuError, GpuMissingError
from .opening import Opening
from .place import Device, Instance
from .policy_methods import Policies, decision
from .queue import Queue
from .queue_methods import Queueing
from .records import Assignment, Record
from .round_records import Entry
from .rounds import Rounds
from .transaction import Ledger, boot_time

INTERFACE = "org.ainos.Gpu"
DECISIONS_KEPT = 64


class Scheduler:
    """The service's methods and its memory of what it decided."""

    def __init__(
        self,
        opening: Opening,
        decider: Decider,
        deadline_ms: float,
        now: Callable[[], float] = boot_time,
        settings: Mapping[str, object] | None = None,
        queue_path: str = "",
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._opening = opening
        self._now = now
        self._entries: deque[Entry] = deque(maxlen=DECISIONS_KEPT)
        rules, limits = queue_file.rules(settings or {})
        rounds = Rounds(decider, Queue(rules), now, self._note, limits)
        self.policies = Policies(decider, self._entries, deadline_ms)
        self._log = log
        self.queueing = Queueing(opening.open, rounds, now, self._failed, queue_path)
        self.queueing.placeable = lambda _, ledger: self._usable(ledger.devices())
        self.queueing.may_stay = lambda held: opening.care.may_stay(held.gpu_uuid)
        self.queueing.claim = self._claim
        self.queueing.why_none = opening.obstacles
        self.queueing.node_of = self._node_of
        self.queueing.device_nodes = self._device_nodes
        if problem := self.queueing.load():
            opening.notes.append(problem)

    def _node_of(self, gpu_uuid: str) -> numa.Node | None:
        """The NUMA node of a GPU; None where nobody knows, which is no error."""
        try:
            bus_id = self._opening.open()[0].bus_id(gpu_uuid)
        except GpuError:
            return None
        name = numa.device_name(bus_id)
        if name is None:
            return None
        said = (pci.attribute(name, key) for key in ("numa_node", "local_cpulist"))
        return numa.node(*said)

    def _device_nodes(self, held: Assignment) -> Sequence[device_nodes.Node]:
        """The nodes through which an instance is used; none where GPUs are emulated."""
        gpus, _ = self._opening.open()
        if gpus.is_emulated:
            return ()
        tree = nvidia_proc.tree()
        try:
            minor = device_nodes.minor_of(tree, gpus.bus_id(held.gpu_uuid))
            return device_nodes.of_instance(tree, minor, held.instance)
        except LookupError as error:
            raise GpuError(f"{held.uuid} cannot be handed over: {error}") from error

    def _note(self, entry: Entry) -> None:
        """Remember a decision, and say it with all that it rests on, as one line of JSON."""
        self._entries.append(entry)
        self._log(dumps(decision(entry)))

    def methods(self) -> Mapping[str, Handler]:
        """The handlers, by method."""
        own = {"Status": self.status}
        return {**own, **self.queueing.methods(), **self.policies.methods()}

    def status(self, _parameters: Message) -> Mapping[str, object]:
        """``Status``: never an error, whatever the machine lacks."""
        devices: tuple[Device, ...] = ()
        ledger: Ledger | None = None
        reason, version, emulated = "", "", False
        try:
            gpus, ledger = self._opening.open()
            devices = gpus.devices()
            version, emulated = gpus.version, gpus.is_emulated
        except GpuError as error:
            self._opening.forget(error)
            reason = str(error)
        holders = {} if ledger is None else _holders(ledger)
        pending = () if ledger is None else ledger.pending
        return {
            "state": "no-gpu" if reason else "ready",
            "reason": reason,
            "emulated": emulated,
            "driver": version,
            "policy": self.policies.record(),
            "devices": [_device(device, holders) for device in devices],
            "decisions": [decision(entry) for entry in self._entries],
            "pending": [f"{each.profile} at {each.gpu}:{each.start}" for each in pending],
            **planning.status(ledger.record if ledger else Record(), devices, self._now()),
            "unknown": [] if ledger is None else _unknown(ledger, devices),
            "notes": list(self._opening.notes),
        }

    def _usable(self, devices: tuple[Device, ...]) -> tuple[Device, ...]:
        return self._opening.care.placeable(devices)

    def _claim(self, ledger: Ledger, agent: str, profile: str) -> Assignment | None:
        return ledger.claim(agent, profile, self._usable(ledger.devices()))

    def _failed(self, error: GpuError) -> VarlinkError:
        self._opening.failed(error)
        name = "NoGpu" if isinstance(error, GpuMissingError) else "Failed"
        return VarlinkError(f"{INTERFACE}.{name}", {"reason": str(error)})


def _unknown(ledger: Ledger, devices: tuple[Device, ...]) -> list[str]:
    return [f"{each.profile} at {on.index}:{each.start}" for on, each in ledger.unknown(devices)]


def _holders(ledger: Ledger) -> dict[tuple[str, int], str]:
    return {(each.gpu_uuid, each.instance): each.agent for each in ledger.assignments}


def _device(device: Device, holders: Mapping[tuple[str, int], str]) -> Mapping[str, object]:
    return {
        "index": device.index,
        "uuid": device.uuid,
        "name": device.name,
        "mig": device.mig,
        "memory_mib": device.memory_mib,
        "slices": device.slices,
        "free": device.slices - device.occupied.bit_count(),
        "stranded": round(place.stranded(device, device.occupied), 3),
        "profiles": [profile.name for profile in device.profiles],
        "instances": [
            _instance(each, holders.get((device.uuid, each.id))) for each in device.instances
        ],
    }


def _instance(instance: Instance, agent: str | None) -> Mapping[str, object]:
    return {
        "id": instance.id,
        "profile": instance.profile,
        "start": instance.start,
        "size": instance.size,
        "uuid": instance.uuid,
        "agent": agent,
    }
