"""The driver: live GPUs as frozen records, and the four calls that change MIG instances.

Only modules named ``nvml…`` import pynvml; health and sensors are read by ``nvml_health``. Sizes
and placements are read from the board, never assumed. Always passes a placement: a driver that
chooses one itself spoils slices (NVIDIA MIG User Guide, "Creating GPU Instances").

    gpus = Nvml()
    gpus.devices()
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pynvml

from .errors import GpuError, GpuLostError, GpuMissingError
from .nvml_errors import wrapped as _wrapped
from .place import Device, Instance, Profile

EMULATED = "emulated"  # the emulator's mark in the driver version
_PREFIX = "MIG "


class Nvml:
    """One open NVML. Raises GpuMissingError when there is no library, driver or device."""

    def __init__(self) -> None:
        self._profiles: dict[str, tuple[Profile, ...]] = {}
        with _wrapped("NVML does not start"):
            pynvml.nvmlInit()
        with _wrapped("the driver's version"):
            self.version = str(pynvml.nvmlSystemGetDriverVersion())
            count = pynvml.nvmlDeviceGetCount()
        if count == 0:
            self.close()
            raise GpuMissingError("NVML finds no device")

    @property
    def is_emulated(self) -> bool:
        """Whether the driver is the emulator and there is no GPU behind it."""
        return EMULATED in self.version

    def close(self) -> None:
        """Let go of NVML."""
        with _wrapped("NVML does not stop"):
            pynvml.nvmlShutdown()

    def devices(self) -> tuple[Device, ...]:
        """All GPUs that answer, as they are now, with their instances. One that is lost is left
        out; the others go on.
        """
        with _wrapped("the devices"):
            count = pynvml.nvmlDeviceGetCount()
        found = []
        for index in range(count):
            try:
                with _wrapped(f"GPU {index}"):
                    found.append(self._device(index))
            except GpuLostError:
                continue
        return tuple(found)

    def enable_mig(self) -> list[str]:
        """Switch MIG on where that needs no reset; what could not be done, in words.

        Before Hopper the mode persists and switching it resets the board, so it is left to the
        administrator; from Hopper on it is lost with every boot.
        """
        notes = []
        with _wrapped("MIG mode"):
            count = pynvml.nvmlDeviceGetCount()
        for index in range(count):
            try:
                with _wrapped(f"GPU {index}: MIG mode"):
                    note = _enable_mig(index)
            except GpuLostError as error:
                note = str(error)
            if note:
                notes.append(note)
        return notes

    def bus_id(self, uuid: str) -> str:
        """The PCI bus id of a GPU, as ``00000000:3B:00.0``."""
        with _wrapped(f"{uuid}: its bus id"):
            found = pynvml.nvmlDeviceGetPciInfo(pynvml.nvmlDeviceGetHandleByUUID(uuid)).busId
            return found.decode() if isinstance(found, bytes) else str(found)

    def create_gpu_instance(self, gpu: int, profile: str, start: int) -> int:
        """Make a GPU instance at that placement; its id. It has no compute instance yet."""
        with _wrapped(f"GPU {gpu}: creating {profile} at slice {start}"):
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
            offered = next((p for p in self._profiles_of(handle) if p.name == profile), None)
            if offered is None:
                raise GpuError(f"GPU {gpu} offers no {profile}")
            placement = pynvml.c_nvmlGpuInstancePlacement_t(start, offered.memory)
            instance = pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(
                handle, offered.id, ctypes.byref(placement)
            )
            return int(pynvml.nvmlGpuInstanceGetInfo(instance).id)

    def create_compute_instance(self, gpu: int, instance: int) -> str:
        """Make the full-width compute instance; the UUID of the MIG device that it is."""
        with _wrapped(f"GPU {gpu}: creating the compute instance of {instance}"):
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
            parent = pynvml.nvmlDeviceGetGpuInstanceById(handle, instance)
            widest = max(_compute_profiles(parent), key=lambda profile: profile.sliceCount)
            pynvml.nvmlGpuInstanceCreateComputeInstance(parent, widest.id)
            uuid = _mig_uuids(handle).get(instance)
        if uuid is None:
            raise GpuError(f"GPU {gpu}: instance {instance} shows no MIG device")
        return uuid

    def destroy_compute_instances(self, gpu: int, instance: int) -> None:
        """Destroy all compute instances of a GPU instance. GpuBusyError: a process is on one."""
        with _wrapped(f"GPU {gpu}: destroying the compute instances of {instance}"):
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
            parent = pynvml.nvmlDeviceGetGpuInstanceById(handle, instance)
            for compute in _computes(parent):
                pynvml.nvmlComputeInstanceDestroy(compute)

    def destroy_gpu_instance(self, gpu: int, instance: int) -> None:
        """Destroy a GPU instance. GpuBusyError: it still has a compute instance or a process."""
        with _wrapped(f"GPU {gpu}: destroying instance {instance}"):
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
            pynvml.nvmlGpuInstanceDestroy(pynvml.nvmlDeviceGetGpuInstanceById(handle, instance))

    def processes(self, gpu: int, instance: int) -> tuple[int, ...]:
        """The processes that NVML shows on a GPU instance."""
        with _wrapped(f"GPU {gpu}: the processes of {instance}"):
            handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
            return tuple(
                int(process.pid)
                for mig, number in _mig_devices(handle)
                if number == instance
                for process in pynvml.nvmlDeviceGetComputeRunningProcesses(mig)
            )

    def _device(self, index: int) -> Device:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        mig = _is_mig(handle)
        profiles = () if mig is None else self._profiles_of(handle)
        return Device(
            index=index,
            uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
            name=str(pynvml.nvmlDeviceGetName(handle)),
            mig=mig is True,
            memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total >> 20,
            profiles=profiles,
            instances=_instances(handle, profiles) if mig else (),
            pci_device_id=int(pynvml.nvmlDeviceGetPciInfo(handle).pciDeviceId),
        )

    def _profiles_of(self, handle: Any) -> tuple[Profile, ...]:
        """What the board offers: that never changes, so it is read once."""
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        if uuid not in self._profiles:
            self._profiles[uuid] = tuple(_read_profiles(handle))
        return self._profiles[uuid]


def _enable_mig(index: int) -> str:
    """Switch MIG on if that needs no reset; why it is not on, or ""."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    if _is_mig(handle) is not False:
        return ""
    if pynvml.nvmlDeviceGetArchitecture(handle) < pynvml.NVML_DEVICE_ARCH_HOPPER:
        return f"GPU {index}: MIG is off, and switching it on resets the board"
    status = pynvml.nvmlDeviceSetMigMode(handle, pynvml.NVML_DEVICE_MIG_ENABLE)
    if status == pynvml.NVML_SUCCESS:
        return ""
    return f"GPU {index}: MIG is not on yet: {pynvml.NVMLError(status)}"


