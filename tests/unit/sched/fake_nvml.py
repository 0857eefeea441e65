"""A driver in memory. It passes the contract suite that the real adapter passes on the emulator.

It can die: ``crash`` names a call and whether the process dies before or after it takes effect, and
``on_call`` is told of both moments of every call. It can refuse: ``fail`` gives the error that a
call raises instead of doing anything. And it can have faults (``faults``), as drivers do.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from ainit.sched.errors import GpuBusyError, GpuError, GpuMissingError, NoRoomError
from ainit.sched.place import Device, Instance, Profile, mask

BOARDS = Path(__file__).resolve().parents[3] / "ainit" / "sched" / "boards.json"
CREATE, COMPUTE = "create_gpu_instance", "create_compute_instance"
UNCOMPUTE, DESTROY = "destroy_compute_instances", "destroy_gpu_instance"


class ProcessDeath(BaseException):
    """The process that called the driver was killed."""


class Kind(Enum):
    """What a call does wrong. The emulator's names for the same are in ``faults.c``."""

    REFUSE = "refuse"  # an error, and nothing is done
    LATE = "late"  # an error, though it is done
    NOTHING = "nothing"  # no error, though nothing is done: remnants stay listed
    GHOST = "ghost"  # done, and the slices are not given to anybody any more
    ELSEWHERE = "elsewhere"  # an instance in another place
    OTHER = "other"  # an instance of another profile
    LOSE = "lose"  # the GPU falls off the bus
    RESET = "reset"  # the GPU is reset: its instances are gone
    RELOAD = "reload"  # the driver is loaded anew: all handles are dead, all instances gone


@dataclass
class Fault:
    """A call that goes wrong so many times."""

    call: str
    kind: Kind
    times: int = 1


def board(key: str, index: int) -> Device:
    """An empty GPU of that kind."""
    data = json.loads(BOARDS.read_text())["boards"][key]
    profiles = tuple(
        Profile(
            each["name"],
            each["id"],
            each["compute"],
            each["memory"],
            each["limit"],
            tuple(each["starts"]),
            each["memory_mib"],
        )
        for each in sorted(data["profiles"], key=lambda each: each["enum"])
    )
    name = data["product"]
    pci = int(data["pci_device_id"], 16)
    return Device(
        index, f"GPU-fake-{index}", name, True, data["memory_mib"], profiles, (), pci_device_id=pci
    )


