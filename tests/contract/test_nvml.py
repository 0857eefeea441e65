"""The emulator behaves as NVML does, seen through the vendor's own binding, unmodified."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pynvml
import pytest
from pynvml import NVMLError

from tests.contract import nvml_emulator
from tests.contract.nvml_emulator import fails, place

MIB = 1 << 20
ONE, ONE_ME, ONE_DOUBLE, TWO, THREE, FOUR, SEVEN = 19, 20, 15, 14, 9, 5, 0


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state"
    nvml_emulator.configure(monkeypatch, path)
    return path


@pytest.fixture
def gpu(state: Path) -> Iterator[Any]:
    with nvml_emulator.started():
        yield pynvml.nvmlDeviceGetHandleByIndex(0)


def mig_device(gpu: Any, profile: int = ONE, start: int = 0, size: int = 1) -> tuple[Any, Any, Any]:
    """A GPU instance, its full compute instance and the MIG device that it is."""
    instance = place(gpu, profile, start, size)
    width = {ONE: 0, TWO: 1, THREE: 2, FOUR: 3, SEVEN: 4}[profile]
    compute = pynvml.nvmlGpuInstanceCreateComputeInstance(instance, width)
    number = pynvml.nvmlGpuInstanceGetInfo(instance).id
    for index in range(7):
        mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
        if pynvml.nvmlDeviceGetGpuInstanceId(mig) == number:
            return instance, compute, mig
    raise AssertionError("no MIG device")


def listed(gpu: Any, profile: int) -> list[tuple[int, int, int]]:
    """(id, start, size) of the live instances of a profile."""
    count = ctypes.c_uint()
    array = (pynvml.c_nvmlGpuInstance_t * 8)()
    pynvml.nvmlDeviceGetGpuInstances(gpu, profile, array, ctypes.byref(count))
    infos = [pynvml.nvmlGpuInstanceGetInfo(each) for each in array[: count.value]]
    return [(info.id, info.placement.start, info.placement.size) for info in infos]


def elsewhere(state: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in another process on the same machine, with NVML initialised and ``gpu`` set."""
    library = nvml_emulator.load()
    start = "import pynvml, ctypes, os\npynvml.nvmlInit()\n"
    return subprocess.run(
        [sys.executable, "-c", f"{start}gpu = pynvml.nvmlDeviceGetHandleByIndex(0)\n{code}"],
        env={**os.environ, "LD_LIBRARY_PATH": str(library.parent), "AINOS_NVML_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ---- the library


def test_calls_need_initialisation_and_it_is_counted(state: Path) -> None:
    nvml_emulator.load()
    pynvml.nvmlInit()
    pynvml.nvmlInit()
    pynvml.nvmlShutdown()
    assert pynvml.nvmlDeviceGetCount() == 2
    pynvml.nvmlShutdown()
    fails(pynvml.NVML_ERROR_UNINITIALIZED, pynvml.nvmlDeviceGetCount)
    fails(pynvml.NVML_ERROR_UNINITIALIZED, pynvml.nvmlShutdown)


def test_the_versions_name_the_emulation(gpu: Any) -> None:
    assert pynvml.nvmlSystemGetDriverVersion() == "550.163.01-emulated"
    assert "emulated" in pynvml.nvmlSystemGetNVMLVersion()
    assert pynvml.nvmlSystemGetCudaDriverVersion() == 12040


def test_errors_have_their_texts(gpu: Any) -> None:
    texts = {
        pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES: b"Insufficient Resources",
        pynvml.NVML_ERROR_IN_USE: b"In use by another client",
        pynvml.NVML_ERROR_NO_PERMISSION: b"Insufficient Permissions",
        12345: b"Unknown Error",
    }
    assert {code: pynvml.nvmlErrorString(code) for code in texts} == {
        code: text.decode() for code, text in texts.items()
    }


def test_an_unknown_board_is_refused(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AINOS_NVML_BOARDS", "H100-80GB,Z9")
    nvml_emulator.load()
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlInit)


def test_a_function_that_is_not_emulated_is_not_found(gpu: Any) -> None:
    fails(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.nvmlDeviceGetPowerState, gpu)


# ---- devices


def test_devices_are_found_by_index_uuid_and_bus(gpu: Any) -> None:
    uuids = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        bus = pynvml.nvmlDeviceGetPciInfo(handle).busId
        for found in (
            pynvml.nvmlDeviceGetHandleByUUID(uuid.encode()),
            pynvml.nvmlDeviceGetHandleByPciBusId(bus.encode()),
            pynvml.nvmlDeviceGetHandleByPciBusId(bus.lower().encode()[4:]),
        ):
            assert pynvml.nvmlDeviceGetIndex(found) == index
        uuids.append(uuid)
    assert len(set(uuids)) == 2
    assert all(uuid.startswith("GPU-") and len(uuid) == 40 for uuid in uuids)


def test_devices_that_are_not_there_are_not_found(gpu: Any) -> None:
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetHandleByIndex, 2)
    fails(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlDeviceGetHandleByUUID, b"GPU-0")
    fails(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlDeviceGetHandleByPciBusId, b"0000:09:00.0")
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetHandleByPciBusId, b"gpu0")
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetName, pynvml.c_nvmlDevice_t())


