"""What keeps a GPU from being passed through is named, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib import vfio

GPU = "0000:41:00.0"
AUDIO = "0000:41:00.1"
BRIDGE = "0000:40:01.0"


class Host:
    """A sysfs and a /dev with as much as a test puts there."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.devices = root / "sys", root / "dev"
        (self.devices / "vfio").mkdir(parents=True)
        (self.sysfs / "bus/pci/devices").mkdir(parents=True)
        (self.devices / "kvm").touch()
        (self.devices / "vfio/17").touch()

    def add(self, address: str, *, group: str, driver: str = "", kind: str = "0x030200") -> None:
        """Add a PCI device; an empty group is a host without IOMMU."""
        device = self.sysfs / "devices" / address
        device.mkdir(parents=True)
        (device / "class").write_text(f"{kind}\n")
        (self.sysfs / "bus/pci/devices" / address).symlink_to(device)
        if group:
            members = self.sysfs / "kernel/iommu_groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(device)
            (device / "iommu_group").symlink_to(members.parent)
        if driver:
            folder = self.sysfs / "bus/pci/drivers" / driver
            folder.mkdir(parents=True, exist_ok=True)
            (device / "driver").symlink_to(folder)

    def missing(self, address: str = GPU) -> list[str]:
        return vfio.missing(address, self.sysfs, self.devices)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_host_that_has_everything(host: Host) -> None:
    host.add(GPU, group="17", driver="vfio-pci")
    host.add(AUDIO, group="17", driver="vfio-pci")
    host.add(BRIDGE, group="17", driver="pcieport", kind="0x060400")
    assert host.missing() == []
    assert host.missing("41:00.0") == []


def test_every_device_of_the_group_must_be_free(host: Host) -> None:
    host.add(GPU, group="17", driver="nvidia")
    host.add(AUDIO, group="17")
    held, unbound = host.missing()
    assert "0000:41:00.0 (IOMMU group 17) is held by nvidia" in held
    assert "driverctl set-override 0000:41:00.1 vfio-pci" in unbound


def test_without_an_iommu_it_says_how_to_switch_it_on(host: Host) -> None:
    host.add(GPU, group="", driver="vfio-pci")
    (problem,) = host.missing()
    assert "intel_iommu=on" in problem


def test_without_kvm_and_without_rights(host: Host) -> None:
    host.add(GPU, group="18", driver="vfio-pci")
    (problem,) = host.missing()
    assert problem.startswith(f"{host.devices}/vfio/18 cannot be opened")
    (host.devices / "kvm").unlink()
    assert "/dev/kvm" in host.missing()[0]


@pytest.mark.parametrize("address", ["", "gpu", "0000:41:00", "0000:41:00.8", "41:00.0 "])
def test_what_is_no_address_is_said_to_be_none(host: Host, address: str) -> None:
    (problem,) = host.missing(address)
    assert "no PCI address" in problem


def test_a_device_that_is_not_there(host: Host) -> None:
    (problem,) = host.missing("0000:99:00.0")
    assert "there is no PCI device 0000:99:00.0" in problem
