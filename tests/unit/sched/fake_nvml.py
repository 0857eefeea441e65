"""A driver in memory. It passes the contract suite that the real adapter passes on the emulator.

It can die: ``crash`` names a call and whether the process dies before or after it takes effect. It
can refuse: ``fail`` gives the error that a call raises instead of doing anything.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ainit.sched.errors import GpuBusyError, GpuError, NoRoomError
from ainit.sched.place import Device, Instance, Profile, mask

BOARDS = Path(__file__).resolve().parents[3] / "ainit" / "sched" / "boards.json"


class ProcessDeath(BaseException):
    """The process that called the driver was killed."""


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
    return Device(index, f"GPU-fake-{index}", name, True, data["memory_mib"], profiles, ())


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

    def devices(self) -> tuple[Device, ...]:
        self._enter("devices")
        return tuple(self._devices)

    def enable_mig(self) -> list[str]:
        return []

    def create_gpu_instance(self, gpu: int, profile: str, start: int) -> int:
        self._enter("create_gpu_instance")
        device = self._devices[gpu]
        offered = device.profile(profile)
        if offered is None or start not in offered.starts:
            raise GpuError(f"{profile} at {start}: Invalid Argument")
        taken = sum(each.profile == profile for each in device.instances)
        if taken >= offered.limit or mask(start, offered.memory) & device.occupied:
            raise NoRoomError("Insufficient Resources")
        used = {each.id for each in device.instances}
        number = next(number for number in range(1, 9) if number not in used)
        made = Instance(number, profile, start, offered.memory, None, 0)
        self._replace(gpu, [*device.instances, made])
        self._leave("create_gpu_instance")
        return number

    def create_compute_instance(self, gpu: int, instance: int) -> str:
        self._enter("create_compute_instance")
        found = self._instance(gpu, instance)
        if found.computes:
            raise NoRoomError("Insufficient Resources")
        uuid = f"MIG-fake-{gpu}-{instance}-{found.start}"
        self._change(gpu, replace(found, uuid=uuid, computes=1))
        self._leave("create_compute_instance")
        return uuid

    def destroy_compute_instances(self, gpu: int, instance: int) -> None:
        self._enter("destroy_compute_instances")
        found = self._instance(gpu, instance)
        if (gpu, instance) in self.busy:
            raise GpuBusyError("In use by another client")
        self._change(gpu, replace(found, uuid=None, computes=0))
        self._leave("destroy_compute_instances")

    def destroy_gpu_instance(self, gpu: int, instance: int) -> None:
        self._enter("destroy_gpu_instance")
        found = self._instance(gpu, instance)
        if found.computes or (gpu, instance) in self.busy:
            raise GpuBusyError("In use by another client")
        self._replace(gpu, [each for each in self._devices[gpu].instances if each != found])
        self._leave("destroy_gpu_instance")

    def reboot(self) -> None:
        """Everything that was made is gone."""
        self._devices = [replace(device, instances=()) for device in self._devices]
        self.busy.clear()

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        if self.crash == (call, "before"):
            self.crash = None
            raise ProcessDeath(call)
        if call in self.fail:
            raise self.fail[call]

    def _leave(self, call: str) -> None:
        if self.crash == (call, "after"):
            self.crash = None
            raise ProcessDeath(call)

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
