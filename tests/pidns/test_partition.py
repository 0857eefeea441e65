"""Partitions with everything real but the GPUs: PID 1, the GPU service, agents; emulated NVML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract import nvml_emulator
from tests.pidns.machine import Machine
from tests.support.wait import wait_for

ROOT = Path(__file__).resolve().parents[2]
GPU = "org.ainos.Gpu"
AGENT = "import os, time\nprint(os.environ['AINOS_GPU_UUID'], flush=True)\ntime.sleep(1000)\n"
# The service as in the image, with this machine's paths.
SERVICE = """
import runpy, sys
sys.path.insert(0, {root!r})
from ainit import constants
constants.RUNTIME, constants.STATE = {directory!r} + "/run", {directory!r} + "/state"
constants.CONTROL = {directory!r} + "/run/control"
runpy.run_module("ainit.sched", run_name="__main__")
"""


@pytest.fixture
def gpus(machine: Machine) -> Machine:
    """A machine with the GPU service on two emulated GPUs."""
    directory = machine.directory
    (directory / "gpu.py").write_text(SERVICE.format(root=str(ROOT), directory=str(directory)))
    library = nvml_emulator.load().parent
    machine.tpm()
    machine.unit(
        "gpu",
        command=[sys.executable, "-I", str(directory / "gpu.py")],
        type="notify",
        provides=[GPU],
        restart="always",
        environment={
            "LD_LIBRARY_PATH": str(library),
            "AINOS_NVML_STATE": str(directory / "nvml"),
        },
    )
    return machine


def entry(gpu: int, *profiles: str) -> dict[str, object]:
    return {"gpus": [gpu], "instances": [{"profile": each} for each in profiles]}


def status(machine: Machine) -> dict[str, Any]:
    return dict(machine.call(f"{GPU}.Status"))


def holders(machine: Machine) -> dict[str, tuple[int, str, str]]:
    """Agent → GPU, profile and UUID, as the driver's listing and the record have it."""
    return {
        each["agent"]: (device["index"], each["profile"], each["uuid"])
        for device in status(machine)["devices"]
        for each in device["instances"]
        if each["agent"]
    }


def begin(machine: Machine, *entries: dict[str, object]) -> int:
    number = machine.call(f"{GPU}.Apply", entries=list(entries), name="test")["transaction"]
    assert isinstance(number, int)
    return number


def wait_over(machine: Machine, number: int) -> dict[str, object]:
    def is_over() -> dict[str, object] | None:
        found = machine.call(f"{GPU}.Progress", transaction=number)
        return found if found["end"] else None

    found = wait_for(is_over, "the end of the transaction")
    assert found is not None
    return found


def test_agents_move_and_those_that_need_not_go_on(gpus: Machine) -> None:
    gpus.agent("small", AGENT, gpu="1g.10gb", requires=["gpu"])
    gpus.agent("large", AGENT, gpu="3g.40gb", requires=["gpu"])
    gpus.boot()
    for name in ("small", "large"):
        gpus.wait_state(name, "ready")
    before = holders(gpus)
    home, other = before["large"][0], 1 - before["large"][0]
    kept = gpus.pid("large")
    wish = (entry(home, "3g.40gb", "4g.40gb"), entry(other, "1g.10gb", "1g.10gb"))
    assert wait_over(gpus, begin(gpus, *wish))["end"] == "committed"
    gpus.wait_state("small", "ready")
    after = holders(gpus)
    assert after["large"] == before["large"]
    assert gpus.pid("large") == kept
    assert after["small"][:2] == (other, "1g.10gb")
    wait_for(lambda: gpus.log("small")[-1:] == [after["small"][2]], "small to know its instance")


def test_the_service_is_killed_in_the_middle_and_goes_on(gpus: Machine) -> None:
    gpus.agent("small", AGENT, gpu="1g.10gb", wants=["gpu"])
    gpus.boot()
    gpus.wait_state("small", "ready")
    home = holders(gpus)["small"][0]
    inject = gpus.directory / "nvml.inject"
    inject.write_text("fault 0 create-gpu-instance die-after 1\n")
    first = gpus.pid("gpu")
    number = begin(gpus, entry(home, "7g.80gb"), entry(1 - home, "1g.10gb", "2g.20gb"))
    wait_for(lambda: gpus.describe("gpu")["pid"] not in (first, None), "the next life")
    gpus.wait_state("gpu", "ready")
    assert wait_over(gpus, number)["end"] == "committed"
    gpus.wait_state("small", "ready")
    found = status(gpus)
    live = sorted(each["profile"] for device in found["devices"] for each in device["instances"])
    assert live == ["1g.10gb", "2g.20gb", "7g.80gb"]
    assert (found["unknown"], found["pending"]) == ([], [])
    assert holders(gpus)["small"][:2] == (1 - home, "1g.10gb")


def test_what_has_no_place_any_more_stays_down_and_says_why(gpus: Machine) -> None:
    gpus.agent("small", AGENT, gpu="1g.10gb", requires=["gpu"])
    gpus.boot()
    gpus.wait_state("small", "ready")
    number = begin(gpus, entry(0, "7g.80gb"), entry(1, "7g.80gb"))
    assert wait_over(gpus, number)["end"] == "committed"

    def says_why() -> bool:
        reason = str(gpus.describe("small")["reason"])
        whys = ("NoCapacity", "waits for a 1g.10gb", "no GPU has room for 1g.10gb")
        return any(why in reason for why in whys)

    wait_for(says_why, "small to say why it is down")
