"""Who looks after the GPUs: evidence in, cordons, holders told, GPUs looked for, findings said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ainit.child.server import VarlinkError
from ainit.errors import UnavailableError
from ainit.sched import care as care_module
from ainit.sched import reset
from ainit.sched.care import Care
from ainit.sched.care_methods import CareMethods
from ainit.sched.condition import Store
from ainit.sched.errors import GpuMissingError
from ainit.sched.journal import Assignment
from ainit.sched.place import Device
from ainit.sched.readings import STALE_AFTER_S, Fabric, Part, Reading, Recovery
from tests.support.idl import Interface
from tests.support.wait import wait_for
from tests.unit.sched.fake_health import GPU0, GPU1, FakeHealth
from tests.unit.sched.fake_nvml import board

GPU = Interface.named("org.ainos.Gpu")
DEVICES: tuple[Device, ...] = tuple(
    replace(board("H100-80GB", index), uuid=uuid) for index, uuid in enumerate((GPU0, GPU1))
)


def held(agent: str, uuid: str) -> Assignment:
    return Assignment(agent, f"MIG-{agent}", uuid, int(uuid[-1]), 1, "1g.10gb", 0, 1)


class Bench:
    """The care of two fake GPUs; PID 1, the scheduler and the clock are played here."""

    def __init__(self, folder: Path, expected: int | None = None) -> None:
        self.folder = folder
        self.expected = expected
        self.health = FakeHealth()
        self.now = 1000.0
        self.assigned: list[Assignment] = []
        self.revoked: list[tuple[str, str, str]] = []
        self.deaf: Exception | None = None
        self.said: list[list[str]] = []
        self.reopened = 0
        self.kept_closed = ""
        self.driver: GpuMissingError | None = None
        self.start()

    def start(self) -> None:
        store = Store(f"{self.folder}/health.json")
        self.care = Care(
            self.health,
            store,
            self.revoke,
            self.said.append,
            lambda: self.now,
            lambda: self.expected,
        )
        self.care.attach(self)
        self.methods = CareMethods(self.care).table()

    def restart(self) -> None:
        self.care.close()
        self.start()
        self.reopen()

    def open(self) -> None:
        if self.driver:
            self.care.failed(self.driver)
        else:
            self.care.opened(emulated=True)

    # The scheduler's part.

    def assignments(self) -> tuple[Assignment, ...]:
        return tuple(self.assigned)

    def reopen(self) -> None:
        self.reopened += 1
        self.care.closing()
        self.open()

    def hold(self, reason: str) -> None:
        self.kept_closed = reason
        self.care.closing()

    def free(self) -> None:
        self.kept_closed = ""

    # PID 1's part.

    def revoke(self, agent: str, uuid: str, reason: str) -> None:
        if self.deaf:
            raise self.deaf
        self.revoked.append((agent, uuid, reason))

    def look(self) -> None:
        """Everything is read anew, and taken in."""
        self.care._monitor.refresh(60.0)
        self.care.tick()

    def hear(self, uuid: str, code: int) -> None:
        before = len(self.care.conditions[uuid].xids)
        self.health.xid(uuid, code)

        def heard() -> bool:
            self.care.tick()
            return len(self.care.conditions[uuid].xids) > before

        wait_for(heard, f"Xid {code}")

    def placeable(self) -> list[str]:
        return [device.uuid for device in self.care.placeable(DEVICES)]

    def call(self, method: str, **parameters: object) -> Mapping[str, Any]:
        assert GPU.wrong_call(method, parameters) == []
        try:
            reply = self.methods[method](parameters)
        except VarlinkError as error:
            name = error.name.rpartition(".")[2]
            ours = error.name.startswith("org.ainos.Gpu.")
            if ours and (problems := GPU.wrong_error(name, error.parameters)):
                pytest.fail(f"{name}: {problems}")
            raise
        assert GPU.wrong_reply(method, reply) == []
        return reply

    def states(self) -> list[str]:
        return [each["state"] for each in self.call("Health")["gpus"]]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("ainit.sched.monitor.LISTEN_MS", 20)
    made = Bench(tmp_path)
    made.open()
    yield made
    for uuid in list(made.health._open):
        made.health.go_on(uuid)
    made.care.close()


def test_healthy_gpus_may_be_placed_on_and_are_no_finding(bench: Bench) -> None:
    bench.look()
    assert bench.placeable() == [GPU0, GPU1]
    assert bench.states() == ["ready", "ready"]
    assert bench.said == [[]]


def test_persistence_mode_is_switched_on_when_the_driver_is_opened(bench: Bench) -> None:
    assert [bench.health.read(uuid).persistence for uuid in (GPU0, GPU1)] == [True, True]


# ---- cordons, holders


def test_a_serious_xid_cordons_and_moves_those_of_that_gpu_once(bench: Bench) -> None:
    bench.assigned = [held("speech", GPU0), held("filetype", GPU1)]
    bench.hear(GPU1, 79)
    assert bench.placeable() == [GPU0]
    reason = "GPU 1: Xid 79 (fallen off the bus)"
    assert bench.revoked == [("filetype", "MIG-filetype", reason)]
    assert bench.said[-1] == [reason]
    assert not bench.care.may_stay(GPU1)
    bench.care.tick()
    assert len(bench.revoked) == 1
    bench.now += care_module.REVOKE_AGAIN_S
    bench.care.tick()
    assert len(bench.revoked) == 2  # it is still there


def test_holders_of_a_cordoned_gpu_whose_fault_is_another_stay(bench: Bench) -> None:
    bench.assigned = [held("filetype", GPU1)]
    bench.hear(GPU1, 74)
    assert bench.placeable() == [GPU0]
    assert (bench.revoked, bench.care.may_stay(GPU1)) == ([], True)


def test_an_application_error_changes_nothing(bench: Bench) -> None:
    bench.assigned = [held("filetype", GPU1)]
    bench.hear(GPU1, 31)
    assert (bench.placeable(), bench.revoked, bench.said) == ([GPU0, GPU1], [], [[]])
    [told] = bench.call("Health")["gpus"][1]["xids"]
    assert (told["code"], told["response"]) == (31, "application")


def test_an_unheard_of_pid_1_is_told_again(bench: Bench) -> None:
    bench.assigned = [held("filetype", GPU1)]
    bench.deaf = UnavailableError("/run/ainit/control: Connection refused")
    bench.hear(GPU1, 79)
    bench.deaf = None
    bench.care.tick()
    assert [agent for agent, _, _ in bench.revoked] == ["filetype"]


def test_one_that_pid_1_does_not_know_holds_up_no_other(bench: Bench) -> None:
    bench.assigned = [held("stranger", GPU1)]
    bench.deaf = VarlinkError("org.ainos.Control.NoSuchUnit", {"name": "stranger"})
    bench.hear(GPU1, 79)
    bench.deaf = None
    bench.assigned.append(held("filetype", GPU1))
    bench.care.tick()
    assert [agent for agent, _, _ in bench.revoked] == ["filetype"]


def test_a_gpu_that_is_lost_moves_its_holders_and_the_other_goes_on(bench: Bench) -> None:
    bench.assigned = [held("speech", GPU0), held("filetype", GPU1)]
    bench.health.lose(GPU0)
    bench.look()
    assert [agent for agent, _, _ in bench.revoked] == ["speech"]
    assert (bench.placeable(), bench.states()) == ([GPU1], ["lost", "ready"])
    assert bench.said[-1] == ["GPU 0: it does not answer any more"]
    bench.health.bring_back(GPU0)
    bench.look()
    assert (bench.placeable(), bench.said[-1]) == ([GPU0, GPU1], [])


def test_what_is_known_survives_a_restart_of_the_service(bench: Bench) -> None:
    bench.hear(GPU1, 119)
    bench.call("Cordon", gpu="0", reason="a new fan")
    bench.restart()
    bench.look()
    assert bench.placeable() == []
    assert bench.states() == ["cordoned", "cordoned"]
    assert [each["code"] for each in bench.call("Health")["gpus"][1]["xids"]] == [119]


def test_a_row_that_could_not_be_remapped_is_read_from_the_board_after_a_reboot(
    bench: Bench,
) -> None:
    bench.health.set(GPU0, remap_failed=True)
    bench.look()
    bench.call("Uncordon", gpu="0")
    bench.look()
    assert bench.placeable() == [GPU0, GPU1]
    (bench.folder / "health.json").unlink()  # /run is empty after a reboot
    bench.restart()
    assert bench.placeable() == [GPU1]


def test_a_file_that_is_none_is_set_aside(bench: Bench) -> None:
    (bench.folder / "health.json").write_text("scribble")
    bench.restart()
    assert bench.placeable() == [GPU0, GPU1]
    assert (bench.folder / "health.json.bad").read_text() == "scribble"


# ---- operators


def test_an_operator_cordons_and_uncordons_by_index_or_uuid(bench: Bench) -> None:
    bench.assigned = [held("filetype", GPU1)]
    bench.call("Cordon", gpu="1", reason="a new fan\n")
    bench.look()
    assert (bench.placeable(), bench.revoked) == ([GPU0], [])
    told = bench.call("Health")["gpus"][1]
    assert told["reason"] == "is cordoned: by an operator: a new fan"
    assert told["cordons"][0]["cause"] == "operator"
    assert bench.said == [[]]  # as it should be
    bench.call("Uncordon", gpu=GPU1)
    bench.call("Uncordon", gpu=GPU1)
    assert bench.placeable() == [GPU0, GPU1]


def test_an_operator_lifts_what_an_xid_put_there(bench: Bench) -> None:
    bench.hear(GPU1, 119)
    bench.call("Uncordon", gpu="1")
    bench.look()
    assert (bench.placeable(), bench.said[-1]) == ([GPU0, GPU1], [])


def test_a_gpu_that_is_gone_cannot_be_uncordoned(bench: Bench) -> None:
    bench.health.lose(GPU0)
    bench.look()
    with pytest.raises(VarlinkError, match="Refused"):
        bench.call("Uncordon", gpu="0")


@pytest.mark.parametrize("method", ["Cordon", "Uncordon"])
@pytest.mark.parametrize(("gpu", "error"), [("7", "NoSuchGpu"), ("", "InvalidParameter")])
def test_a_gpu_that_is_not_there_is_said_to_be_none(
    bench: Bench, method: str, gpu: str, error: str
) -> None:
    with pytest.raises(VarlinkError, match=error):
        bench.call(method, gpu=gpu)


# ---- a reset, the fabric, silence


def test_when_the_driver_wants_nothing_any_more_the_gpu_is_good_again(bench: Bench) -> None:
    bench.hear(GPU1, 119)
    bench.health.set(GPU1, recovery=Recovery.RESET)
    bench.look()
    bench.health.set(GPU1, recovery=Recovery.NONE)
    bench.look()
    assert bench.placeable() == [GPU0, GPU1]


def test_a_gpu_waits_for_its_fabric_for_a_bounded_time(bench: Bench) -> None:
    bench.health.set(GPU0, fabric=Fabric.IN_PROGRESS)
    bench.look()
    assert (bench.placeable(), bench.states()) == ([GPU1], ["waiting", "ready"])
    assert bench.said[-1] == ["GPU 0: its fabric is not set up yet"]
    bench.now += care_module.FABRIC_S
    bench.look()
    assert bench.placeable() == [GPU0, GPU1]
    bench.health.set(GPU0, fabric=Fabric.FAILED)
    bench.look()
    assert bench.said[-1] == ["GPU 0: its fabric could not be set up"]
    bench.health.set(GPU0, fabric=Fabric.COMPLETED)
    bench.look()
    assert bench.said[-1] == []


def test_a_gpu_without_a_fabric_is_not_waited_for(bench: Bench) -> None:
    bench.health.set(GPU0, fabric=None)
    bench.look()
    assert bench.placeable() == [GPU0, GPU1]


def test_a_gpu_whose_calls_hang_is_left_alone_and_the_other_is_told_of(bench: Bench) -> None:
    bench.look()
    bench.health.hang(GPU0)
    bench.now += STALE_AFTER_S + 1
    bench.care._monitor.refresh()
    wait_for(lambda: not bench.care.shots()[GPU1].is_stale(bench.now), "the other's reading")
    bench.care.tick()
    assert (bench.placeable(), bench.states()) == ([GPU1], ["silent", "ready"])
    assert bench.said[-1] == ["GPU 0: it does not answer"]
    stuck, other = bench.call("Readings")["gpus"]
    assert (stuck["stale"], other["stale"]) == (True, False)
    assert (stuck["age_s"], other["age_s"]) == (STALE_AFTER_S + 1, 0.0)


# ---- missing and coming


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A machine that should have three GPUs, and whose driver has none."""
    monkeypatch.setattr("ainit.sched.monitor.LISTEN_MS", 20)
    made = Bench(tmp_path, expected=3)
    made.driver = GpuMissingError("NVML finds no device")
    made.open()
    yield made
    made.care.close()