def test_a_device_describes_itself(gpu: Any) -> None:
    assert pynvml.nvmlDeviceGetName(gpu) == "NVIDIA H100 80GB HBM3"
    pci = pynvml.nvmlDeviceGetPciInfo(gpu)
    assert (pci.busId, pci.busIdLegacy, pci.pciDeviceId) == (
        "00000000:01:00.0",
        "0000:01:00.0",
        0x233010DE,
    )
    assert pynvml.nvmlDeviceGetArchitecture(gpu) == pynvml.NVML_DEVICE_ARCH_HOPPER
    assert pynvml.nvmlDeviceGetMinorNumber(gpu) == 0


def test_memory_in_both_layouts(gpu: Any) -> None:
    first = pynvml.nvmlDeviceGetMemoryInfo(gpu)
    second = pynvml.nvmlDeviceGetMemoryInfo(gpu, version=pynvml.nvmlMemory_v2)
    assert (first.total, first.free, first.used) == (81559 * MIB, 81559 * MIB, 0)
    assert (second.total, second.free, second.used, second.reserved) == (*_three(first), 0)
    mismatch = pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    fails(mismatch, pynvml.nvmlDeviceGetMemoryInfo, gpu, 0x03000028)


def _three(memory: Any) -> tuple[int, int, int]:
    return memory.total, memory.free, memory.used


def test_a_short_buffer_is_refused(gpu: Any) -> None:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    buffer = ctypes.create_string_buffer(8)
    code = library.nvmlDeviceGetName(gpu, buffer, ctypes.c_uint(8))
    assert code == pynvml.NVML_ERROR_INSUFFICIENT_SIZE


def test_readings_follow_the_work(gpu: Any, state: Path) -> None:
    idle = (pynvml.nvmlDeviceGetPowerUsage(gpu), pynvml.nvmlDeviceGetTemperatureV(gpu, 0))
    state.with_name("state.inject").write_text(f"process 0 0 0 {os.getpid()} {MIB}\n")
    busy = (pynvml.nvmlDeviceGetPowerUsage(gpu), pynvml.nvmlDeviceGetTemperatureV(gpu, 0))
    assert idle < busy
    assert busy[0] == pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) == 700_000
    assert pynvml.nvmlDeviceGetTemperature(gpu, 0) == busy[1]


# ---- the MIG mode


def test_the_mode_is_on_by_default(gpu: Any) -> None:
    assert pynvml.nvmlDeviceGetMigMode(gpu) == [1, 1]
    assert pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu) == 7
    fails(pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.nvmlDeviceGetUtilizationRates, gpu)


def test_switching_the_mode_needs_an_idle_board(gpu: Any) -> None:
    instance = place(gpu, ONE, 0, 1)
    assert pynvml.nvmlDeviceSetMigMode(gpu, 0) == pynvml.NVML_ERROR_IN_USE
    assert pynvml.nvmlDeviceGetMigMode(gpu) == [1, 0]
    pynvml.nvmlGpuInstanceDestroy(instance)
    assert pynvml.nvmlDeviceSetMigMode(gpu, 0) == pynvml.NVML_SUCCESS
    assert pynvml.nvmlDeviceGetMigMode(gpu) == [0, 0]
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceSetMigMode, gpu, 2)