def _is_mig(handle: Any) -> bool | None:
    """Whether MIG is on; None for a board without MIG."""
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except pynvml.NVMLError_NotSupported:
        return None


def _each(read: Callable[[int], Any]) -> Iterator[Any]:
    """Walk NVML's enumerators: NOT_SUPPORTED is a gap, INVALID_ARGUMENT the end."""
    enumerator = 0
    while True:
        try:
            yield read(enumerator)
        except pynvml.NVMLError_NotSupported:
            pass
        except pynvml.NVMLError_InvalidArgument:
            return
        enumerator += 1


def _read_profiles(handle: Any) -> Iterator[Profile]:
    for info in _each(lambda number: pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, number)):
        count = ctypes.c_uint()
        reference = ctypes.byref(count)
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, info.id, None, reference)
        placements = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, info.id, placements, reference)
        if count.value == 0:
            continue
        yield Profile(
            name=str(info.name).removeprefix(_PREFIX),
            id=info.id,
            compute=info.sliceCount,
            memory=placements[0].size,
            limit=info.instanceCount,
            starts=tuple(sorted(each.start for each in placements[: count.value])),
            memory_mib=int(info.memorySizeMB),
        )


def _instances(handle: Any, profiles: tuple[Profile, ...]) -> tuple[Instance, ...]:
    uuids = _mig_uuids(handle)
    found = []
    for profile in profiles:
        count = ctypes.c_uint()
        array = (pynvml.c_nvmlGpuInstance_t * profile.limit)()
        pynvml.nvmlDeviceGetGpuInstances(handle, profile.id, array, ctypes.byref(count))
        for instance in array[: count.value]:
            info = pynvml.nvmlGpuInstanceGetInfo(instance)
            found.append(
                Instance(
                    id=info.id,
                    profile=profile.name,
                    start=info.placement.start,
                    size=info.placement.size,
                    uuid=uuids.get(info.id),
                    computes=sum(1 for _ in _computes(instance)),
                )
            )
    return tuple(sorted(found, key=lambda instance: instance.start))


def _compute_profiles(instance: Any) -> list[Any]:
    read = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo
    shared = pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
    return list(_each(lambda number: read(instance, number, shared)))


def _computes(instance: Any) -> Iterator[Any]:
    for profile in _compute_profiles(instance):
        count = ctypes.c_uint()
        array = (pynvml.c_nvmlComputeInstance_t * profile.instanceCount)()
        pynvml.nvmlGpuInstanceGetComputeInstances(instance, profile.id, array, ctypes.byref(count))
        yield from array[: count.value]


def _mig_devices(handle: Any) -> Iterator[tuple[Any, int]]:
    """Each MIG device of a GPU, with the id of its GPU instance."""
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except pynvml.NVMLError_NotFound:
            continue
        yield mig, int(pynvml.nvmlDeviceGetGpuInstanceId(mig))


def _mig_uuids(handle: Any) -> dict[int, str]:
    """GPU instance id → UUID of its first MIG device."""
    uuids: dict[int, str] = {}
    for mig, instance in _mig_devices(handle):
        uuids.setdefault(instance, str(pynvml.nvmlDeviceGetUUID(mig)))
    return uuids
