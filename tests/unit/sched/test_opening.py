"""The driver and the ledger: opened together, reconciled, let go of together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ainit.sched.errors import GpuBusyError, GpuError, GpuMissingError
from ainit.sched.journal import Journal
from ainit.sched.opening import Opening
from ainit.sched.place import Device, Proposal
from tests.unit.sched.fake_nvml import FakeNvml


class Watch:
    """A care that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.bad: set[str] = set()

    def opened(self, *, emulated: bool) -> list[str]:
        self.told.append("opened")
        return ["persistence mode is on"]

    def closing(self) -> None:
        self.told.append("closing")

    def failed(self, error: GpuError) -> None:
        self.told.append(f"failed: {error}")

    def placeable(self, devices: Sequence[Device]) -> tuple[Device, ...]:
        return tuple(device for device in devices if device.uuid not in self.bad)

    def obstacle(self, uuid: str) -> str:
        return "is cordoned" if uuid in self.bad else ""

    def may_stay(self, uuid: str) -> bool:
        return uuid not in self.bad


class Gpus(FakeNvml):
    """A driver that writes down when it is closed."""

    def close(self) -> None:
        self.calls.append("close")


class Bench:
    def __init__(self, folder: Path) -> None:
        self.gpus = Gpus()
        self.missing: GpuMissingError | None = None
        self.care = Watch()
        self.opening = Opening(self.driver, Journal(f"{folder}/journal.json"), self.care)

    def driver(self) -> Gpus:
        if self.missing:
            raise self.missing
        return self.gpus


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_is_opened_once(bench: Bench) -> None:
    assert bench.opening.open() == bench.opening.open()
    assert bench.care.told == ["opened"]
    assert list(bench.opening.notes) == ["persistence mode is on"]


def test_a_driver_that_does_not_open_is_tried_at_the_next_call(bench: Bench) -> None:
    bench.missing = GpuMissingError("NVML finds no device")
    for _ in range(2):
        with pytest.raises(GpuMissingError):
            bench.opening.open()
    assert bench.opening.assignments() == ()
    bench.missing = None
    bench.opening.open()
    assert bench.care.told == ["failed: NVML finds no device"] * 2 + ["opened"]


def test_a_driver_that_fails_while_it_is_reconciled_is_closed(bench: Bench) -> None:
    bench.gpus.fail = {"devices": GpuError("Unknown Error")}
    with pytest.raises(GpuError):
        bench.opening.open()
    assert bench.gpus.calls[-1] == "close"


def test_threads_end_before_the_driver_is_closed_and_it_is_opened_anew(bench: Bench) -> None:
    bench.opening.open()
    bench.gpus.calls.clear()
    bench.opening.reopen()
    assert bench.care.told == ["opened", "closing", "opened"]
    assert bench.gpus.calls[0] == "close"
    bench.missing = GpuMissingError("NVML finds no device")
    bench.opening.reopen()
    assert bench.care.told[-2:] == ["closing", "failed: NVML finds no device"]


@pytest.mark.parametrize(
    ("error", "closed"), [(GpuMissingError("gone"), True), (GpuBusyError("in use"), False)]
)
def test_only_a_driver_that_is_gone_is_forgotten(
    bench: Bench, error: GpuError, closed: bool
) -> None:
    bench.opening.open()
    bench.opening.forget(error)
    assert ("closing" in bench.care.told) == closed


def test_instances_that_are_gone_are_struck_out(bench: Bench) -> None:
    _, ledger = bench.opening.open()
    ledger.create("speech", Proposal(0, "1g.10gb", 0, 1))
    assert [each.agent for each in bench.opening.assignments()] == ["speech"]
    bench.gpus.reboot()
    bench.opening.reopen()
    assert bench.opening.assignments() == ()


def test_a_driver_that_is_held_is_closed_and_not_opened_until_it_is_free(bench: Bench) -> None:
    bench.opening.open()
    bench.opening.hold("GPU 1 is being reset")
    assert (bench.gpus.calls[-1], bench.opening.is_open) == ("close", False)
    with pytest.raises(GpuError, match="GPU 1 is being reset"):
        bench.opening.open()
    bench.opening.reopen()
    assert not bench.opening.is_open
    bench.opening.free()
    bench.opening.reopen()
    assert bench.opening.is_open


def test_why_nothing_may_be_placed_anywhere(bench: Bench) -> None:
    gpus, _ = bench.opening.open()
    first, second = gpus.devices()
    bench.care.bad = {first.uuid}
    assert bench.opening.obstacles() == ""
    bench.care.bad.add(second.uuid)
    assert bench.opening.obstacles() == "GPU 0 is cordoned; GPU 1 is cordoned"
    bench.opening.close()
    assert bench.opening.obstacles() == ""