@pytest.mark.parametrize(
    ("board", "status", "mode"),
    [("A100-40GB", pynvml.NVML_ERROR_RESET_REQUIRED, [0, 1]), ("H100-80GB", 0, [1, 1])],
)
def test_where_no_reset_is_possible_only_hopper_switches(
    state: Path, monkeypatch: pytest.MonkeyPatch, board: str, status: int, mode: list[int]
) -> None:
    nvml_emulator.configure(monkeypatch, state, board, mig="0")
    state.with_name("state.inject").write_text("no-reset\n")
    with nvml_emulator.started():
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        assert pynvml.nvmlDeviceSetMigMode(gpu, 1) == status
        assert pynvml.nvmlDeviceGetMigMode(gpu) == mode


def test_without_mig_there_are_profiles_and_no_instances(gpu: Any) -> None:
    pynvml.nvmlDeviceSetMigMode(gpu, 0)
    unsupported = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert pynvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, 0).id == ONE
    assert placements(gpu, THREE) == [(0, 4), (4, 4)]
    assert pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu) == 0
    assert pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu == 0
    fails(unsupported, pynvml.nvmlDeviceCreateGpuInstance, gpu, ONE)
    fails(unsupported, place, gpu, ONE, 0, 1)
    fails(unsupported, listed, gpu, ONE)
    fails(unsupported, pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity, gpu, ONE)
    fails(unsupported, pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, 0)


# ---- GPU instance profiles and placements


def test_enumerators_lead_to_profile_ids_with_gaps(gpu: Any) -> None:
    found = {}
    for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, number)
        except pynvml.NVMLError_NotSupported:
            continue
        found[number] = (info.id, info.name)
        again = pynvml.nvmlDeviceGetGpuInstanceProfileInfoById(gpu, info.id)
        assert (again.id, again.name) == (info.id, info.name)
    assert found == {
        0: (19, "MIG 1g.10gb"),
        1: (14, "MIG 2g.20gb"),
        2: (9, "MIG 3g.40gb"),
        3: (5, "MIG 4g.40gb"),
        4: (0, "MIG 7g.80gb"),
        7: (20, "MIG 1g.10gb+me"),
        9: (15, "MIG 1g.20gb"),
    }
    end = pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetGpuInstanceProfileInfo, gpu, end)
    fails(
        pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetGpuInstanceProfileInfoById, gpu, 77
    )


@pytest.mark.parametrize("version", [1, 2])
def test_a_profile_in_both_layouts(gpu: Any, version: int) -> None:
    info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, 2, version)
    assert (info.id, info.sliceCount, info.instanceCount, info.multiprocessorCount) == (9, 3, 2, 60)
    assert (info.copyEngineCount, info.decoderCount, info.jpegCount, info.ofaCount) == (3, 3, 3, 0)
    assert info.memorySizeMB == 40448


def test_an_unknown_layout_is_refused(gpu: Any) -> None:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    info = pynvml.c_nvmlGpuInstanceProfileInfo_v2_t()
    info.version = 0x02000001
    code = library.nvmlDeviceGetGpuInstanceProfileInfoV(gpu, 0, ctypes.byref(info))
    assert code == pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH


def placements(gpu: Any, profile: int) -> list[tuple[int, int]]:
    count = ctypes.c_uint()
    reference = ctypes.byref(count)
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(gpu, profile, None, reference)
    array = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(gpu, profile, array, reference)
    return [(each.start, each.size) for each in array]


def test_possible_placements_ignore_what_is_occupied(gpu: Any) -> None:
    place(gpu, SEVEN, 0, 8)
    assert placements(gpu, ONE) == [(start, 1) for start in range(7)]
    assert placements(gpu, ONE_ME) == placements(gpu, ONE)
    assert placements(gpu, ONE_DOUBLE) == [(0, 2), (2, 2), (4, 2), (6, 2)]
    assert placements(gpu, TWO) == [(0, 2), (2, 2), (4, 2)]
    assert placements(gpu, THREE) == [(0, 4), (4, 4)]
    assert placements(gpu, FOUR) == [(0, 4)]
    assert placements(gpu, SEVEN) == [(0, 8)]


