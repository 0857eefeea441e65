"""The device service's start: what units after it may count on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from ainit.devices import __main__ as main
from ainit.devices import modules
from ainit.devices.nvidia import MODULES


class Machine:
    """A machine with one GPU: takes the place of kernel, modprobe and driver."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.nodes: list[list[str]] = []

    def kernel(self, *, every_subsystem: bool) -> Machine:
        assert every_subsystem
        return self

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


def test_at_the_end_of_the_start_every_module_of_the_driver_has_its_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine()
    monkeypatch.setattr(modules, "are_there", lambda: True)
    monkeypatch.setattr(modules, "load", machine.load)
    monkeypatch.setattr(main, "Kernel", machine.kernel)
    monkeypatch.setattr(main, "Nvidia", lambda: machine)
    main.Devices().start()
    assert machine.nodes[-1] == sorted(MODULES)