def test_gpus_that_are_missing_at_boot_are_a_finding_and_looked_for(missing: Bench) -> None:
    missing.care.tick()
    assert missing.said == [["0 of 3 GPUs are there: NVML finds no device"]]
    for wait in (1.0, 2.0, 4.0):
        missing.now += wait
        missing.care.tick()
    assert missing.reopened == 3
    missing.driver = None
    missing.now += 8.0
    missing.care.tick()
    assert missing.said[-1] == ["2 of 3 GPUs are there"]
    assert missing.placeable() == [GPU0, GPU1]  # what is there is used
    told = missing.call("Health")
    assert (told["expected"], told["found"]) == (3, 2)


def test_what_is_expected_may_be_configured_anew(bench: Bench) -> None:
    bench.look()
    bench.expected = 3
    bench.care.tick()
    assert bench.said[-1] == ["2 of 3 GPUs are there"]
    bench.expected = None
    bench.care.tick()
    assert bench.said[-1] == []


def test_it_is_not_looked_for_more_often_than_said(missing: Bench) -> None:
    for _ in range(5):
        missing.care.tick()
    assert missing.reopened == 0


def test_while_a_call_hangs_the_driver_is_not_opened_anew(missing: Bench) -> None:
    missing.driver = None
    missing.open()
    missing.health.hang(GPU0)
    missing.care._monitor.refresh()
    wait_for(lambda: missing.care.shots()[GPU0].busy_since is not None, "the call that hangs")
    missing.now += care_module.HUNG_S + 1
    missing.care.tick()
    assert missing.reopened == 0
    missing.health.go_on(GPU0)
    wait_for(lambda: missing.care.shots()[GPU0].busy_since is None, "the end of the call")
    missing.now += 60.0
    missing.care.tick()
    assert missing.reopened == 1