@pytest.mark.parametrize(
    ("board", "name", "total"),
    [
        ("A100-40GB", "NVIDIA A100-SXM4-40GB", 40960),
        ("A100-80GB", "NVIDIA A100-SXM4-80GB", 81920),
        ("H200-141GB", "NVIDIA H200", 143771),
        ("B200-180GB", "NVIDIA B200", 184320),
        ("A30-24GB", "NVIDIA A30", 24576),
    ],
)
def test_other_boards(
    state: Path, monkeypatch: pytest.MonkeyPatch, board: str, name: str, total: int
) -> None:
    monkeypatch.setenv("AINOS_NVML_BOARDS", board)
    with nvml_emulator.started():
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        assert pynvml.nvmlDeviceGetCount() == 1
        assert pynvml.nvmlDeviceGetName(gpu) == name
        assert pynvml.nvmlDeviceGetMemoryInfo(gpu).total == total * MIB


# ---- GPU instances


def test_remaining_capacity_counts_what_still_fits(gpu: Any) -> None:
    capacity = pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity
    everything = {ONE: 7, ONE_ME: 1, ONE_DOUBLE: 4, TWO: 3, THREE: 2, FOUR: 1, SEVEN: 1}
    assert {profile: capacity(gpu, profile) for profile in everything} == everything
    place(gpu, ONE, 1, 1)
    assert {profile: capacity(gpu, profile) for profile in everything} == {
        ONE: 6,
        ONE_ME: 1,
        ONE_DOUBLE: 3,
        TWO: 2,
        THREE: 1,
        FOUR: 0,
        SEVEN: 0,
    }


def test_an_instance_is_where_it_was_placed(gpu: Any) -> None:
    instance = place(gpu, THREE, 4, 4)
    info = pynvml.nvmlGpuInstanceGetInfo(instance)
    assert (info.profileId, info.placement.start, info.placement.size) == (THREE, 4, 4)
    assert pynvml.nvmlDeviceGetIndex(info.device) == 0
    assert listed(gpu, THREE) == [(info.id, 4, 4)]
    assert listed(gpu, ONE) == []
    assert listed(pynvml.nvmlDeviceGetHandleByIndex(1), THREE) == []
    again = pynvml.nvmlDeviceGetGpuInstanceById(gpu, info.id)
    assert pynvml.nvmlGpuInstanceGetInfo(again).placement.start == 4


def test_an_overlap_has_insufficient_resources(gpu: Any) -> None:
    place(gpu, TWO, 2, 2)
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, place, gpu, ONE, 3, 1)
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, place, gpu, FOUR, 0, 4)
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, place, gpu, SEVEN, 0, 8)
    place(gpu, THREE, 4, 4)


def test_a_profile_beyond_its_count_has_insufficient_resources(gpu: Any) -> None:
    place(gpu, ONE_ME, 0, 1)
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, place, gpu, ONE_ME, 1, 1)
    place(gpu, ONE, 1, 1)


@pytest.mark.parametrize(
    ("start", "size"), [(1, 2), (6, 2), (0, 1), (0, 4), (8, 2), (4_000_000, 2)]
)
def test_a_placement_that_no_board_allows_is_invalid(gpu: Any, start: int, size: int) -> None:
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, place, gpu, TWO, start, size)


def test_an_unknown_profile_is_invalid(gpu: Any) -> None:
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, place, gpu, 77, 0, 1)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceCreateGpuInstance, gpu, 77)


def test_placements_of_the_drivers_own_choice_depend_on_the_order(gpu: Any) -> None:
    """The vendor's guide: 19,19,14,9 fails, and 9,19,14,19 works."""
    for profile in (ONE, ONE, TWO):
        pynvml.nvmlDeviceCreateGpuInstance(gpu, profile)
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, pynvml.nvmlDeviceCreateGpuInstance, gpu, THREE)
    other = pynvml.nvmlDeviceGetHandleByIndex(1)
    for profile in (THREE, ONE, TWO, ONE):
        pynvml.nvmlDeviceCreateGpuInstance(other, profile)


