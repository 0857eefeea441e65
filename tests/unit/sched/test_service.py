from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from ainit.policy.device_nodes import Tree
from ainit.sched import decide
from ainit.sched.decide import Decider
from ainit.sched.errors import GpuError, GpuMissingError, NoRoomError
from ainit.sched.journal import Journal
from ainit.sched.onnx import Policy
from ainit.sched.opening import Opening
from ainit.sched.service import DECISIONS_KEPT, Scheduler
from tests.support.idl import Interface
from tests.unit.sched.fake_nvml import FakeNvml, ProcessDeath
from tests.unit.sched.policies import path_of

GPU = Interface.named("org.ainos.Gpu")


class Bench:
    """The service on a fake machine; every message is held against the interface description."""

    def __init__(self, folder: Path) -> None:
        self.gpus = FakeNvml()
        self.missing: GpuMissingError | None = None
        self.path = str(folder / "journal.json")
        self.restart()

    def restart(self, policy: str | None = None) -> None:
        if policy is None:
            decider = Decider(None, decide.MISSING, "no policy was handed over")
        else:
            decider = Decider(Policy.load(path_of(policy), deadline=30.0), decide.ACTIVE)
        opening = Opening(self.open, Journal(self.path))
        self.scheduler = Scheduler(opening, decider, 50.0, lambda: 12.5)

    def open(self) -> FakeNvml:
        if self.missing:
            raise self.missing
        return self.gpus

    def call(self, method: str, **parameters: object) -> Mapping[str, Any]:
        return GPU.asked(self.scheduler.methods(), method, parameters)

    def status(self) -> Mapping[str, Any]:
        return self.call("Status")

    def held(self) -> dict[str, str]:
        """Agent → UUID, as Status shows it."""
        return {
            each["agent"]: each["uuid"]
            for device in self.status()["devices"]
            for each in device["instances"]
            if each["agent"]
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def refused(bench: Bench, profile: str) -> str:
    with pytest.raises(VarlinkError) as caught:
        bench.call("Allocate", agent="late", profile=profile)
    return caught.value.name.removeprefix("org.ainos.Gpu.")


def test_an_agent_gets_an_instance_and_its_environment(bench: Bench) -> None:
    granted = bench.call("Allocate", agent="filetype", profile="1g.10gb")
    assert granted["environment"] == {
        "CUDA_VISIBLE_DEVICES": granted["uuid"],
        "AINOS_GPU_UUID": granted["uuid"],
    }
    assert (granted["profile"], granted["size"]) == ("1g.10gb", 1)
    assert bench.held() == {"filetype": granted["uuid"]}


def test_agents_get_instances_of_their_own(bench: Bench) -> None:
    uuids = {
        bench.call("Allocate", agent=f"agent{number}", profile="1g.10gb")["uuid"]
        for number in range(14)
    }
    assert len(uuids) == 14
    assert refused(bench, "1g.10gb") == "NoCapacity"


def test_allocation_is_idempotent(bench: Bench) -> None:
    first = bench.call("Allocate", agent="filetype", profile="1g.10gb")
    assert bench.call("Allocate", agent="filetype", profile="1g.10gb") == first
    assert len(bench.status()["decisions"]) == 1


def test_another_profile_replaces_the_instance(bench: Bench) -> None:
    bench.call("Allocate", agent="filetype", profile="1g.10gb")
    second = bench.call("Allocate", agent="filetype", profile="3g.40gb")
    assert bench.held() == {"filetype": second["uuid"]}
    assert sum(len(each["instances"]) for each in bench.status()["devices"]) == 1


def test_release_frees_the_slices_and_is_idempotent(bench: Bench) -> None:
    bench.call("Allocate", agent="filetype", profile="7g.80gb")
    bench.call("Release", agent="filetype")
    bench.call("Release", agent="filetype")
    assert [device["free"] for device in bench.status()["devices"]] == [8, 8]


def test_a_released_instance_in_use_is_pending_until_it_is_free(bench: Bench) -> None:
    granted = bench.call("Allocate", agent="filetype", profile="7g.80gb")
    instance = bench.gpus.devices()[granted["gpu"]].instances[0].id
    bench.gpus.busy.add((granted["gpu"], instance))
    bench.call("Release", agent="filetype")
    assert bench.status()["pending"] == [f"7g.80gb at {granted['gpu']}:0"]
    bench.gpus.busy.clear()
    bench.call("Allocate", agent="a", profile="7g.80gb")
    bench.call("Allocate", agent="b", profile="7g.80gb")
    assert bench.status()["pending"] == []


def test_assignments_survive_a_restart_of_the_service(bench: Bench) -> None:
    before = bench.call("Allocate", agent="filetype", profile="1g.10gb")
    bench.restart()
    assert bench.held() == {"filetype": before["uuid"]}
    assert bench.call("Allocate", agent="filetype", profile="1g.10gb") == before


def test_a_restart_repairs_what_a_death_left(bench: Bench) -> None:
    bench.gpus.crash = ("create_compute_instance", "before")
    with pytest.raises(ProcessDeath):
        bench.call("Allocate", agent="filetype", profile="1g.10gb")
    assert sum(len(device.instances) for device in bench.gpus.devices()) == 1
    bench.restart()
    status = bench.status()
    assert [device["instances"] for device in status["devices"]] == [[], []]
    assert status["pending"] == []
    assert "was removed" in status["notes"][0]


def test_after_a_reset_the_agent_gets_a_new_instance(bench: Bench) -> None:
    bench.call("Allocate", agent="filetype", profile="1g.10gb")
    bench.gpus.reboot()
    granted = bench.call("Allocate", agent="filetype", profile="1g.10gb")
    assert bench.held() == {"filetype": granted["uuid"]}


def test_an_unknown_profile_is_named(bench: Bench) -> None:
    with pytest.raises(VarlinkError, match=r"UnknownProfile\(profile=1g.5gb\)"):
        bench.call("Allocate", agent="filetype", profile="1g.5gb")


@pytest.mark.parametrize("parameters", [{}, {"agent": ""}, {"agent": 3}, {"agent": "a"}])
def test_bad_parameters_are_the_callers_error(bench: Bench, parameters: dict[str, object]) -> None:
    with pytest.raises(VarlinkError, match="InvalidParameter"):
        bench.scheduler.queueing.allocate(parameters)


def test_no_gpu_is_a_state_and_a_clear_error(bench: Bench) -> None:
    bench.missing = GpuMissingError("NVML Shared Library Not Found")
    status = bench.status()
    assert (status["state"], status["devices"]) == ("no-gpu", [])
    assert status["reason"] == "NVML Shared Library Not Found"
    assert refused(bench, "1g.10gb") == "NoGpu"
    with pytest.raises(VarlinkError, match="NoGpu"):
        bench.call("Release", agent="late")
    bench.missing = None
    assert bench.status()["state"] == "ready"
    bench.call("Allocate", agent="filetype", profile="1g.10gb")


def test_a_gpu_that_is_lost_is_looked_for_again(bench: Bench) -> None:
    bench.call("Allocate", agent="filetype", profile="1g.10gb")
    bench.gpus.fail = {"devices": GpuMissingError("GPU is lost")}
    assert refused(bench, "1g.10gb") == "NoGpu"
    assert bench.status()["state"] == "no-gpu"
    bench.gpus.fail = {}
    assert bench.held().keys() == {"filetype"}


@pytest.mark.parametrize(
    ("error", "name"), [(GpuError("Unknown Error"), "Failed"), (NoRoomError("full"), "NoCapacity")]
)
def test_a_driver_that_fails_is_reported_and_leaves_nothing(
    bench: Bench, error: GpuError, name: str
) -> None:
    bench.gpus.fail = {"create_compute_instance": error}
    assert refused(bench, "1g.10gb") == name
    status = bench.status()
    assert [device["instances"] for device in status["devices"]] == [[], []]
    assert status["decisions"][0]["outcome"] == str(error)


def test_a_journal_that_is_none_is_set_aside_and_noted(bench: Bench) -> None:
    Path(bench.path).write_text("scribble")
    assert "set aside" in bench.status()["notes"][0]
    assert Path(f"{bench.path}.bad").read_text() == "scribble"
    bench.call("Allocate", agent="filetype", profile="1g.10gb")


@pytest.mark.parametrize(
    ("policy", "state", "decided_by", "fallback"),
    [
        (None, "missing", "heuristic", "missing: no policy was handed over"),
        ("", "active", "policy", ""),
        ("nan", "active", "heuristic", "a score is NaN or infinite"),
        ("overlap", "active", "heuristic", "it overlaps instance 1 (1g.10gb at {start}:1)"),
    ],
)
def test_who_decided_is_on_record(
    bench: Bench, policy: str | None, state: str, decided_by: str, fallback: str
) -> None:
    bench.restart(policy)
    first = bench.call("Allocate", agent="filetype", profile="1g.10gb")
    second = bench.call("Allocate", agent="speech", profile="1g.10gb")
    status = bench.status()
    assert status["policy"]["state"] == state
    decision = status["decisions"][1]
    assert (decision["agent"], decision["time"]) == ("speech", 12.5)
    assert (decision["gpu"], decision["start"]) == (second["gpu"], second["start"])
    assert decision["decided_by"] == decided_by
    assert decision["fallback"] == fallback.format(start=first["start"])
    assert (decision["candidates"], decision["legal"]) == (14, 13)
    assert (decision["score"] is not None) == (policy in ("", "overlap"))
    assert decision["outcome"] == "allocated"


def test_the_record_of_decisions_is_bounded(bench: Bench) -> None:
    for _ in range(DECISIONS_KEPT + 3):
        bench.call("Allocate", agent="filetype", profile="1g.10gb")
        bench.call("Release", agent="filetype")
    assert len(bench.status()["decisions"]) == DECISIONS_KEPT


CAPABILITY = "DeviceFileMinor: {}\nDeviceFileMode: 292\nDeviceFileModify: 1\n"


def published(bench: Bench, *instances: int) -> Tree:
    """What NVIDIA's modules say of the first GPU with these instances."""
    address = bench.gpus.bus_id(bench.gpus.devices()[0].uuid)
    texts = {f"nvidia/gpus/{address}/information": "Device Minor: \t 3\n"}
    for each in instances:
        below = f"nvidia/capabilities/gpu3/mig/gi{each}"
        texts[f"{below}/access"] = CAPABILITY.format(10 * each)
        texts[f"{below}/ci0/access"] = CAPABILITY.format(10 * each + 1)
    return Tree("Character devices:\n195 nvidia\n235 nvidia-caps\n511 nvidia-uvm\n", texts)


def test_the_nodes_of_an_instance_come_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.call("Allocate", agent="a", profile="1g.10gb")["devices"] == []
    held = bench.scheduler.status({})["devices"][0]["instances"][0]["id"]  # type: ignore[index]
    monkeypatch.setattr(FakeNvml, "is_emulated", False)
    tree = published(bench, held, held + 1)
    monkeypatch.setattr("ainit.linux.nvidia_proc.tree", lambda: tree)
    devices = bench.call("Allocate", agent="a", profile="1g.10gb")["devices"]
    assert [(each["path"], each["major"], each["minor"]) for each in devices] == [
        ("nvidiactl", 195, 255),
        ("nvidia-uvm", 511, 0),
        ("nvidia3", 195, 3),
        (f"nvidia-caps/nvidia-cap{10 * held}", 235, 10 * held),
        (f"nvidia-caps/nvidia-cap{10 * held + 1}", 235, 10 * held + 1),
    ]
    assert {each["mode"] for each in devices} == {0o666, 0o444}


def test_an_instance_whose_nodes_nobody_knows_is_not_handed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeNvml, "is_emulated", False)
    monkeypatch.setattr("ainit.linux.nvidia_proc.tree", lambda: published(bench))
    with pytest.raises(VarlinkError) as caught:
        bench.call("Allocate", agent="a", profile="1g.10gb")
    assert caught.value.name == "org.ainos.Gpu.Failed"
    assert "cannot be handed over" in str(caught.value.parameters["reason"])
