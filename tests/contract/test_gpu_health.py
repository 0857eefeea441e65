"""What NVML says of GPUs' health, on the emulator; the fake of the unit tests says the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from ainit.sched.errors import GpuLostError
from ainit.sched.monitor import Source
from ainit.sched.nvml import Nvml
from ainit.sched.nvml_health import NvmlHealth
from ainit.sched.readings import Fabric, Recovery
from tests.contract import nvml_emulator
from tests.unit.sched.fake_health import FakeHealth

NO_INSTANCE = 0xFFFFFFFF
WAIT_MS = 30_000
# A field of a reading → the emulator's key and number, and what the reading then says.
SET = {
    "temperature_c": ("temperature", 71, 71),
    "power_w": ("power", 512_500, 512.5),
    "power_limit_w": ("power-limit", 600_000, 600.0),
    "clock_sm_mhz": ("clock-sm", 1410, 1410),
    "clock_memory_mhz": ("clock-memory", 2000, 2000),
    "throttle": ("clock-reasons", 0x44, ("power-cap", "hw-thermal")),
    "pcie_replays": ("pcie-replays", 7, 7),
    "uncorrected": ("ecc-uncorrected", 2, 2),
    "corrected": ("ecc-corrected", 30, 30),
    "aggregate": ("ecc-uncorrected-total", 5, 5),
    "remapped": ("rows-uncorrected", 3, 3),
    "remap_pending": ("rows-pending", 1, True),
    "remap_failed": ("rows-failed", 1, True),
    "fabric": ("fabric-state", 2, Fabric.IN_PROGRESS),
    "recovery": ("recovery-action", 4, Recovery.RESET),
}


class Machine(Protocol):
    """Two healthy GPUs, and what happens to them."""

    @property
    def source(self) -> Source: ...
    def set(self, index: int, field: str) -> None: ...
    def lose(self, index: int) -> None: ...
    def bring_back(self, index: int) -> None: ...
    def xid(self, index: int, code: int, instance: int | None) -> None: ...


class Emulated:
    """The adapter on the emulator."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._lines: list[str] = []
        self.source: Source = NvmlHealth()

    def set(self, index: int, field: str) -> None:
        key, number, _ = SET[field]
        self._inject([*self._lines, f"set {index} {key} {number}"])

    def lose(self, index: int) -> None:
        self._inject([*self._lines, f"lost {index}"])

    def bring_back(self, index: int) -> None:
        self._inject([line for line in self._lines if line != f"lost {index}"])

    def xid(self, index: int, code: int, instance: int | None) -> None:
        number = NO_INSTANCE if instance is None else instance
        with self._state.with_name("state.events").open("a") as file:
            file.write(f"{index} 8 {code} {number} {number}\n")

    def _inject(self, lines: list[str]) -> None:
        self._lines = lines
        self._state.with_name("state.inject").write_text("".join(f"{line}\n" for line in lines))


class Faked:
    """The fake."""

    def __init__(self) -> None:
        self._fake = FakeHealth()
        self._uuids = self._fake.uuids()
        self.source: Source = self._fake

    def set(self, index: int, field: str) -> None:
        self._fake.set(self._uuids[index], **{field: SET[field][2]})

    def lose(self, index: int) -> None:
        self._fake.lose(self._uuids[index])

    def bring_back(self, index: int) -> None:
        self._fake.bring_back(self._uuids[index])

    def xid(self, index: int, code: int, instance: int | None) -> None:
        self._fake.xid(self._uuids[index], code, instance)


@pytest.fixture(params=["emulator", "fake"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    if request.param == "fake":
        yield Faked()
        return
    nvml_emulator.configure(monkeypatch, tmp_path / "state")
    nvml_emulator.load()
    driver = Nvml()
    yield Emulated(tmp_path / "state")
    driver.close()


def test_a_healthy_gpu_reads_so(machine: Machine) -> None:
    first, second = machine.source.uuids()
    one, two = machine.source.read(first), machine.source.read(second)
    assert (one.uuid, one.index, two.index) == (first, 0, 1)
    assert one.name == "NVIDIA H100 80GB HBM3"
    assert (one.bus, two.bus) == ("00000000:01:00.0", "00000000:02:00.0")
    assert (one.uncorrected, one.aggregate, one.remap_failed) == (0, 0, False)
    assert (one.fabric, one.persistence, one.recovery) == (Fabric.COMPLETED, False, None)
    assert one.utilisation is None  # MIG is on
    assert one.parts == ()


@pytest.mark.parametrize("field", SET)
def test_each_number_is_read_and_only_of_its_gpu(machine: Machine, field: str) -> None:
    first, second = machine.source.uuids()
    before = machine.source.read(first)
    machine.set(1, field)
    assert getattr(machine.source.read(second), field) == SET[field][2]
    assert machine.source.read(first) == before


def test_a_lost_gpu_is_said_to_be_and_the_other_goes_on(machine: Machine) -> None:
    first, second = machine.source.uuids()
    machine.lose(0)
    assert machine.source.uuids() == (second,)
    with pytest.raises(GpuLostError):
        machine.source.read(first)
    assert machine.source.read(second).index == 1
    machine.bring_back(0)
    assert machine.source.read(first).index == 0


def test_a_gpu_that_never_was_is_lost(machine: Machine) -> None:
    with pytest.raises(GpuLostError):
        machine.source.read("GPU-00000000-0000-0000-0000-000000000000")


def test_xids_are_reported_once_in_order_and_with_their_instance(machine: Machine) -> None:
    first, second = machine.source.uuids()
    machine.xid(0, 62, None)  # nobody listens yet
    listener = machine.source.listen(machine.source.uuids())
    assert listener.wait(1) is None
    machine.xid(1, 79, None)
    machine.xid(0, 94, 3)
    heard = [listener.wait(WAIT_MS), listener.wait(WAIT_MS), listener.wait(1)]
    told = [each and (each.uuid, each.code, each.instance) for each in heard]
    assert told == [(second, 79, None), (first, 94, 3), None]
    listener.close()


def test_an_xid_of_a_gpu_that_is_lost_is_reported(machine: Machine) -> None:
    _, second = machine.source.uuids()
    listener = machine.source.listen(machine.source.uuids())
    machine.lose(1)
    machine.xid(1, 79, None)
    event = listener.wait(WAIT_MS)
    assert event is not None
    assert (event.uuid, event.code) == (second, 79)
    listener.close()


def test_persistence_mode_is_on_afterwards(machine: Machine) -> None:
    assert machine.source.persist() == []
    assert all(machine.source.read(uuid).persistence for uuid in machine.source.uuids())


def test_a_lost_gpu_is_no_obstacle_to_persistence_of_the_others(machine: Machine) -> None:
    machine.lose(0)
    assert machine.source.persist() == []
