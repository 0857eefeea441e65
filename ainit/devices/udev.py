"""The kernel's device events and sysfs, through pyudev. There is no udevd."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pyudev

from .records import ATTRIBUTES, Announced, Device, classify

BUFFER_BYTES = 1 << 20  # a thousand events at once, as when a shelf of disks appears


class Kernel:
    """Devices and events of this machine. Listening starts at once, so nothing falls in between.

    Events are of all subsystems: any device may want a module, or start a unit.
    """

    def __init__(self) -> None:
        self._context = pyudev.Context()
        self._monitor = pyudev.Monitor.from_netlink(self._context, source="kernel")
        self._monitor.set_receive_buffer_size(BUFFER_BYTES)
        self._monitor.start()

    def fileno(self) -> int:
        """Readable when there are events."""
        return int(self._monitor.fileno())

    def coldplug(self) -> Iterator[Device]:
        """Every device there is now."""
        for subsystem in ATTRIBUTES:
            for found in self._context.list_devices(subsystem=subsystem):
                device = _device(found)
                if device is not None:
                    yield device

    def aliases(self) -> Iterator[str]:
        """What every device says of itself to find its module."""
        for found in self._context.list_devices():
            if alias := found.properties.get("MODALIAS"):
                yield alias

    def everything(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The path below /sys and the properties of every device there is, of any subsystem."""
        for found in self._context.list_devices():
            yield found.device_path, dict(found.properties)

    def events(self) -> Iterator[Announced]:
        """Each event that waits; never blocks.

        Raises OverflowError when the kernel had to drop some: then only ``coldplug`` knows.
        """
        try:
            while (found := self._monitor.poll(timeout=0)) is not None:
                alias = found.properties.get("MODALIAS", "")
                device, properties = _device(found), dict(found.properties)
                yield Announced(found.action, found.device_path, device, alias, properties)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            raise OverflowError("the kernel dropped device events") from error


def _device(found: pyudev.Device) -> Device | None:
    attributes = {}
    for name in ATTRIBUTES.get(found.subsystem, ()):
        try:
            value = found.attributes.get(name)
        except OSError:  # the device went away while it was looked at
            continue
        if value is not None:
            attributes[name] = value.decode("utf-8", "replace").strip()
    if found.driver:
        attributes["driver"] = found.driver
    return classify(found.subsystem, found.device_path, attributes)