def test_destroyed_instances_are_gone_and_their_handles_dead(gpu: Any) -> None:
    instance = place(gpu, ONE, 0, 1)
    number = pynvml.nvmlGpuInstanceGetInfo(instance).id
    pynvml.nvmlGpuInstanceDestroy(instance)
    fails(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlDeviceGetGpuInstanceById, gpu, number)
    replacement = place(gpu, ONE, 0, 1)
    assert pynvml.nvmlGpuInstanceGetInfo(replacement).id == number
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlGpuInstanceGetInfo, instance)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlGpuInstanceDestroy, instance)


def test_a_handle_of_another_kind_is_invalid(gpu: Any) -> None:
    instance = place(gpu, ONE, 0, 1)
    wrong = ctypes.cast(instance, pynvml.c_nvmlDevice_t)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetName, wrong)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlGpuInstanceDestroy, gpu)


def test_an_instance_with_a_compute_instance_is_in_use(gpu: Any) -> None:
    instance, compute, _ = mig_device(gpu)
    fails(pynvml.NVML_ERROR_IN_USE, pynvml.nvmlGpuInstanceDestroy, instance)
    pynvml.nvmlComputeInstanceDestroy(compute)
    pynvml.nvmlGpuInstanceDestroy(instance)


# ---- compute instances


def test_compute_profiles_of_an_instance(gpu: Any) -> None:
    instance = place(gpu, FOUR, 0, 4)
    found = {}
    for number in range(pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            info = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, number, 0)
        except pynvml.NVMLError_NotSupported:
            continue
        found[number] = (info.id, info.sliceCount, info.instanceCount, info.name)
    assert found == {
        0: (0, 1, 4, "MIG 1c.4g.40gb"),
        1: (1, 2, 2, "MIG 2c.4g.40gb"),
        3: (3, 4, 1, "MIG 4g.40gb"),
    }
    first = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, 3, 0, 1)
    assert (first.sliceCount, first.multiprocessorCount, first.sharedCopyEngineCount) == (4, 64, 4)
    read = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, read, instance, 9, 0)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, read, instance, 0, 1)


def test_compute_instances_share_an_instance_without_overlap(gpu: Any) -> None:
    instance = place(gpu, FOUR, 0, 4)
    capacity = pynvml.nvmlGpuInstanceGetComputeInstanceRemainingCapacity
    placement = pynvml.c_nvmlComputeInstancePlacement_t(2, 2)
    create = pynvml.nvmlGpuInstanceCreateComputeInstanceWithPlacement
    made = create(instance, 1, ctypes.byref(placement))
    info = pynvml.nvmlComputeInstanceGetInfo(made)
    assert (info.profileId, info.placement.start, info.placement.size) == (1, 2, 2)
    assert pynvml.nvmlGpuInstanceGetInfo(info.gpuInstance).profileId == FOUR
    assert [capacity(instance, profile) for profile in (0, 1, 3)] == [2, 1, 0]
    fails(
        pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES,
        pynvml.nvmlGpuInstanceCreateComputeInstance,
        instance,
        3,
    )
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, create, instance, 1, ctypes.byref(placement))
    wrong = pynvml.c_nvmlComputeInstancePlacement_t(1, 2)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, create, instance, 1, ctypes.byref(wrong))
    pynvml.nvmlGpuInstanceCreateComputeInstance(instance, 0)
    count = ctypes.c_uint()
    array = (pynvml.c_nvmlComputeInstance_t * 4)()
    pynvml.nvmlGpuInstanceGetComputeInstances(instance, 1, array, ctypes.byref(count))
    assert count.value == 1
    again = pynvml.nvmlGpuInstanceGetComputeInstanceById(instance, info.id)
    assert pynvml.nvmlComputeInstanceGetInfo(again).placement.start == 2
    fails(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlGpuInstanceGetComputeInstanceById, instance, 7)


