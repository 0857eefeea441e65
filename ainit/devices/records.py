"""What counts as a device here, and what is said about it. PURE.

>>> classify("pci", "/devices/pci0000:00/0000:00:05.0", {"class": "0x030200", "vendor": "0x10de"})
Device(kind='gpu', name='0000:00:05.0', path='/devices/pci0000:00/0000:00:05.0', \
properties={'vendor': '0x10de'})
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

VENDOR_NVIDIA = "0x10de"
# PCI code and ID assignment specification: VGA controller, 3D controller; bridge of another kind.
CLASSES_DISPLAY = ("0x0300", "0x0302")
CLASSES_SWITCH = ("0x0680",)
SECTOR = 512  # the unit of the kernel's "size", whatever the disk's own is
EVENTS_MAX = 256


class Kind(StrEnum):
    """What a device is for."""

    GPU = "gpu"
    SWITCH = "nvswitch"
    BLOCK = "block"
    NET = "net"


SUBSYSTEM_KIND = {"pci": Kind.GPU, "block": Kind.BLOCK, "net": Kind.NET}
# The attributes in sysfs that are worth reading, by subsystem.
ATTRIBUTES = {
    "pci": ("class", "vendor", "device", "numa_node"),
    "block": ("size", "ro", "removable", "partition"),
    "net": ("address", "mtu", "type"),
}


@dataclass(frozen=True)
class Device:
    """A device; ``path`` is that below /sys."""

    kind: Kind
    name: str
    path: str
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Event:
    """Something that happened to a device; ``time`` is in seconds since boot."""

    time: float
    action: str
    kind: Kind
    name: str


@dataclass(frozen=True)
class Announced:
    """What the kernel announced: ``device`` is None for one that nobody here asks about, ``alias``
    what finds its module, or ""; ``properties`` are all that the kernel says of it."""

    action: str
    path: str
    device: Device | None
    alias: str
    properties: Mapping[str, str]


def classify(subsystem: str, path: str, attributes: Mapping[str, str]) -> Device | None:
    """The device, or None for one that nobody here asks about."""
    kind = SUBSYSTEM_KIND.get(subsystem)
    if kind is None:
        return None
    properties = dict(attributes)
    if kind is Kind.GPU:
        of_class = properties.pop("class", "")
        if properties.get("vendor") != VENDOR_NVIDIA:
            return None
        if of_class.startswith(CLASSES_SWITCH):
            kind = Kind.SWITCH
        elif not of_class.startswith(CLASSES_DISPLAY):
            return None
    if kind is Kind.BLOCK:
        sectors = properties.pop("size", "0")
        if sectors == "0":  # a loop device or a drive that holds nothing
            return None
        properties["bytes"] = str(int(sectors) * SECTOR)
    return Device(kind, path.rpartition("/")[2], path, properties)


class Inventory:
    """The devices there are, and the last events, oldest first. What no longer fits is counted."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._seen = 0

    def replace(self, devices: Iterable[Device], now: float) -> None:
        """Take over a complete list. What differs from the old one becomes events."""
        found = {device.path: device for device in devices}
        for path in [path for path in self._devices if path not in found]:
            self.update("remove", path, None, now)
        for path, device in found.items():
            if path not in self._devices:
                self.update("add", path, device, now)
            self._devices[path] = device

    def update(self, action: str, path: str, device: Device | None, now: float) -> None:
        """One kernel event; ``device`` is None when it is gone, or is nothing that counts."""
        known = self._devices.get(path)
        if action == "remove" or device is None:
            self._devices.pop(path, None)
        else:
            self._devices[path] = device
        subject = device or known
        if subject is not None:
            self._events.append(Event(now, action, subject.kind, subject.name))
            self._seen += 1

    def count(self, kind: Kind) -> int:
        """How many devices of a kind there are."""
        return sum(device.kind is kind for device in self._devices.values())

    def bus(self) -> dict[str, object]:
        """The PCI addresses of GPUs and NVSwitches, as other services are told of them."""
        kinds = {"gpus": Kind.GPU, "switches": Kind.SWITCH}
        devices = self._devices.values()
        return {
            key: sorted(device.name for device in devices if device.kind is kind)
            for key, kind in kinds.items()
        }

    def to_record(self) -> dict[str, object]:
        """Everything as JSON values."""
        devices = sorted(self._devices.values(), key=lambda each: (each.kind, each.name))
        return {
            "devices": [asdict(device) for device in devices],
            "events": [asdict(event) for event in self._events],
            "dropped": self._seen - len(self._events),
        }
