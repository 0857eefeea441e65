"""NVIDIA's driver in a machine without a GPU: it says what it misses, and the rest is healthy.

A GPU itself is not here; what these show is that signed modules pass lockdown, that their parts are
of one release, and that the machine says what it lacks.
"""

from __future__ import annotations

from typing import Any

import pytest
from lib.machine import Machine

from tests.qemu.story import in_shell

Data = dict[str, Any]

pytestmark = pytest.mark.variant("nvidia")


@pytest.fixture(scope="module")
def units(booted: Machine) -> dict[str, Data]:
    """The units of the healthy machine, by name."""
    status = booted.call("org.ainos.Control.Status")
    return {unit["name"]: unit for unit in status["units"]}


def test_the_module_is_taken_by_the_kernel_and_finds_no_gpu(booted: Machine) -> None:
    said = in_shell(booted, "/usr/sbin/modprobe nvidia 2>&1")
    assert "No such device" in said
    kernel = in_shell(booted, "dmesg")
    assert "NVRM: No NVIDIA GPU found" in kernel
    assert "module verification failed" not in kernel


def test_the_state_of_the_driver_is_named(booted: Machine) -> None:
    driver = booted.call("org.ainos.Devices.List")["driver"]
    assert (driver["state"], driver["reason"]) == ("none", "there is no NVIDIA GPU")


def test_the_gpu_service_says_that_there_is_none(booted: Machine) -> None:
    status = booted.call("org.ainos.Gpu.Status")
    assert status["state"] == "no-gpu"
    assert status["reason"]
    assert not status["emulated"]


def test_agents_run_without_a_gpu_and_say_so(units: dict[str, Data]) -> None:
    for name in ("filetype", "speech"):
        assert units[name]["state"] == "ready"
        assert units[name]["reason"].startswith("without a GPU: ")


def test_daemons_wait_for_devices_that_are_not_there(units: dict[str, Data]) -> None:
    for name in ("persistenced", "fabricmanager"):
        assert units[name]["state"] == "inactive", units[name]["reason"]
        assert units[name]["restarts"] == 0


def test_programs_of_the_driver_run(booted: Machine) -> None:
    said = in_shell(booted, "nvidia-smi 2>&1; nvidia-modprobe --version 2>&1")
    assert "couldn't communicate with the NVIDIA driver" in said
    assert "nvidia-modprobe:  version" in said
