"""The whole GPU service as PID 1 starts it, on emulated GPUs: socket, policy, driver, journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from tests.contract import nvml_emulator
from tests.support.idl import Interface
from tests.support.service import Service
from tests.unit.sched.policies import path_of

GPU = Interface.named("org.ainos.Gpu")


class Machine:
    """One boot: what the service leaves on disk and in the emulator stays until the test ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lives = 0

    def service(self, policy: str | None = "", *, nvml: bool = True) -> Service:
        """The service, started (again)."""
        self.lives += 1
        life = self.folder / str(self.lives)
        life.mkdir()
        library = nvml_emulator.load().parent if nvml else life
        return Service(
            "ainit.sched",
            life,
            models={} if policy is None else {"placement": Path(path_of(policy))},
            environment={
                "AINOS_POLICY_DEADLINE_MS": "250",  # this machine may be busy
                "LD_LIBRARY_PATH": str(library),
                "AINOS_NVML_STATE": str(self.folder / "state"),
            },
            before="import ainit.constants; ainit.constants.RUNTIME = ainit.constants.STATE = "
            f"{str(self.folder)!r}",
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def call(service: Service, method: str, **parameters: object) -> dict[str, Any]:
    reply = service.call(f"org.ainos.Gpu.{method}", **parameters)
    assert GPU.wrong_reply(method, reply) == []
    return reply


def test_a_killed_service_knows_its_assignments_again(machine: Machine) -> None:
    with machine.service() as service:
        first = call(service, "Allocate", agent="filetype", profile="1g.10gb")
        call(service, "Allocate", agent="speech", profile="2g.20gb")
    with machine.service() as service:
        assert call(service, "Allocate", agent="filetype", profile="1g.10gb") == first
        status = call(service, "Status")
    held = {
        each["agent"]: each["profile"]
        for device in status["devices"]
        for each in device["instances"]
    }
    assert held == {"filetype": "1g.10gb", "speech": "2g.20gb"}
    assert (status["state"], status["emulated"], status["notes"]) == ("ready", True, [])
    assert status["policy"]["state"] == "active"


def test_the_instance_of_a_service_killed_in_a_change_is_removed(machine: Machine) -> None:
    """The driver's own death in the change takes the service with it."""
    inject = machine.folder / "state.inject"
    with machine.service(policy=None) as service:
        call(service, "Allocate", agent="filetype", profile="1g.10gb")
        inject.write_text("die-before-commit\n")
        with pytest.raises(Exception, match="closed"):
            call(service, "Allocate", agent="speech", profile="1g.10gb")
    inject.unlink()
    with machine.service(policy=None) as service:
        status = call(service, "Status")
    held = [each["agent"] for device in status["devices"] for each in device["instances"]]
    assert held == ["filetype"]
    assert status["pending"] == []


def test_without_a_library_there_is_no_gpu(machine: Machine) -> None:
    with machine.service(policy=None, nvml=False) as service:
        status = call(service, "Status")
        assert status["state"] == "no-gpu"
        assert "Not Found" in status["reason"]
        with pytest.raises(VarlinkError, match=r"org\.ainos\.Gpu\.NoGpu"):
            call(service, "Allocate", agent="filetype", profile="1g.10gb")
        assert "no GPU" in service.output()


@pytest.mark.parametrize(
    ("policy", "state", "fallback"),
    [(None, "missing", "missing"), ("nan", "active", "NaN"), ("overlap", "active", "overlap")],
)
def test_with_a_useless_policy_the_heuristic_decides(
    machine: Machine, policy: str | None, state: str, fallback: str
) -> None:
    with machine.service(policy) as service:
        for agent in ("filetype", "speech"):
            call(service, "Allocate", agent=agent, profile="1g.10gb")
        status = call(service, "Status")
    assert status["policy"]["state"] == state
    assert {each["decided_by"] for each in status["decisions"]} == {"heuristic"}
    assert fallback in status["decisions"][1]["fallback"]


def test_a_policy_that_never_ends_is_refused_and_the_service_starts(machine: Machine) -> None:
    with machine.service("late") as service:
        call(service, "Allocate", agent="filetype", profile="1g.10gb")
        status = call(service, "Status")
    assert status["policy"]["state"] == "refused"
    assert "late" in status["policy"]["reason"]
    assert status["decisions"][0]["fallback"].startswith("refused: ")
