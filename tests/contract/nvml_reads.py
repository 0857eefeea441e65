"""Reads everything that the GPU service relies on from whichever NVML is loaded; prints JSON.

It changes nothing, so it may run on a real GPU. ``python3 nvml_reads.py`` with the library's
directory in LD_LIBRARY_PATH.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pynvml


def main() -> None:
    """Print what NVML says about each GPU; ``null`` where there is no NVML or no GPU."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        print("null")
        return
    count = pynvml.nvmlDeviceGetCount()
    found = [_read(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]
    version = str(pynvml.nvmlSystemGetDriverVersion())
    json.dump({"driver": version, "gpus": found} if found else None, sys.stdout)


def _read(gpu: Any) -> dict[str, Any]:
    memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
    pci = pynvml.nvmlDeviceGetPciInfo(gpu)
    by_bus = pynvml.nvmlDeviceGetHandleByPciBusId(pci.busId.encode())
    by_uuid = pynvml.nvmlDeviceGetHandleByUUID(str(pynvml.nvmlDeviceGetUUID(gpu)).encode())
    return {
        "index": pynvml.nvmlDeviceGetIndex(gpu),
        "found_by_bus": pynvml.nvmlDeviceGetIndex(by_bus),
        "found_by_uuid": pynvml.nvmlDeviceGetIndex(by_uuid),
        "uuid": str(pynvml.nvmlDeviceGetUUID(gpu)),
        "name": str(pynvml.nvmlDeviceGetName(gpu)),
        "architecture": pynvml.nvmlDeviceGetArchitecture(gpu),
        "memory": [memory.total, memory.free, memory.used],
        "pci_device_id": pci.pciDeviceId,
        "temperature": pynvml.nvmlDeviceGetTemperature(gpu, 0),
        "power": pynvml.nvmlDeviceGetPowerUsage(gpu),
        "power_limit": pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu),
        "mig": _or_none(lambda: list(pynvml.nvmlDeviceGetMigMode(gpu))),
        "past_the_end": _code(
            pynvml.nvmlDeviceGetGpuInstanceProfileInfo, gpu, pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT
        ),
        "profiles": list(_profiles(gpu)),
        "processes": len(pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)),
    }


def _profiles(gpu: Any) -> Iterator[dict[str, Any]]:
    for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, number)
        except pynvml.NVMLError_NotSupported:
            continue
        except pynvml.NVMLError_InvalidArgument:
            return  # an older driver knows fewer
        count = ctypes.c_uint()
        reference = ctypes.byref(count)
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(gpu, info.id, None, reference)
        array = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(gpu, info.id, array, reference)
        yield {
            "enumerator": number,
            "id": info.id,
            "name": str(info.name),
            "compute": info.sliceCount,
            "limit": info.instanceCount,
            "memory_mib": info.memorySizeMB,
            "multiprocessors": info.multiprocessorCount,
            "placements": [[each.start, each.size] for each in array[: count.value]],
        }


def _or_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except pynvml.NVMLError:
        return None


def _code(call: Callable[..., Any], *arguments: Any) -> int:
    try:
        call(*arguments)
    except pynvml.NVMLError as error:
        return int(error.value)
    return 0


if __name__ == "__main__":
    main()
