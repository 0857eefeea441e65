"""What NVML says of the health of GPUs: sensors and counters, Xids, persistence mode.

One of the modules that import pynvml. NVML's calls are safe in threads (NVML API, "Thread safety"
of its introduction), and one about a GPU in trouble may take for ever: callers have a thread for
each GPU. GPUs are named by UUID, for indices move when a GPU goes.

    reading = read("GPU-…")
    listener = Listener(uuids()); listener.wait(1000)
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pynvml

from .errors import GpuError, GpuLostError
from .nvml_errors import wrapped
from .readings import Fabric, Part, Reading, Recovery, throttle_words

_MIB_SHIFT = 20
_ANY = 0xFFFFFFFF  # no instance
_SRAM = 7  # NVML_MEMORY_LOCATION_SRAM
# What means that a board, a driver or a mode does not tell.
_UNTOLD = frozenset(
    (
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_NOT_FOUND,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_CORRUPTED_INFOROM,
        pynvml.NVML_ERROR_NO_DATA,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
        pynvml.NVML_ERROR_NOT_READY,
    )
)
_RECOVERIES = {
    pynvml.NVML_GPU_RECOVERY_ACTION_NONE: Recovery.NONE,
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: Recovery.RESET,
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: Recovery.REBOOT,
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_P2P: Recovery.DRAIN,
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: Recovery.RESET,
    pynvml.NVML_GPU_RECOVERY_ACTION_RECOVER_IMEX_DOMAIN: Recovery.DRAIN,
    pynvml.NVML_GPU_RECOVERY_ACTION_BUS_RESET: Recovery.RESET,
    pynvml.NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT: Recovery.REBOOT,
}
_FABRICS = {
    pynvml.NVML_GPU_FABRIC_STATE_NOT_STARTED: Fabric.NOT_STARTED,
    pynvml.NVML_GPU_FABRIC_STATE_IN_PROGRESS: Fabric.IN_PROGRESS,
    pynvml.NVML_GPU_FABRIC_STATE_COMPLETED: Fabric.COMPLETED,
}


@dataclass(frozen=True, slots=True)
class XidEvent:
    """An Xid that the driver reported; ``instance`` is the GPU instance, None for the whole GPU."""

    uuid: str
    code: int
    instance: int | None


class NvmlHealth:
    """NVML as ``monitor`` and ``care`` use it; it must be initialised (``nvml.Nvml``)."""

    def uuids(self) -> tuple[str, ...]:
        """The GPUs that answer."""
        with wrapped("the GPUs"):
            count = pynvml.nvmlDeviceGetCount()
        found = []
        for index in range(count):
            try:
                with wrapped(f"GPU {index}"):
                    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                    found.append(str(pynvml.nvmlDeviceGetUUID(handle)))
            except GpuLostError:
                continue
        return tuple(found)

    def read(self, uuid: str) -> Reading:
        """Read all of one GPU. Raises GpuLostError when it is gone, GpuError when NVML fails."""
        with wrapped(f"reading {uuid}"):
            return _read(_handle(uuid), uuid)

    def listen(self, uuids: Iterable[str]) -> Listener:
        """Have Xids of these GPUs reported from now on. Raises GpuError."""
        return Listener(uuids)

    def persist(self) -> list[str]:
        """Switch persistence mode on where it is off; what could not be done, in words.

        It is never switched off here: without it the driver forgets a GPU's state, its instances
        included, when the last user leaves.
        """
        notes = []
        for uuid in self.uuids():
            try:
                with wrapped(f"{uuid}: persistence mode"):
                    handle = _handle(uuid)
                    if _ask(pynvml.nvmlDeviceGetPersistenceMode, handle) == 0:
                        pynvml.nvmlDeviceSetPersistenceMode(handle, 1)
            except GpuError as error:
                notes.append(str(error))
        return notes


class Listener:
    """An NVML event set. What happens before it is made is never reported."""

    def __init__(self, uuids: Iterable[str]) -> None:
        self._names: dict[int, str] = {}
        with wrapped("hearing Xids"):
            self._set = pynvml.nvmlEventSetCreate()
        for uuid in uuids:
            try:
                with wrapped(f"hearing Xids of {uuid}"):
                    self._register(uuid)
            except GpuError as error:
                print(f"{error}", flush=True)

    def _register(self, uuid: str) -> None:
        handle = _handle(uuid)
        offered = _ask(pynvml.nvmlDeviceGetSupportedEventTypes, handle) or 0
        wanted = pynvml.nvmlEventTypeXidCriticalError & offered
        if wanted:
            pynvml.nvmlDeviceRegisterEvents(handle, wanted, self._set)
            self._names[_address(handle)] = uuid

    def wait(self, timeout_ms: int) -> XidEvent | None:
        """The next Xid, or None at the deadline.

        Raises GpuLostError when a GPU is lost (which one NVML does not say), GpuError otherwise;
        the listener is then to be made anew.
        """
        with wrapped("hearing Xids"):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._set, timeout_ms)
            except pynvml.NVMLError_Timeout:
                return None
            if not event.eventType & pynvml.nvmlEventTypeXidCriticalError:
                return None
            address = _address(event.device)
            uuid = self._names.get(address) or str(pynvml.nvmlDeviceGetUUID(event.device))
            instance = None if event.gpuInstanceId == _ANY else int(event.gpuInstanceId)
            return XidEvent(uuid, int(event.eventData), instance)

    def close(self) -> None:
        """Let go of the set. One that NVML no longer knows is gone already."""
        try:
            pynvml.nvmlEventSetFree(self._set)
        except pynvml.NVMLError:
            pass


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _handle(uuid: str) -> Any:
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
    except pynvml.NVMLError_NotFound as error:
        raise GpuLostError(f"{uuid} is not there any more") from error


def _ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML tells, or None when it tells nothing about that."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _UNTOLD:
            return None
        raise


def _read(handle: Any, uuid: str) -> Reading:
    total, volatile = pynvml.nvmlDeviceGetTotalEccErrors, pynvml.NVML_VOLATILE_ECC
    bad, mended = (
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
        pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
    )
    reasons = _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    rows = _ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    rates = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    persistence = _ask(pynvml.nvmlDeviceGetPersistenceMode, handle)
    pages = _ask(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, handle)
    return Reading(
        index=int(pynvml.nvmlDeviceGetIndex(handle)),
        uuid=uuid,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        bus=str(pynvml.nvmlDeviceGetPciInfo(handle).busId).lower(),
        temperature_c=_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        power_w=_watts(_ask(pynvml.nvmlDeviceGetPowerUsage, handle)),
        power_limit_w=_watts(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        clock_sm_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        clock_memory_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        throttle=None if reasons is None else throttle_words(reasons),
        utilisation=None if rates is None else int(rates.gpu),
        memory_used_mib=None if memory is None else memory.used >> _MIB_SHIFT,
        memory_mib=None if memory is None else memory.total >> _MIB_SHIFT,
        pcie_replays=_ask(pynvml.nvmlDeviceGetPcieReplayCounter, handle),
        persistence=None if persistence is None else bool(persistence),
        uncorrected=_ask(total, handle, bad, volatile),
        corrected=_ask(total, handle, mended, volatile),
        aggregate=_ask(total, handle, bad, pynvml.NVML_AGGREGATE_ECC),
        remapped=None if rows is None else rows[0] + rows[1],
        remap_pending=None if rows is None else bool(rows[2]),
        remap_failed=None if rows is None else bool(rows[3]),
        retired=None if pages is None else _retired(handle),
        retired_pending=None if pages is None else bool(pages),
        recovery=_recovery(handle),
        fabric=_fabric(handle),
        parts=_parts(handle),
    )


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _retired(handle: Any) -> int | None:
    causes = (
        pynvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
        pynvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
    )
    found = [_ask(pynvml.nvmlDeviceGetRetiredPages, handle, cause) for cause in causes]
    return None if None in found else sum(len(pages) for pages in found)


def _recovery(handle: Any) -> Recovery | None:
    """Drivers of release 565 and later tell it."""
    wanted = [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION]
    values = _ask(pynvml.nvmlDeviceGetFieldValues, handle, wanted)
    if values is None or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return _RECOVERIES.get(int(values[0].value.uiVal))


def _fabric(handle: Any) -> Fabric | None:
    info = pynvml.c_nvmlGpuFabricInfo_v2_t()
    if _ask(pynvml.nvmlDeviceGetGpuFabricInfoV, handle, ctypes.byref(info)) is None:
        return None
    state = _FABRICS.get(info.state)
    failed = state is Fabric.COMPLETED and info.status != pynvml.NVML_SUCCESS
    return Fabric.FAILED if failed else state


def _parts(handle: Any) -> tuple[Part, ...]:
    most = _ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    found = (
        _ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index) for index in range(most)
    )
    return tuple(_part(mig) for mig in found if mig is not None)


def _part(mig: Any) -> Part:
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, mig)
    processes = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, mig)
    bad, volatile = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    return Part(
        instance=int(pynvml.nvmlDeviceGetGpuInstanceId(mig)),
        uuid=str(pynvml.nvmlDeviceGetUUID(mig)),
        memory_used_mib=None if memory is None else memory.used >> _MIB_SHIFT,
        memory_mib=None if memory is None else memory.total >> _MIB_SHIFT,
        processes=None if processes is None else len(processes),
        uncorrected=_ask(pynvml.nvmlDeviceGetMemoryErrorCounter, mig, bad, volatile, _SRAM),
    )
