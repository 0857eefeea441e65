"""Start order, stages, and the way down, under a real PID 1."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ainit.child.client import VarlinkError
from tests.pidns.machine import Machine
from tests.support.wait import wait_for


def journal(machine: Machine) -> Path:
    return machine.directory / "journal"


def entries(machine: Machine) -> list[str]:
    path = journal(machine)
    return path.read_text(encoding="ascii").split() if path.exists() else []


def ordered(machine: Machine, name: str, **keys: object) -> None:
    machine.unit(name, "ordered", str(journal(machine)), name, **{"type": "notify", **keys})


def chain(machine: Machine) -> None:
    """Three units whose order is not that of their names."""
    ordered(machine, "a", requires=["c"])
    ordered(machine, "c", after=["b"])
    ordered(machine, "b")


def test_each_starts_when_those_before_it_are_ready(machine: Machine) -> None:
    chain(machine)
    machine.boot()
    machine.wait_state("a", "ready")
    assert entries(machine) == ["+b", "+c", "+a"]


@pytest.mark.parametrize(("member", "how"), [("Shutdown", "power-off"), ("Reboot", "reboot")])
def test_the_way_down_is_the_way_up_reversed(machine: Machine, member: str, how: str) -> None:
    chain(machine)
    machine.boot()
    machine.wait_state("a", "ready")
    machine.call(member)
    assert machine.left() == how
    assert entries(machine) == ["+b", "+c", "+a", "-a", "-c", "-b"]


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGTERM, "power-off"), (signal.SIGINT, "reboot")]
)
def test_signals_to_pid_1_take_the_machine_down(machine: Machine, number: int, how: str) -> None:
    chain(machine)
    machine.boot()
    machine.wait_state("a", "ready")
    machine.kill(1, number)
    assert machine.left() == how
    assert entries(machine)[3:] == ["-a", "-c", "-b"]


def test_shutdown_during_start_up(machine: Machine) -> None:
    ordered(machine, "first")
    machine.unit("never", "pause", type="notify", after=["first"], start_timeout_s=3600)
    ordered(machine, "last", after=["never"])
    machine.boot()
    machine.wait_log("never", "paused")
    machine.call("Shutdown")
    assert machine.left() == "power-off"
    assert entries(machine) == ["+first", "-first"]


def test_shutdown_twice_keeps_the_first_word(machine: Machine) -> None:
    machine.unit("stubborn", "stubborn", stop_timeout_s=2)
    machine.boot()
    machine.wait_log("stubborn", "grandchild armed")
    machine.call("Shutdown")
    machine.call("Reboot")
    assert machine.left() == "power-off"


def test_nothing_starts_on_the_way_down(machine: Machine) -> None:
    machine.unit("stubborn", "stubborn", stop_timeout_s=3600)
    machine.unit("other", "pause")
    machine.boot()
    machine.wait_log("stubborn", "grandchild armed")
    machine.call("Shutdown")
    machine.wait_state("other", "inactive")
    with pytest.raises(VarlinkError, match="going down"):
        machine.call("Start", name="other")


def test_a_machine_that_cannot_stop_a_unit_goes_down_in_time(machine: Machine) -> None:
    """The unit's patience is longer than the machine's, which is 10 s in these tests."""
    machine.unit("stubborn", "stubborn", stop_timeout_s=3600)
    machine.boot()
    machine.wait_log("stubborn", "grandchild armed")
    machine.call("Shutdown")
    assert machine.left() == "power-off"


def test_early_units_come_before_the_boot_set(machine: Machine) -> None:
    machine.unit("early", "pause", type="notify", stage="early", start_timeout_s=3600)
    ordered(machine, "main")
    machine.boot()
    machine.wait_log("early", "paused")
    assert machine.describe("main")["reason"] == "waits for the boot set to be measured"
    records = machine.call("Measurements")["records"]
    assert isinstance(records, list)
    assert [record["content"]["type"] for record in records] == ["machine-config"]
    machine.call("Stop", name="early")
    machine.wait_state("main", "ready")
    records = machine.call("Measurements")["records"]
    assert isinstance(records, list)
    assert [record["content"]["type"] for record in records] == ["machine-config", *["cap"] * 3]


def test_a_unit_whose_requirement_failed_waits_and_says_for_what(machine: Machine) -> None:
    machine.unit("broken", command=["/bin/false"], restart="never", type="oneshot")
    ordered(machine, "needs", requires=["broken"])
    ordered(machine, "after", after=["broken"])
    ordered(machine, "wants", wants=["broken", "nonexistent"])
    machine.boot()
    machine.wait_state("after", "ready")
    machine.wait_state("wants", "ready")
    assert machine.describe("needs")["reason"] == "waits for broken, which is failed"
    machine_ = machine.call("Status")["machine"]
    assert isinstance(machine_, dict)
    assert machine_["health"] == "degraded"
    assert "broken is failed: exited with status 1" in machine_["findings"]


def test_the_last_stage_of_a_machine_that_is_not_healthy(machine: Machine) -> None:
    machine.unit("sick", "pause", type="notify", start_timeout_s=3600)
    ordered(machine, "confirm", stage="healthy", essential=False)
    machine.boot()
    machine.wait_log("sick", "paused")
    assert machine.describe("confirm")["reason"] == "waits for the machine to be healthy"
    assert entries(machine) == []


def test_the_last_stage_of_a_healthy_machine(machine: Machine) -> None:
    ordered(machine, "main")
    ordered(machine, "confirm", stage="healthy", essential=False)
    machine.boot()
    wait_for(lambda: entries(machine) == ["+main", "+confirm"], "both to have started, in order")