def test_a_driver_that_was_loaded_anew_is_opened_anew_and_not_all_the_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(uuid: str) -> Reading:
        raise GpuMissingError(f"reading {uuid}: Uninitialized")

    with monkeypatch.context() as patch:
        patch.setattr(bench.health, "read", closed)
        bench.look()
        assert bench.reopened == 0
        bench.now += care_module.REOPEN_S
        bench.care.tick()
        bench.care.tick()
        assert bench.reopened == 1
        assert bench.placeable() == []
    bench.now += care_module.REOPEN_S
    bench.care.tick()
    assert bench.placeable() == [GPU0, GPU1]


def test_a_gpu_that_comes_is_opened(bench: Bench) -> None:
    bench.care.on_bus(("0000:01:00.0", "0000:02:00.0"))
    bench.care.on_bus(("0000:01:00.0", "0000:02:00.0"))
    bench.care.tick()
    assert bench.reopened == 0
    bench.care.on_bus(("0000:01:00.0", "0000:02:00.0", "0000:03:00.0"))
    bench.now += 1.0
    bench.care.tick()
    assert bench.reopened == 1


def test_a_gpu_that_is_taken_off_the_bus_is_lost_before_nvml_knows(bench: Bench) -> None:
    bench.assigned = [held("filetype", GPU1)]
    bench.look()
    bench.care.on_bus(("0000:01:00.0", "0000:02:00.0"))
    bench.care.on_bus(("0000:01:00.0",))
    bench.look()
    assert (bench.placeable(), bench.states()) == ([GPU0], ["ready", "lost"])
    assert bench.said[-1] == ["GPU 1: it was taken off the bus"]
    assert [agent for agent, _, _ in bench.revoked] == ["filetype"]
    bench.care.on_bus(("0000:01:00.0", "0000:02:00.0"))
    bench.look()
    assert bench.placeable() == [GPU0, GPU1]


