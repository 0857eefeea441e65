"""Sensors, counters, events and losses of an emulated GPU, through the vendor's own binding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from tests.contract import nvml_emulator
from tests.contract.nvml_emulator import fails, inject

NO_INSTANCE = 0xFFFFFFFF


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state"
    nvml_emulator.configure(monkeypatch, path)
    return path


@pytest.fixture
def gpu(state: Path) -> Iterator[Any]:
    with nvml_emulator.started():
        yield pynvml.nvmlDeviceGetHandleByIndex(0)


def happen(state: Path, *lines: str) -> None:
    with state.with_name("state.events").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def readings(gpu: Any) -> dict[str, Any]:
    """Every number that can be set, by its key."""
    corrected, uncorrected = (
        pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
        pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
    )
    since, ever = pynvml.NVML_VOLATILE_ECC, pynvml.NVML_AGGREGATE_ECC
    rows = pynvml.nvmlDeviceGetRemappedRows(gpu)
    return {
        "temperature": pynvml.nvmlDeviceGetTemperature(gpu, 0),
        "shutdown-at": pynvml.nvmlDeviceGetTemperatureThreshold(gpu, 0),
        "slowdown-at": pynvml.nvmlDeviceGetTemperatureThreshold(gpu, 1),
        "power": pynvml.nvmlDeviceGetPowerUsage(gpu),
        "power-limit": pynvml.nvmlDeviceGetPowerManagementLimit(gpu),
        "energy": pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu),
        "clock-sm": pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
        "clock-memory": pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
        "clock-sm-max": pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_SM),
        "clock-reasons": pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),
        "ecc": pynvml.nvmlDeviceGetEccMode(gpu)[0],
        "ecc-corrected": pynvml.nvmlDeviceGetTotalEccErrors(gpu, corrected, since),
        "ecc-uncorrected": pynvml.nvmlDeviceGetTotalEccErrors(gpu, uncorrected, since),
        "ecc-corrected-total": pynvml.nvmlDeviceGetTotalEccErrors(gpu, corrected, ever),
        "ecc-uncorrected-total": pynvml.nvmlDeviceGetTotalEccErrors(gpu, uncorrected, ever),
        "rows-corrected": rows[0],
        "rows-uncorrected": rows[1],
        "rows-pending": rows[2],
        "rows-failed": rows[3],
        "banks-used-up": pynvml.nvmlDeviceGetRowRemapperHistogram(gpu).none,
        "pcie-generation": pynvml.nvmlDeviceGetCurrPcieLinkGeneration(gpu),
        "pcie-width": pynvml.nvmlDeviceGetCurrPcieLinkWidth(gpu),
        "pcie-replays": pynvml.nvmlDeviceGetPcieReplayCounter(gpu),
        "numa-node": pynvml.nvmlDeviceGetNumaNodeId(gpu),
    }


def test_every_reading_can_be_set_for_one_gpu(gpu: Any, state: Path) -> None:
    before = readings(gpu)
    wanted = {key: 1 if key in ("rows-pending", "rows-failed") else 7 for key in before}
    inject(state, *(f"set 0 {key} {value}" for key, value in wanted.items()))
    assert readings(gpu) == wanted
    assert readings(pynvml.nvmlDeviceGetHandleByIndex(1)) == before


def test_a_healthy_board_has_no_errors(gpu: Any) -> None:
    found = readings(gpu)
    assert {found[key] for key in found if key.startswith(("ecc-", "rows-", "banks-"))} == {0}
    assert found["ecc"] == 1
    assert found["temperature"] < found["slowdown-at"] < found["shutdown-at"]
    unsupported = pynvml.NVML_ERROR_NOT_SUPPORTED
    fails(unsupported, pynvml.nvmlDeviceGetRetiredPagesPendingStatus, gpu)


def test_memory_errors_are_in_the_device_memory(gpu: Any, state: Path) -> None:
    inject(state, "set 0 ecc-uncorrected 3")
    count = pynvml.nvmlDeviceGetMemoryErrorCounter
    assert count(gpu, 1, 0, pynvml.NVML_MEMORY_LOCATION_DRAM) == 3
    assert count(gpu, 1, 0, pynvml.NVML_MEMORY_LOCATION_SRAM) == 0
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, count, gpu, 2, 0, 2)


def test_power_limits_have_their_range(gpu: Any) -> None:
    least, most = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu)
    assert 0 < least < most == pynvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu) == 700_000


def test_processors_and_memory_near_a_gpu(gpu: Any, state: Path) -> None:
    inject(state, "set 0 cpus-first 60", "set 0 cpus 8", "set 0 numa-node 1")
    words = list(pynvml.nvmlDeviceGetCpuAffinity(gpu, 2))
    assert words == [0xF << 60, 0xF]
    assert list(pynvml.nvmlDeviceGetCpuAffinityWithinScope(gpu, 2, 0)) == words
    assert list(pynvml.nvmlDeviceGetMemoryAffinity(gpu, 1, 0)) == [2]
    other = pynvml.nvmlDeviceGetHandleByIndex(1)
    assert pynvml.nvmlDeviceGetCpuAffinity(other, 4)[0] & 1


def test_persistence_is_kept(gpu: Any) -> None:
    assert pynvml.nvmlDeviceGetPersistenceMode(gpu) == 0
    pynvml.nvmlDeviceSetPersistenceMode(gpu, 1)
    assert pynvml.nvmlDeviceGetPersistenceMode(gpu) == 1
    assert pynvml.nvmlDeviceGetPersistenceMode(pynvml.nvmlDeviceGetHandleByIndex(1)) == 0


def test_the_fabric_says_how_far_it_is(gpu: Any, state: Path) -> None:
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(gpu, pynvml.byref(info))
    assert (info.state, info.status) == (pynvml.NVML_GPU_FABRIC_STATE_COMPLETED, 0)
    inject(state, "set 0 fabric-state 2", "set 0 fabric-clique 5")
    pynvml.nvmlDeviceGetGpuFabricInfoV(gpu, pynvml.byref(info))
    assert (info.state, info.cliqueId) == (pynvml.NVML_GPU_FABRIC_STATE_IN_PROGRESS, 5)


def test_a_board_names_itself(gpu: Any) -> None:
    other = pynvml.nvmlDeviceGetHandleByIndex(1)
    assert pynvml.nvmlDeviceGetSerial(gpu) != pynvml.nvmlDeviceGetSerial(other)
    assert pynvml.nvmlDeviceGetCudaComputeCapability(gpu) == (9, 0)


# ---- events


def test_an_event_is_seen_once_by_each_set_that_asked(gpu: Any, state: Path) -> None:
    other = pynvml.nvmlDeviceGetHandleByIndex(1)
    happen(state, f"0 8 13 {NO_INSTANCE} {NO_INSTANCE}")  # before anybody asks: lost
    xid, ecc = pynvml.nvmlEventTypeXidCriticalError, pynvml.nvmlEventTypeDoubleBitEccError
    first, second = pynvml.nvmlEventSetCreate(), pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(gpu, xid, first)
    pynvml.nvmlDeviceRegisterEvents(other, xid | ecc, second)
    happen(state, "0 8 79 2 0", "1 2 0 0 0", "1 8 48 0 0")
    event = pynvml.nvmlEventSetWait_v2(first, 1000)
    assert (event.eventType, event.eventData) == (xid, 79)
    assert (event.gpuInstanceId, event.computeInstanceId) == (2, 0)
    assert pynvml.nvmlDeviceGetIndex(event.device) == 0
    fails(pynvml.NVML_ERROR_TIMEOUT, pynvml.nvmlEventSetWait_v2, first, 0)
    found = [pynvml.nvmlEventSetWait_v2(second, 1000) for _ in range(2)]
    assert [(each.eventType, each.eventData) for each in found] == [(ecc, 0), (xid, 48)]
    pynvml.nvmlEventSetFree(first)
    pynvml.nvmlEventSetFree(second)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlEventSetWait_v2, first, 0)


def test_only_supported_events_can_be_asked_for(gpu: Any) -> None:
    supported = pynvml.nvmlDeviceGetSupportedEventTypes(gpu)
    assert supported & pynvml.nvmlEventTypeXidCriticalError
    events = pynvml.nvmlEventSetCreate()
    fails(
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.nvmlDeviceRegisterEvents,
        gpu,
        pynvml.nvmlEventTypePowerSourceChange,
        events,
    )
    pynvml.nvmlEventSetFree(events)


# ---- losses


def test_a_gpu_off_the_bus_is_lost_and_the_other_works(gpu: Any, state: Path) -> None:
    uuid, bus = pynvml.nvmlDeviceGetUUID(gpu), pynvml.nvmlDeviceGetPciInfo(gpu).busId
    inject(state, "lost 0")
    lost = pynvml.NVML_ERROR_GPU_IS_LOST
    fails(lost, pynvml.nvmlDeviceGetHandleByIndex, 0)
    fails(lost, pynvml.nvmlDeviceGetHandleByPciBusId, bus.encode())
    fails(lost, pynvml.nvmlDeviceGetTemperature, gpu, 0)
    fails(lost, pynvml.nvmlDeviceGetName, gpu)
    fails(lost, pynvml.nvmlDeviceGetMigMode, gpu)
    fails(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlDeviceGetHandleByUUID, uuid.encode())
    assert pynvml.nvmlDeviceGetCount() == 2
    assert pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(1))


def test_readings_follow_the_work(gpu: Any, state: Path) -> None:
    keys = ("power", "temperature", "clock-sm")
    idle = readings(gpu)
    inject(state, f"process 0 0 0 {os.getpid()} 4096")
    busy = readings(gpu)
    assert all(busy[key] > idle[key] for key in keys)
    assert (idle["clock-reasons"], busy["clock-reasons"]) == (1, 0)