def test_compute_placements(gpu: Any) -> None:
    instance = place(gpu, SEVEN, 0, 8)
    count = ctypes.c_uint()
    array = (pynvml.c_nvmlComputeInstancePlacement_t * 8)()
    read = pynvml.nvmlGpuInstanceGetComputeInstancePossiblePlacements
    read(instance, 2, array, ctypes.byref(count))
    assert [(each.start, each.size) for each in array[: count.value]] == [(0, 3), (4, 3)]


# ---- MIG devices


def test_a_mig_device_exists_with_its_compute_instance(gpu: Any) -> None:
    instance = place(gpu, TWO, 4, 2)
    fails(pynvml.NVML_ERROR_NOT_FOUND, pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, 0)
    pynvml.nvmlGpuInstanceCreateComputeInstance(instance, 1)
    mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0)
    assert pynvml.nvmlDeviceIsMigDeviceHandle(mig).value == 1
    assert pynvml.nvmlDeviceIsMigDeviceHandle(gpu).value == 0
    assert pynvml.nvmlDeviceGetGpuInstanceId(mig) == pynvml.nvmlGpuInstanceGetInfo(instance).id
    assert pynvml.nvmlDeviceGetComputeInstanceId(mig) == 0
    parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)
    assert pynvml.nvmlDeviceGetUUID(parent) == pynvml.nvmlDeviceGetUUID(gpu)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, 7)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetGpuInstanceId, gpu)


def test_a_mig_device_describes_itself(gpu: Any) -> None:
    _, _, mig = mig_device(gpu, TWO, 4, 2)
    uuid = pynvml.nvmlDeviceGetUUID(mig)
    assert uuid.startswith("MIG-")
    assert len(uuid) == 40
    assert pynvml.nvmlDeviceGetName(mig) == "NVIDIA H100 80GB HBM3 MIG 2g.20gb"
    assert pynvml.nvmlDeviceGetMemoryInfo(mig).total == 20096 * MIB
    attributes = pynvml.nvmlDeviceGetAttributes(mig)
    assert (attributes.gpuInstanceSliceCount, attributes.multiprocessorCount) == (2, 32)
    assert attributes.memorySizeMB == 20096
    fails(pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.nvmlDeviceGetAttributes, gpu)
    found = pynvml.nvmlDeviceGetHandleByUUID(uuid.encode())
    assert pynvml.nvmlDeviceGetUUID(found) == uuid


def test_processes_show_and_hold_their_instance(gpu: Any, state: Path) -> None:
    instance, compute, mig = mig_device(gpu)
    number = pynvml.nvmlGpuInstanceGetInfo(instance).id
    inject = state.with_name("state.inject")
    inject.write_text(f"process 0 {number} 0 {os.getpid()} {MIB}\n")
    [process] = pynvml.nvmlDeviceGetComputeRunningProcesses(mig)
    assert (process.pid, process.usedGpuMemory) == (os.getpid(), MIB)
    assert (process.gpuInstanceId, process.computeInstanceId) == (number, 0)
    assert len(pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)) == 1
    assert pynvml.nvmlDeviceGetMemoryInfo(mig).used == MIB
    fails(pynvml.NVML_ERROR_IN_USE, pynvml.nvmlComputeInstanceDestroy, compute)
    inject.unlink()
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(mig) == []
    pynvml.nvmlComputeInstanceDestroy(compute)


def test_a_process_that_is_dead_holds_nothing(gpu: Any, state: Path) -> None:
    instance = place(gpu, ONE, 0, 1)
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as ended:
        ended.wait()
    number = pynvml.nvmlGpuInstanceGetInfo(instance).id
    state.with_name("state.inject").write_text(f"process 0 {number} 0 {ended.pid} {MIB}\n")
    pynvml.nvmlGpuInstanceDestroy(instance)


# ---- one machine, many processes


def test_instances_are_seen_by_all_processes(gpu: Any, state: Path) -> None:
    _, _, mig = mig_device(gpu)
    code = "print(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0)))"
    assert elsewhere(state, code).stdout.strip() == pynvml.nvmlDeviceGetUUID(mig)


def test_instances_do_not_outlive_a_boot(gpu: Any, state: Path) -> None:
    instance = place(gpu, ONE, 0, 1)
    state.unlink()
    assert listed(gpu, ONE) == []
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlGpuInstanceGetInfo, instance)


def test_a_process_killed_in_a_change_leaves_the_machine_as_it_was(gpu: Any, state: Path) -> None:
    place(gpu, TWO, 0, 2)
    inject = state.with_name("state.inject")
    inject.write_text("die-before-commit\n")
    killed = elsewhere(state, "pynvml.nvmlDeviceCreateGpuInstance(gpu, 9)")
    inject.unlink()
    assert killed.returncode == -9
    assert listed(gpu, THREE) == []
    assert [start for _, start, _ in listed(gpu, TWO)] == [0]
    place(gpu, THREE, 4, 4)


def test_a_state_that_was_never_finished_is_made_again(gpu: Any, state: Path) -> None:
    state.write_bytes(bytes(100))
    assert pynvml.nvmlDeviceGetCount() == 2
    place(gpu, ONE, 0, 1)
    assert len(listed(gpu, ONE)) == 1


def test_a_state_of_another_geometry_is_a_version_mismatch(gpu: Any, state: Path) -> None:
    content = bytearray(state.read_bytes())
    content[4] ^= 1
    state.write_bytes(content)
    fails(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, pynvml.nvmlDeviceGetCount)


def test_processes_that_race_lose_no_change(gpu: Any, state: Path) -> None:
    """Each racer makes and destroys an instance of its own. A lost change would make a handle dead
    or an instance come back, and end a racer with an error.
    """
    library = nvml_emulator.load()
    code = (
        "import ctypes, pynvml, sys\npynvml.nvmlInit()\n"
        "gpu = pynvml.nvmlDeviceGetHandleByIndex(0)\n"
        "at = ctypes.byref(pynvml.c_nvmlGpuInstancePlacement_t(int(sys.argv[1]), 1))\n"
        "make = lambda: pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(gpu, 19, at)\n"
        "print(flush=True); sys.stdin.readline()\n"
        "for _ in range(1000): pynvml.nvmlGpuInstanceDestroy(make())\n"
        "make()\n"
    )
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library.parent),
        "AINOS_NVML_STATE": str(state),
    }
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(start)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for start in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    said = [racer.communicate(timeout=120)[0] for racer in _started(racers)]
    assert said == [""] * 4
    assert sorted(start for _, start, _ in listed(gpu, ONE)) == [0, 1, 2, 3]


def _started(racers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """All at once: none is waited for before the last one runs."""
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return racers


def test_who_may_not_write_may_only_look(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(prefix="ainos-") as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        state = Path(folder, "state")
        nvml_emulator.configure(monkeypatch, state)
        with nvml_emulator.started():
            gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
            instance = place(gpu, ONE, 0, 1)
            state.chmod(0o444)
            codes = _as_somebody_else(
                lambda: [
                    _code(listed, gpu, ONE),
                    _code(place, gpu, ONE, 1, 1),
                    _code(pynvml.nvmlDeviceCreateGpuInstance, gpu, ONE),
                    _code(pynvml.nvmlGpuInstanceDestroy, instance),
                    _code(pynvml.nvmlGpuInstanceCreateComputeInstance, instance, 0),
                    _code(pynvml.nvmlDeviceSetMigMode, gpu, 0),
                    len(listed(gpu, ONE)),
                ]
            )
    refused = pynvml.NVML_ERROR_NO_PERMISSION
    assert codes == [0, refused, refused, refused, refused, refused, 1]


def _code(call: Callable[..., Any], *arguments: Any) -> int:
    try:
        call(*arguments)
    except NVMLError as error:
        return int(error.value)
    return 0


def _as_somebody_else(action: Callable[[], list[int]]) -> list[int]:
    """What ``action`` gives in a child without root's rights over files."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setresuid(65534, 65534, 65534)
            os.write(writer, bytes(action()))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as channel:
        answer = list(channel.read())
    os.waitpid(pid, 0)
    return answer


# ---- under the compiler's checks


def test_the_same_holds_under_address_and_undefined_behaviour_checks(tmp_path: Path) -> None:
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "not under_address",
         "--basetemp", str(tmp_path / "again"), __file__],
        env={**os.environ, nvml_emulator.SANITIZED: "1", "LD_PRELOAD": runtime,
             "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
