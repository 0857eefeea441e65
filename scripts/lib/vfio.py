"""Passing a real GPU to the machine: what the host must offer, checked one by one and named.

for problem in missing("0000:41:00.0"): print(problem)
"""

from __future__ import annotations

import os
import re
from pathlib import Path

SYSFS = Path("/sys")
DEVICES = Path("/dev")
# The device may be given without its domain, as lspci prints it.
_ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_BRIDGE_CLASS = "0x0604"


def full_address(text: str) -> str:
    """A PCI address with its domain. Raises ValueError when it is none."""
    match = _ADDRESS.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no PCI address such as 0000:41:00.0")
    domain, bus, device, function = match.groups()
    return f"{domain or '0000'}:{bus}:{device}.{function}"


def missing(address: str, sysfs: Path = SYSFS, devices: Path = DEVICES) -> list[str]:
    """What keeps this host from passing the device through, in plain words; empty when nothing."""
    try:
        address = full_address(address)
    except ValueError as error:
        return [str(error)]
    device = sysfs / "bus/pci/devices" / address
    if not device.exists():
        return [f"there is no PCI device {address}; `lspci -D` lists them"]
    problems = []
    if not os.access(devices / "kvm", os.R_OK | os.W_OK):
        problems.append("a passed-through device needs KVM, and /dev/kvm cannot be opened")
    if not (device / "iommu_group").exists():
        problems.append(
            "the IOMMU is off: switch on VT-d or AMD-Vi in the firmware and boot the host with "
            "intel_iommu=on or amd_iommu=on"
        )
        return problems
    group = (device / "iommu_group").resolve()
    for member in sorted((group / "devices").iterdir()):
        driver = _driver(member)
        is_bridge = (member / "class").read_text().startswith(_BRIDGE_CLASS)
        if driver != "vfio-pci" and not is_bridge:
            holder = f"held by {driver}" if driver else "bound to no driver"
            problems.append(
                f"{member.name} (IOMMU group {group.name}) is {holder}: bind it to vfio-pci, with "
                f"`driverctl set-override {member.name} vfio-pci`"
            )
    node = devices / "vfio" / group.name
    if not problems and not os.access(node, os.R_OK | os.W_OK):
        problems.append(f"{node} cannot be opened: run as root, or give it to your user")
    return problems


def _driver(device: Path) -> str:
    link = device / "driver"
    return link.resolve().name if link.exists() else ""
