"""The ``devices`` service: enumerates, listens to the kernel, answers ``org.ainos.Devices``."""

from __future__ import annotations

import time

from ..child.server import Service
from ..wire import interface_text
from .records import Inventory
from .udev import Kernel


def main() -> None:
    """Run the service."""
    kernel = Kernel()
    inventory = Inventory()

    def enumerate_all() -> None:
        inventory.replace(kernel.coldplug(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def listen() -> None:
        try:
            for action, path, device in kernel.events():
                inventory.update(action, path, device, time.clock_gettime(time.CLOCK_BOOTTIME))
        except OverflowError:
            enumerate_all()

    enumerate_all()
    service = Service(
        interface_text("org.ainos.Devices"), {"List": lambda _: inventory.to_record()}
    )
    service.watch(kernel.fileno(), listen)
    service.serve()


if __name__ == "__main__":
    main()
