"""The GPU service with faults in its emulated GPUs: Xids, memory errors, heat, a GPU that falls off
the bus, one that is missing; and what PID 1 is told.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from ainit.linux import files
from tests.contract import nvml_emulator
from tests.support.control import ControlServer
from tests.support.service import Service
from tests.support.wait import wait_for

NO_INSTANCE = 0xFFFFFFFF
OFTEN = "import ainit.sched.monitor; ainit.sched.monitor.EVERY_S = 0.2"  # so that tests are short
PATHS = {
    "RUNTIME": "",
    "CONTROL": "/control",
    "STATE": "/state",
    "GPUS": "/bus/gpus.json",
    "MACHINE_JSON": "/machine.json",
}


class Machine:
    """One boot of two emulated GPUs; PID 1 is played by ``control``."""

    def __init__(self, folder: Path, control: ControlServer) -> None:
        self.folder = folder
        self.control = control
        self.lives = 0
        self._faults: list[str] = []

    def service(self, before: str = "") -> Service:
        """The service, started (again); ``before`` runs first."""
        self.lives += 1
        life = self.folder / str(self.lives)
        life.mkdir()
        lines = [
            f"ainit.constants.{name} = {f'{self.folder}{end}'!r}" for name, end in PATHS.items()
        ]
        return Service(
            "ainit.sched",
            life,
            environment={
                "LD_LIBRARY_PATH": str(nvml_emulator.load().parent),
                "AINOS_NVML_STATE": str(self.folder / "emulated"),
            },
            before="; ".join(["import ainit.constants", *lines, OFTEN, before]),
        )

    def fault(self, *lines: str) -> None:
        """What is wrong with the GPUs from now on, and nothing else."""
        self._faults = list(lines)
        (self.folder / "emulated.inject").write_text("".join(f"{line}\n" for line in lines))

    def xid(self, gpu: int, code: int, instance: int = NO_INSTANCE) -> None:
        with (self.folder / "emulated.events").open("a") as file:
            file.write(f"{gpu} 8 {code} {instance} {instance}\n")

    def revoked(self) -> list[tuple[str, str]]:
        """Whom PID 1 was told to move, and why."""
        return [
            (str(said["name"]), str(said["reason"]))
            for method, said in self.control.calls
            if method == "org.ainos.Control.Revoke"
        ]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ControlServer(tmp_path / "control", {"org.ainos.Control.Revoke": {}}) as control:
        yield Machine(tmp_path, control)


def call(service: Service, method: str, **parameters: object) -> dict[str, Any]:
    return service.call(f"org.ainos.Gpu.{method}", **parameters)


def states(service: Service) -> list[str]:
    return [each["state"] for each in call(service, "Health")["gpus"]]


def wait_states(service: Service, *expected: str) -> None:
    wait_for(lambda: states(service) == list(expected), f"the states {expected}")


def allocate(service: Service, agent: str) -> int:
    """Give an agent a small instance; the GPU that it is on."""
    return int(call(service, "Allocate", agent=agent, profile="1g.10gb")["gpu"])


def test_a_healthy_machine(machine: Machine) -> None:
    with machine.service() as service:
        health = call(service, "Health")
        assert (health["emulated"], health["found"], health["findings"]) == (True, 2, [])
        assert states(service) == ["ready", "ready"]
        first, second = call(service, "Readings")["gpus"]
    assert (first["temperature_c"], first["persistence"], second["stale"]) == (30, True, False)


@pytest.mark.parametrize(("code", "response"), [(79, "reboot"), (119, "reset")])
def test_after_a_serious_xid_the_agent_is_moved_to_the_other_gpu(
    machine: Machine, code: int, response: str
) -> None:
    with machine.service() as service:
        gpu = allocate(service, "filetype")
        machine.xid(gpu, code)
        wait_for(machine.revoked, "PID 1 to be told")
        [(agent, reason)] = machine.revoked()
        assert (agent, reason.partition(" (")[0]) == ("filetype", f"GPU {gpu}: Xid {code}")
        told = call(service, "Health")["gpus"][gpu]
        assert (told["state"], told["xids"][0]["response"]) == ("cordoned", response)
        assert allocate(service, "filetype") == 1 - gpu
        assert allocate(service, "speech") == 1 - gpu
    with machine.service() as service:  # it died, and knows it still
        assert states(service)[gpu] == "cordoned"
        call(service, "Uncordon", gpu=str(gpu))
        assert states(service) == ["ready", "ready"]


def test_an_application_error_is_written_down_with_its_instance(machine: Machine) -> None:
    with machine.service() as service:
        gpu = allocate(service, "filetype")
        machine.xid(gpu, 31, 1)
        wait_for(lambda: call(service, "Health")["gpus"][gpu]["xids"], "the Xid")
        [told] = call(service, "Health")["gpus"][gpu]["xids"]
        assert (told["code"], told["response"], told["instance"]) == (31, "application", 1)
        assert states(service) == ["ready", "ready"]
        assert machine.revoked() == []


@pytest.mark.parametrize(
    ("fault", "cause", "moves"),
    [
        ("set 1 rows-failed 1", "remap-failed", False),
        ("set 1 ecc-uncorrected 1", "memory-errors", True),
        ("set 1 clock-reasons 64", "heat", False),
    ],
)
def test_what_the_board_says_cordons_it(
    machine: Machine, fault: str, cause: str, moves: bool
) -> None:
    with machine.service() as service:
        machine.fault(fault)
        wait_states(service, "ready", "cordoned")
        [cordon] = call(service, "Health")["gpus"][1]["cordons"]
        assert (cordon["cause"], cordon["moves"]) == (cause, moves)
        assert allocate(service, "filetype") == 0


def test_errors_that_a_contained_xid_explains_cordon_nothing(machine: Machine) -> None:
    with machine.service() as service:
        machine.xid(1, 94, 1)
        machine.fault("set 1 ecc-uncorrected 1", "set 1 ecc-uncorrected-total 1")
        wait_for(
            lambda: call(service, "Health")["gpus"][1]["uncorrected"] == 1, "the board's count"
        )
        machine.fault(
            "set 1 ecc-uncorrected 1", "set 1 ecc-uncorrected-total 1", "set 1 temperature 77"
        )
        wait_for(
            lambda: call(service, "Readings")["gpus"][1]["temperature_c"] == 77, "another look"
        )
        assert states(service) == ["ready", "ready"]


def test_a_gpu_that_falls_off_the_bus_is_named_and_the_other_goes_on(machine: Machine) -> None:
    with machine.service() as service:
        gpu = allocate(service, "filetype")
        machine.fault(f"lost {gpu}")
        wait_for(machine.revoked, "PID 1 to be told")
        assert machine.revoked() == [
            ("filetype", f"GPU {gpu}: it does not answer any more"),
        ]
        assert states(service)[gpu] == "lost"
        status = call(service, "Status")
        assert (status["state"], [each["index"] for each in status["devices"]]) == (
            "ready",
            [1 - gpu],
        )
        assert allocate(service, "filetype") == 1 - gpu
        with pytest.raises(VarlinkError, match="Refused"):
            call(service, "Uncordon", gpu=str(gpu))
        readings = call(service, "Readings")["gpus"]
        assert (readings[gpu]["stale"], readings[1 - gpu]["stale"]) == (True, False)
        machine.fault()
        wait_states(service, "ready", "ready")


def test_all_gpus_cordoned_is_said_with_the_reason(machine: Machine) -> None:
    with machine.service() as service:
        call(service, "Cordon", gpu="0", reason="a new fan")
        call(service, "Cordon", gpu="1")
        with pytest.raises(
            VarlinkError, match=r"GPU 0 is cordoned: by an operator: a new fan; GPU 1"
        ):
            allocate(service, "filetype")
        call(service, "Uncordon", gpu="1")
        assert allocate(service, "filetype") == 1


def test_a_gpu_waits_for_its_fabric(machine: Machine) -> None:
    machine.fault("set 0 fabric-state 2")
    with machine.service() as service:
        assert states(service) == ["waiting", "ready"]
        assert allocate(service, "filetype") == 1
        assert call(service, "Health")["findings"] == ["GPU 0: its fabric is not set up yet"]
        machine.fault()
        wait_states(service, "ready", "ready")


def test_a_gpu_whose_calls_hang_holds_up_nobody(machine: Machine) -> None:
    """Ten minutes: longer than any deadline here."""
    with machine.service("ainit.sched.readings.STALE_AFTER_S = 5.0") as service:
        wait_states(service, "ready", "ready")
        machine.fault("set 0 hang 600000", "set 1 temperature 77")
        wait_for(
            lambda: call(service, "Readings")["gpus"][1]["temperature_c"] == 77,
            "readings of the other GPU",
        )
        wait_for(lambda: states(service) == ["silent", "ready"], "the GPU to be called silent")
        stuck, other = call(service, "Readings")["gpus"]
        assert (stuck["stale"], other["stale"]) == (True, False)
        assert allocate(service, "filetype") == 1
        machine.fault()
        wait_states(service, "ready", "ready")


def test_a_service_that_starts_while_calls_hang_serves_the_other_gpu(machine: Machine) -> None:
    machine.fault("set 0 hang 600000")
    with machine.service("import ainit.sched.care; ainit.sched.care.SETTLE_S = 3.0") as service:
        assert states(service) == ["silent", "ready"]
        assert allocate(service, "filetype") == 1


def test_the_driver_says_when_a_reset_was_done(machine: Machine) -> None:
    with machine.service() as service:
        machine.xid(1, 119)
        wait_states(service, "ready", "cordoned")
        machine.fault("set 1 recovery-action 1")
        wait_for(
            lambda: len(call(service, "Health")["gpus"][1]["cordons"]) == 2, "the driver's wish"
        )
        machine.fault("set 1 recovery-action 0")
        wait_states(service, "ready", "ready")


def test_a_reset_mends_a_gpu_and_its_instances_are_gone(machine: Machine) -> None:
    """What takes the place of nvidia-smi resets the emulated GPU."""
    smi = machine.folder / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho reset 1 1 >> {machine.folder}/emulated.inject\n")
    smi.chmod(0o755)
    with machine.service(
        f"import ainit.sched.reset; ainit.sched.reset.SMI = {str(smi)!r}"
    ) as service:
        call(service, "Cordon", gpu="0")
        assert allocate(service, "filetype") == 1
        machine.xid(1, 119)
        wait_for(machine.revoked, "PID 1 to be told")
        with pytest.raises(VarlinkError, match="held by filetype"):
            call(service, "Reset", gpu="1")
        call(service, "Release", agent="filetype")
        call(service, "Reset", gpu="1")
        wait_states(service, "cordoned", "ready")
        assert [each["instances"] for each in call(service, "Status")["devices"]] == [[], []]
        assert allocate(service, "filetype") == 1


def test_a_driver_that_is_loaded_anew_is_opened_anew(machine: Machine) -> None:
    with machine.service() as service:
        machine.fault("reload 1", "set 1 temperature 77")
        wait_for(
            lambda: (
                [
                    (each["temperature_c"], each["stale"])
                    for each in call(service, "Readings")["gpus"]
                ]
                == [(30, False), (77, False)]
            ),
            "readings by the new driver",
        )
        machine.xid(1, 79)
        wait_states(service, "ready", "cordoned")


def test_a_gpu_that_is_missing_is_a_finding_and_holds_nobody_up(machine: Machine) -> None:
    (machine.folder / "machine.json").write_text(json.dumps({"gpu": {"expected": 3}}))
    with machine.service() as service:
        health = call(service, "Health")
        assert (health["expected"], health["found"]) == (3, 2)
        assert health["findings"] == ["2 of 3 GPUs are there"]
        assert allocate(service, "filetype") in (0, 1)


def test_gpus_that_the_kernel_takes_off_the_bus_are_lost(machine: Machine) -> None:
    (machine.folder / "bus").mkdir()
    path = str(machine.folder / "bus/gpus.json")
    files.replace(path, b'{"gpus": ["0000:01:00.0", "0000:02:00.0"], "switches": []}')
    with machine.service() as service:
        gpu = allocate(service, "filetype")
        left = f"0000:0{2 - gpu}:00.0"
        files.replace(path, json.dumps({"gpus": [left], "switches": []}).encode())
        wait_for(machine.revoked, "PID 1 to be told")
        assert machine.revoked() == [("filetype", f"GPU {gpu}: it was taken off the bus")]
        assert states(service)[gpu] == "lost"


def test_the_service_ends_while_a_gpu_is_in_trouble(machine: Machine) -> None:
    """Its threads hold up no end of the process."""
    with machine.service() as service:
        machine.fault("lost 0", "lost 1")
        wait_states(service, "lost", "lost")
        os.kill(service._process.pid, signal.SIGTERM)
        assert service._process.wait(60) == -signal.SIGTERM