# ---- resets


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of nvidia-smi, which says what it was asked and waits for a file."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f"#!/bin/sh\necho $@ > {tmp_path}/asked\n"
        f"while [ ! -e {tmp_path}/status ]; do sleep 0.01; done\n"
        f"echo 'GPU is in use'; exit $(cat {tmp_path}/status)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr("ainit.sched.reset.SMI", str(program))
    return tmp_path


def over(bench: Bench) -> bool:
    bench.care.tick()
    return "resetting" not in bench.states()


def test_a_reset_mends_what_it_can_and_the_driver_is_closed_meanwhile(
    bench: Bench, smi: Path
) -> None:
    bench.hear(GPU1, 119)
    bench.hear(GPU1, 74)
    bench.call("Reset", gpu="1")
    assert (bench.states()[1], bench.kept_closed) == ("resetting", "GPU 1 is being reset")
    bench.care.tick()
    assert bench.reopened == 0
    (smi / "status").write_text("0")
    wait_for(lambda: over(bench), "the end of the reset")
    assert (smi / "asked").read_text() == f"--gpu-reset --id={GPU1}\n"
    assert (bench.kept_closed, bench.reopened) == ("", 1)
    [left] = bench.call("Health")["gpus"][1]["cordons"]
    assert left["reason"] == "Xid 74 (NVLink error)"


