"""A host's PCI devices in a directory, with a kernel that binds and unbinds as sysfs is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lib.vfio import PassthroughError, PciHost

GPU = "0000:41:00.0"
AUDIO = "0000:41:00.1"
NETWORK = "0000:43:00.0"
BRIDGE = "0000:40:01.0"
GROUP = "17"


@dataclass(frozen=True, slots=True)
class FakeHost(PciHost):
    """``native`` names the driver that takes a device without an override. A write to a path that
    ends in one of ``broken`` fails; ``written`` holds the others."""

    native: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    written: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, root: Path, *, runs_kvm: bool = True) -> Self:
        host = cls(root / "sys", root / "dev", root / "proc", runs_kvm)
        (host.devices / "vfio").mkdir(parents=True)
        (host.sysfs / "bus/pci/devices").mkdir(parents=True)
        (host.sysfs / "bus/pci/drivers/vfio-pci").mkdir(parents=True)
        host.proc.mkdir()
        (host.devices / "kvm").touch()
        (host.devices / "vfio" / GROUP).touch()
        return host

    def add(
        self, address: str, *, group: str = GROUP, driver: str = "", kind: str = "0x030200"
    ) -> None:
        """Add a PCI device; an empty group is a host without IOMMU."""
        device = self.sysfs / "devices" / address
        device.mkdir(parents=True)
        (device / "class").write_text(f"{kind}\n")
        (device / "driver_override").write_text("(null)\n")
        self.device(address).symlink_to(device)
        if group:
            members = self.sysfs / "kernel/iommu_groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(device)
            (device / "iommu_group").symlink_to(members.parent)
        if driver:
            self.native[address] = driver
            self._attach(address, driver)

    def use(self, address: str, *, minor: int, pid: int, name: str) -> None:
        """Let a process hold NVIDIA's node of a GPU open."""
        information = self.proc / "driver/nvidia/gpus" / address / "information"
        information.parent.mkdir(parents=True)
        information.write_text(f"Model: \t\t NVIDIA H100\nDevice Minor: \t {minor}\n")
        descriptors = self.proc / str(pid) / "fd"
        descriptors.mkdir(parents=True)
        (descriptors / "7").symlink_to(self.devices / f"nvidia{minor}")
        (descriptors.parent / "comm").write_text(f"{name}\n")

    def unload(self, driver: str) -> None:
        """Take a driver that holds nothing any more out of the kernel."""
        for link in self.sysfs.glob("devices/*/driver"):
            if link.resolve().name == driver:
                link.unlink()
        (self.sysfs / "bus/pci/drivers" / driver).rmdir()

    def write(self, path: Path, text: str) -> None:
        """Do what the kernel does (Documentation/ABI/testing/sysfs-bus-pci)."""
        if path.name in self.broken:
            raise PassthroughError(f"tee {path}: Input/output error")
        self.written.append(f"{path.parent.name}/{path.name} {text.strip()}")
        match path.name:
            case "driver_override":
                path.write_text(text if text.strip() else "(null)\n")
            case "unbind":
                (self.device(text) / "driver").unlink()
            case "drivers_probe":
                self._attach(text, self.override(text) or self.native.get(text, ""))
            case _:
                raise AssertionError(f"{path} is no file of the kernel's")

    def _attach(self, address: str, driver: str) -> None:
        folder = self.sysfs / "bus/pci/drivers" / driver
        folder.mkdir(parents=True, exist_ok=True)
        (self.device(address) / "driver").symlink_to(folder)