class FakeNvml:
    """What ``ainit.sched.nvml.Nvml`` is, without a driver."""

    version = "0-fake-emulated"
    is_emulated = True

    def __init__(self, *keys: str) -> None:
        self._devices = [board(key, index) for index, key in enumerate(keys or ["H100-80GB"] * 2)]
        self.busy: set[tuple[int, int]] = set()
        self.fail: dict[str, GpuError] = {}
        self.crash: tuple[str, str] | None = None
        self.calls: list[str] = []
        self.faults: list[Fault] = []
        self.ghosts: dict[int, int] = {}
        self.lost: set[int] = set()
        self.is_gone = False
        self.on_call: Callable[[str, str], None] = lambda call, when: None

    def devices(self) -> tuple[Device, ...]:
        self._enter("devices")
        return tuple(each for each in self._devices if each.index not in self.lost)

    def close(self) -> None:
        pass

    def bus_id(self, uuid: str) -> str:
        return f"00000000:{0xA0 + int(uuid.rpartition('-')[2]):02X}:00.0"

    def enable_mig(self) -> list[str]:
        return []

    def processes(self, gpu: int, instance: int) -> tuple[int, ...]:
        return (1,) if (gpu, instance) in self.busy else ()

    def create_gpu_instance(self, gpu: int, profile: str, start: int) -> int:
        kind = self._enter(CREATE, gpu)
        device = self._devices[gpu]
        offered = device.profile(profile)
        if offered is None or start not in offered.starts:
            raise GpuError(f"{profile} at {start}: Invalid Argument")
        taken = sum(each.profile == profile for each in device.instances)
        blocked = device.occupied | self.ghosts.get(gpu, 0)
        if taken >= offered.limit or mask(start, offered.memory) & blocked or kind is Kind.REFUSE:
            raise NoRoomError("Insufficient Resources")
        if kind in (Kind.ELSEWHERE, Kind.OTHER):
            offered, start = self._wrong(device, offered, start, blocked, kind)
        if kind is Kind.NOTHING:
            raise GpuError("Unknown Error")  # there is no instance to give a handle of
        used = {each.id for each in device.instances}
        number = next(number for number in range(1, 9) if number not in used)
        made = Instance(number, offered.name, start, offered.memory, None, 0)
        self._replace(gpu, [*device.instances, made])
        self._leave(CREATE, kind)
        return number

    def create_compute_instance(self, gpu: int, instance: int) -> str:
        kind = self._enter(COMPUTE, gpu)
        found = self._instance(gpu, instance)
        if found.computes or kind in (Kind.REFUSE, Kind.NOTHING):
            raise NoRoomError("Insufficient Resources")
        uuid = f"MIG-fake-{gpu}-{instance}-{found.start}"
        self._change(gpu, replace(found, uuid=uuid, computes=1))
        self._leave(COMPUTE, kind)
        return uuid

    def destroy_compute_instances(self, gpu: int, instance: int) -> None:
        kind = self._enter(UNCOMPUTE, gpu)
        found = self._instance(gpu, instance)
        if (gpu, instance) in self.busy or kind is Kind.REFUSE:
            raise GpuBusyError("In use by another client")
        if kind is not Kind.NOTHING:
            self._change(gpu, replace(found, uuid=None, computes=0))
        self._leave(UNCOMPUTE, kind)

    def destroy_gpu_instance(self, gpu: int, instance: int) -> None:
        kind = self._enter(DESTROY, gpu)
        found = self._instance(gpu, instance)
        if found.computes or (gpu, instance) in self.busy or kind is Kind.REFUSE:
            raise GpuBusyError("In use by another client")
        if kind is Kind.GHOST:
            self.ghosts[gpu] = self.ghosts.get(gpu, 0) | found.mask
        if kind is not Kind.NOTHING:
            self._replace(gpu, [each for each in self._devices[gpu].instances if each != found])
        self._leave(DESTROY, kind)

    def restore(self, devices: tuple[Device, ...]) -> None:
        """Be what ``devices`` said once."""
        self._devices = list(devices)

    def reboot(self) -> None:
        """Everything that was made is gone."""
        self._devices = [replace(device, instances=()) for device in self._devices]
        self.busy.clear()
        self.ghosts.clear()

    def reset(self, gpu: int) -> None:
        """Everything on that GPU is gone."""
        self._replace(gpu, [])
        self.busy = {each for each in self.busy if each[0] != gpu}
        self.ghosts.pop(gpu, None)

    def heal(self) -> None:
        """No more faults: what was lost comes back empty, remnants are given free."""
        self.faults.clear()
        self.fail.clear()
        for gpu in self.lost:
            self.reset(gpu)
        self.lost.clear()
        self.ghosts.clear()
        self.is_gone = False

    def _enter(self, call: str, gpu: int | None = None) -> Kind | None:
        self.calls.append(call)
        self.on_call(call, "before")
        if self.crash == (call, "before"):
            self.crash = None
            raise ProcessDeath(call)
        if self.is_gone:
            raise GpuMissingError("Uninitialized")
        if gpu in self.lost:
            raise GpuError("GPU is lost")
        if call in self.fail:
            raise self.fail[call]
        return self._fault(call, gpu)

    def _fault(self, call: str, gpu: int | None) -> Kind | None:
        fault = next((each for each in self.faults if each.call == call and each.times), None)
        if fault is None or gpu is None:
            return None
        fault.times -= 1
        match fault.kind:
            case Kind.LOSE:
                self.lost.add(gpu)
                raise GpuError("GPU is lost")
            case Kind.RESET:
                self.reset(gpu)
                raise GpuError("GPU requires reset")
            case Kind.RELOAD:
                self.reboot()
                self.is_gone = True
                raise GpuMissingError("Uninitialized")
        return fault.kind

    def _wrong(
        self, device: Device, offered: Profile, start: int, blocked: int, kind: Kind
    ) -> tuple[Profile, int]:
        """Another free place for the profile, or another profile that fits; as asked without."""
        others = [offered] if kind is Kind.ELSEWHERE else list(device.profiles)
        for profile in others:
            for place in reversed(profile.starts):
                is_asked = (profile.name, place) == (offered.name, start)
                if not is_asked and not mask(place, profile.memory) & blocked:
                    return profile, place
        return offered, start

    def _leave(self, call: str, kind: Kind | None) -> None:
        self.on_call(call, "after")
        if self.crash == (call, "after"):
            self.crash = None
            raise ProcessDeath(call)
        if kind is Kind.LATE:
            raise GpuError("Unknown Error")

    def _instance(self, gpu: int, instance: int) -> Instance:
        for each in self._devices[gpu].instances:
            if each.id == instance:
                return each
        raise GpuError("Not Found")

    def _change(self, gpu: int, after: Instance) -> None:
        others = [each for each in self._devices[gpu].instances if each.id != after.id]
        self._replace(gpu, [*others, after])

    def _replace(self, gpu: int, instances: list[Instance]) -> None:
        ordered = tuple(sorted(instances, key=lambda each: each.start))
        self._devices[gpu] = replace(self._devices[gpu], instances=ordered)