def test_a_reset_that_fails_mends_nothing_and_says_why(bench: Bench, smi: Path) -> None:
    bench.hear(GPU1, 119)
    bench.call("Reset", gpu="1")
    (smi / "status").write_text("3")
    wait_for(lambda: over(bench), "the end of the reset")
    told = bench.call("Health")["gpus"][1]
    assert (told["state"], told["warnings"]) == (
        "cordoned",
        ["the last reset failed: GPU is in use"],
    )
    assert (bench.kept_closed, bench.reopened) == ("", 1)


def test_a_reset_that_never_ends_is_ended(bench: Bench, smi: Path) -> None:
    bench.hear(GPU1, 119)
    bench.call("Reset", gpu="1")
    bench.now += reset.DEADLINE_S
    bench.care.tick()
    assert bench.states()[1] == "cordoned"
    assert "did not end in" in bench.call("Health")["gpus"][1]["warnings"][0]


@pytest.mark.usefixtures("smi")
@pytest.mark.parametrize(
    ("gpu", "words"),
    [("0", "cordon it first"), ("1", "held by filetype"), ("7", "NoSuchGpu")],
)
def test_a_gpu_with_work_is_not_reset(bench: Bench, gpu: str, words: str) -> None:
    bench.assigned = [held("filetype", GPU1)]
    bench.call("Cordon", gpu="1")
    with pytest.raises(VarlinkError, match=words):
        bench.call("Reset", gpu=gpu)
    assert bench.kept_closed == ""


def test_one_reset_at_a_time(bench: Bench, smi: Path) -> None:
    for gpu in ("0", "1"):
        bench.call("Cordon", gpu=gpu)
    bench.call("Reset", gpu="0")
    with pytest.raises(VarlinkError, match="GPU 0 is being reset"):
        bench.call("Reset", gpu="1")
    (smi / "status").write_text("0")
    wait_for(lambda: over(bench), "the end of the reset")


def test_without_the_program_nothing_has_changed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ainit.sched.reset.SMI", f"{tmp_path}/none")
    bench.call("Cordon", gpu="1")
    with pytest.raises(VarlinkError, match="nvidia-smi cannot be run: No such file"):
        bench.call("Reset", gpu="1")
    assert (bench.states()[1], bench.kept_closed) == ("cordoned", "")


# ---- readings


def test_readings_say_who_holds_which_part(bench: Bench) -> None:
    parts = (Part(1, "MIG-speech", 512, 9984, 2), Part(2, "MIG-other", None, None, None))
    bench.health.set(GPU0, parts=parts, temperature_c=66)
    bench.assigned = [held("speech", GPU0)]
    bench.look()
    answer = bench.call("Readings")
    assert answer["emulated"] is True
    first, second = answer["gpus"]
    assert (first["temperature_c"], first["state"], second["parts"]) == (66, "ready", [])
    assert [
        (each["agent"], each["profile"], each["memory_used_mib"]) for each in first["parts"]
    ] == [
        ("speech", "1g.10gb", 512),
        (None, None, None),
    ]
