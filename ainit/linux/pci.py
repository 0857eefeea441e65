"""What the kernel says of PCI devices, from sysfs."""

from __future__ import annotations

DEVICES = "/sys/bus/pci/devices"
_BYTES_MAX = 4096


def attribute(device: str, name: str, root: str = DEVICES) -> str | None:
    """An attribute of a device (``0000:3b:00.0``); None where there is no such device or file."""
    try:
        with open(f"{root}/{device}/{name}", encoding="ascii") as file:
            return file.read(_BYTES_MAX)
    except (OSError, ValueError):
        return None
