"""Faults, resets and reloads of the emulator, seen through the vendor's own binding."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from tests.contract import nvml_emulator
from tests.contract.nvml_emulator import fails, inject, place

ONE, TWO, THREE = 19, 14, 9


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state"
    nvml_emulator.configure(monkeypatch, path)
    return path


@pytest.fixture
def gpu(state: Path) -> Iterator[Any]:
    with nvml_emulator.started():
        yield pynvml.nvmlDeviceGetHandleByIndex(0)


def listed(gpu: Any) -> list[tuple[int, int]]:
    """(profile, start) of what is live, of 1g, 2g and 3g."""
    found = []
    for profile in (ONE, TWO, THREE):
        count = ctypes.c_uint()
        array = (pynvml.c_nvmlGpuInstance_t * 8)()
        pynvml.nvmlDeviceGetGpuInstances(gpu, profile, array, ctypes.byref(count))
        infos = [pynvml.nvmlGpuInstanceGetInfo(each) for each in array[: count.value]]
        found += [(profile, info.placement.start) for info in infos]
    return found


# ---- creation


def test_a_refusal_happens_so_many_times(gpu: Any, state: Path) -> None:
    inject(state, "fault 0 create-gpu-instance refuse 2")
    for _ in range(2):
        fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, place, gpu, ONE, 0, 1)
    place(gpu, ONE, 0, 1)
    assert listed(gpu) == [(ONE, 0)]


def test_faults_are_told_apart_by_their_ids(gpu: Any, state: Path) -> None:
    inject(state, "fault 0 create-gpu-instance refuse 1", "fault 1 create-gpu-instance elsewhere 1")
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, place, gpu, ONE, 0, 1)
    place(gpu, ONE, 0, 1)
    assert listed(gpu) == [(ONE, 6)]


def test_a_late_failure_has_made_it(gpu: Any, state: Path) -> None:
    inject(state, "fault 0 create-gpu-instance late 1")
    fails(pynvml.NVML_ERROR_UNKNOWN, place, gpu, ONE, 3, 1)
    assert listed(gpu) == [(ONE, 3)]


def test_another_profile_is_made(gpu: Any, state: Path) -> None:
    inject(state, "fault 0 create-gpu-instance other 1")
    made = place(gpu, TWO, 0, 2)
    assert pynvml.nvmlGpuInstanceGetInfo(made).profileId != TWO


def test_a_compute_instance_can_be_refused(gpu: Any, state: Path) -> None:
    inject(
        state,
        "fault 0 create-compute-instance refuse 1",
        "fault 1 create-compute-instance late 1",
    )
    instance = place(gpu, ONE, 0, 1)
    create = pynvml.nvmlGpuInstanceCreateComputeInstance
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, create, instance, 0)
    fails(pynvml.NVML_ERROR_UNKNOWN, create, instance, 0)
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, create, instance, 0)  # it is there


# ---- destruction


def test_destruction_refuses_or_leaves_remnants_or_fails_late(gpu: Any, state: Path) -> None:
    inject(
        state,
        "fault 0 destroy-gpu-instance refuse 1",
        "fault 1 destroy-gpu-instance nothing 1",
        "fault 2 destroy-gpu-instance late 1",
    )
    instance = place(gpu, ONE, 0, 1)
    fails(pynvml.NVML_ERROR_IN_USE, pynvml.nvmlGpuInstanceDestroy, instance)
    pynvml.nvmlGpuInstanceDestroy(instance)
    assert listed(gpu) == [(ONE, 0)]
    fails(pynvml.NVML_ERROR_UNKNOWN, pynvml.nvmlGpuInstanceDestroy, instance)
    assert listed(gpu) == []


def test_ghosts_occupy_what_nobody_has(gpu: Any, state: Path) -> None:
    inject(state, "fault 0 destroy-gpu-instance ghost 1")
    pynvml.nvmlGpuInstanceDestroy(place(gpu, TWO, 2, 2))
    assert listed(gpu) == []
    fails(pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES, place, gpu, ONE, 3, 1)
    place(gpu, ONE, 0, 1)
    inject(state, "no-ghosts")
    place(gpu, ONE, 3, 1)


def test_a_compute_instance_can_stay(gpu: Any, state: Path) -> None:
    inject(state, "fault 0 destroy-compute-instance nothing 1")
    instance = place(gpu, ONE, 0, 1)
    compute = pynvml.nvmlGpuInstanceCreateComputeInstance(instance, 0)
    pynvml.nvmlComputeInstanceDestroy(compute)
    fails(pynvml.NVML_ERROR_IN_USE, pynvml.nvmlGpuInstanceDestroy, instance)
    pynvml.nvmlComputeInstanceDestroy(compute)
    pynvml.nvmlGpuInstanceDestroy(instance)


# ---- the whole GPU, the whole driver


def test_a_lost_gpu_comes_back_empty_after_a_reset(gpu: Any, state: Path) -> None:
    place(gpu, ONE, 0, 1)
    inject(state, "fault 0 create-gpu-instance lose 1")
    fails(pynvml.NVML_ERROR_GPU_IS_LOST, place, gpu, ONE, 1, 1)
    fails(pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.nvmlDeviceGetHandleByIndex, 0)
    inject(state, "reset 0 1")
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetName, gpu)
    again = pynvml.nvmlDeviceGetHandleByIndex(0)
    assert listed(again) == []
    place(again, ONE, 0, 1)
    assert listed(again) == [(ONE, 0)]  # the directive is done, and is not done again


def test_a_reset_kills_handles_and_leaves_the_other_gpu(gpu: Any, state: Path) -> None:
    other = pynvml.nvmlDeviceGetHandleByIndex(1)
    instance, kept = place(gpu, ONE, 0, 1), place(other, ONE, 0, 1)
    inject(state, "fault 0 create-gpu-instance reset 1")
    fails(pynvml.NVML_ERROR_RESET_REQUIRED, place, gpu, ONE, 1, 1)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlGpuInstanceGetInfo, instance)
    fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetName, gpu)
    assert pynvml.nvmlGpuInstanceGetInfo(kept).placement.start == 0


@pytest.mark.parametrize(("board", "mode"), [("H100-80GB", [0, 0]), ("A100-80GB", [1, 1])])
def test_after_a_reload_everybody_starts_anew(
    state: Path, monkeypatch: pytest.MonkeyPatch, board: str, mode: list[int]
) -> None:
    nvml_emulator.configure(monkeypatch, state, board)
    with nvml_emulator.started():
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        place(gpu, ONE, 0, 1)
        inject(state, "reload 1")
        fails(pynvml.NVML_ERROR_UNINITIALIZED, pynvml.nvmlDeviceGetCount)
        pynvml.nvmlShutdown()
        pynvml.nvmlInit()
        fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetName, gpu)
        again = pynvml.nvmlDeviceGetHandleByIndex(0)
        assert pynvml.nvmlDeviceGetMigMode(again) == mode
        if mode[0]:
            assert listed(again) == []


# ---- the mode


def test_only_ampere_is_reset_by_the_mode_and_keeps_it_over_a_reboot(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_emulator.configure(monkeypatch, state, "A100-80GB,B200-180GB", mig="0")
    with nvml_emulator.started():
        ampere, blackwell = (pynvml.nvmlDeviceGetHandleByIndex(index) for index in (0, 1))
        for handle in (ampere, blackwell):
            assert pynvml.nvmlDeviceSetMigMode(handle, 1) == pynvml.NVML_SUCCESS
        fails(pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.nvmlDeviceGetName, ampere)
        assert pynvml.nvmlDeviceGetName(blackwell) == "NVIDIA B200"
        state.unlink()  # a reboot
        modes = [
            pynvml.nvmlDeviceGetMigMode(pynvml.nvmlDeviceGetHandleByIndex(index))
            for index in (0, 1)
        ]
    assert modes == [[1, 1], [0, 0]]


def test_a_pending_mode_takes_effect_with_a_reset(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_emulator.configure(monkeypatch, state, "A100-40GB", mig="0")
    inject(state, "no-reset")
    with nvml_emulator.started():
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        assert pynvml.nvmlDeviceSetMigMode(gpu, 1) == pynvml.NVML_ERROR_RESET_REQUIRED
        assert pynvml.nvmlDeviceGetMigMode(gpu) == [0, 1]
        inject(state, "reset 0 1")
        assert pynvml.nvmlDeviceGetMigMode(pynvml.nvmlDeviceGetHandleByIndex(0)) == [1, 1]
