"""The device service's start: what units after it may count on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ainit.devices import __main__ as main
from ainit.devices import modules
from ainit.devices.nvidia import MODULES
from ainit.devices.records import Announced, Device, Kind
from ainit.devices.triggers import Triggers
from ainit.linux import files


class Machine:
    """A machine with one GPU: takes the place of kernel, modprobe and driver."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.nodes: list[list[str]] = []
        self.announced: list[Announced | None] = []

    def kernel(self) -> Machine:
        return self

    def everything(self) -> list[tuple[str, dict[str, str]]]:
        return [("/devices/x/ttyS7", {"SUBSYSTEM": "tty", "DEVNAME": "ttyS7"})]

    def events(self) -> Iterator[Announced]:
        while self.announced:
            event = self.announced.pop(0)
            if event is None:
                raise OverflowError
            yield event

    def aliases(self) -> list[str]:
        return ["pci:gpu"]

    def coldplug(self) -> Iterator[object]:
        return iter(())

    def load(self, names: Iterable[str]) -> str:
        self.loaded += ["nvidia" if name == "pci:gpu" else name for name in names]
        return ""

    @property
    def version(self) -> str:
        return "550.163.01" if "nvidia" in self.loaded else ""

    def make_nodes(self) -> None:
        self.nodes.append(sorted(set(self.loaded)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(modules, "are_there", lambda: True)
    monkeypatch.setattr(modules, "load", machine.load)
    monkeypatch.setattr(main, "Kernel", machine.kernel)
    monkeypatch.setattr(main, "Nvidia", lambda: machine)
    return machine


@pytest.fixture(autouse=True)
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the GPU service reads which GPUs there are."""
    monkeypatch.setattr(main, "GPUS", f"{tmp_path}/bus/gpus.json")
    return tmp_path / "bus/gpus.json"


@pytest.fixture
def triggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What PID 1 is told. A file of its own says that a tty starts ``console``."""
    told: list[tuple[str, str]] = []
    matches = str(tmp_path / "devices.json")
    (tmp_path / "devices.json").write_text(json.dumps({"console": [{"SUBSYSTEM": "tty"}]}))
    found = Triggers(
        lambda unit, why: told.append((unit, why)), matches=matches, told=str(tmp_path / "told")
    )
    monkeypatch.setattr(main, "Triggers", lambda: found)
    yield told
    found.close()


def gpu(address: str) -> Device:
    return Device(Kind.GPU, address, f"/devices/pci0000:00/{address}", {"vendor": "0x10de"})


@pytest.mark.usefixtures("triggers")
def test_gpus_that_are_there_come_and_go_are_written_down(
    machine: Machine, bus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "coldplug", lambda: iter([gpu("0000:41:00.0")]))
    devices = main.Devices()
    devices.start()
    assert json.loads(bus.read_text()) == {"gpus": ["0000:41:00.0"], "switches": []}
    later = gpu("0000:a1:00.0")
    machine.announced += [Announced("add", later.path, later, "", {})]
    devices.listen()
    assert json.loads(bus.read_text())["gpus"] == ["0000:41:00.0", "0000:a1:00.0"]
    machine.announced += [Announced("remove", later.path, None, "", {})]
    devices.listen()
    assert json.loads(bus.read_text())["gpus"] == ["0000:41:00.0"]
    inode = bus.stat().st_ino
    devices.listen()
    assert bus.stat().st_ino == inode  # who waits for changes is not woken for nothing


@pytest.mark.usefixtures("triggers")
def test_after_lost_events_the_bus_is_written_down_anew(
    machine: Machine, bus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = main.Devices()
    devices.start()
    monkeypatch.setattr(machine, "coldplug", lambda: iter([gpu("0000:41:00.0")]))
    machine.announced.append(None)
    devices.listen()
    assert json.loads(bus.read_text())["gpus"] == ["0000:41:00.0"]


@pytest.mark.usefixtures("triggers")
def test_who_is_started_by_a_device_finds_its_nodes(machine: Machine) -> None:
    """A fabric manager looks for the node of its switches once."""
    devices = main.Devices()
    devices.start()
    made = len(machine.nodes)
    devices.listen()
    assert len(machine.nodes) == made + 1


@pytest.mark.usefixtures("triggers")
def test_at_the_end_of_the_start_every_module_of_the_driver_has_its_nodes(
    machine: Machine,
) -> None:
    main.Devices().start()
    assert machine.nodes[-1] == sorted(MODULES)


def test_a_device_that_is_there_at_the_start_starts_its_unit(
    machine: Machine, triggers: list[tuple[str, str]]
) -> None:
    main.Devices().start()
    assert triggers == [("console", "the device ttyS7 appeared")]


def test_a_device_that_comes_later_starts_its_unit(
    machine: Machine, triggers: list[tuple[str, str]]
) -> None:
    devices = main.Devices()
    machine.announced.append(
        Announced("add", "/devices/y/ttyS8", None, "", {"SUBSYSTEM": "tty", "DEVNAME": "ttyS8"})
    )
    devices.start()
    devices.listen()
    assert triggers[1:] == [("console", "the device ttyS8 appeared")]
    assert devices.tick() == main.NODES_EVERY_S


def test_after_lost_events_every_device_is_looked_at(
    machine: Machine, triggers: list[tuple[str, str]]
) -> None:
    devices = main.Devices()
    devices._triggers.reload()
    machine.announced.append(None)
    devices.listen()
    assert triggers == [("console", "the device ttyS7 appeared")]


def test_matches_that_pid_1_writes_anew_count_for_devices_that_are_there(
    machine: Machine, triggers: list[tuple[str, str]], tmp_path: Path
) -> None:
    devices = main.Devices()
    devices.start()
    wanted = {"modem": [{"DEVNAME": "ttyS7"}], "console": [{"SUBSYSTEM": "tty"}]}
    files.replace(str(tmp_path / "devices.json"), json.dumps(wanted).encode())
    devices.matches_changed()
    assert triggers[1:] == [("modem", "the device ttyS7 appeared")]
