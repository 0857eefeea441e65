"""The ``devices`` service: loads modules, makes nodes, enumerates, listens to the kernel, starts
units by their devices, answers ``org.ainos.Devices``."""

from __future__ import annotations

import json
import os
import time

from ..child.server import Service
from ..constants import GPUS
from ..linux import files
from ..wire import interface_text
from . import modules
from .nvidia import MODULES, Nvidia
from .records import Inventory, Kind
from .triggers import Triggers
from .udev import Kernel

SETTLE_S = 30.0  # how long the boot waits for drivers; what comes later is followed as events
NODES_EVERY_S = 5.0  # MIG instances come and go without an event


class Devices:
    """What the service knows, and keeps up to date."""

    def __init__(self) -> None:
        self._has_modules = modules.are_there()
        self._kernel = Kernel()
        self._inventory = Inventory()
        self._nvidia = Nvidia()
        self._triggers = Triggers()
        self._wakeup, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._announced: dict[str, object] = {}
        self._loader = modules.Loader(modules.load, lambda: os.write(self._woken, b"."))

    def start(self) -> None:
        """Load what the hardware asks for, bounded in time, then look at what there is."""
        if self._has_modules:
            deadline = time.monotonic() + SETTLE_S
            self._loader.want(self._kernel.aliases())
            if self._loader.settle(SETTLE_S):
                self.follow_driver()  # which asks for one more module
            if not self._loader.settle(max(0.0, deadline - time.monotonic())):
                print(f"modules still load after {SETTLE_S:g} s; going on", flush=True)
        self.enumerate_all()
        self.follow_driver()
        self.announce()
        self._triggers.reload()
        self._triggers.look(self._kernel.everything())

    def enumerate_all(self) -> None:
        """Take everything over anew."""
        self._inventory.replace(self._kernel.coldplug(), time.clock_gettime(time.CLOCK_BOOTTIME))

    def listen(self) -> None:
        """Take over what the kernel announced."""
        aliases = []
        self.follow_driver()  # who is started by a device finds its nodes
        try:
            for event in self._kernel.events():
                now = time.clock_gettime(time.CLOCK_BOOTTIME)
                self._inventory.update(event.action, event.path, event.device, now)
                self._triggers.event(event.action, event.path, event.properties)
                if event.alias and event.action == "add":
                    aliases.append(event.alias)
        except OverflowError:
            self.enumerate_all()
            self._triggers.look(self._kernel.everything())
            aliases = list(self._kernel.aliases()) if self._has_modules else []
        self.announce()
        if self._has_modules:
            self._loader.want(aliases)

    def announce(self) -> None:
        """Write down which GPUs and NVSwitches are on the bus, for the GPU service to read."""
        bus = self._inventory.bus()
        if bus == self._announced:
            return
        try:
            os.makedirs(os.path.dirname(GPUS), exist_ok=True)
            files.replace(GPUS, json.dumps(bus).encode())
        except OSError as error:
            print(f"{GPUS} cannot be written: {error}", flush=True)
            return
        self._announced = bus

    def matches_changed(self) -> None:
        """PID 1 may have other units now that devices start."""
        if self._triggers.was_changed():
            self._triggers.look(self._kernel.everything())

    def loaded(self) -> None:
        """A batch of modules was tried."""
        os.read(self._wakeup, 4096)
        self.follow_driver()

    def follow_driver(self) -> float:
        """Make the nodes that the driver wants; return in how many seconds to look again."""
        if not self._nvidia.version:
            return -1
        if self._has_modules:
            self._loader.want(MODULES)
        self._nvidia.make_nodes()
        return NODES_EVERY_S

    def tick(self) -> float:
        """What is done now and then; returns in how many seconds again, -1 for never."""
        waits = [wait for wait in (self.follow_driver(), self._triggers.retry()) if wait >= 0]
        return min(waits, default=-1)

    def to_record(self) -> dict[str, object]:
        """The answer to ``List``."""
        problems = list(self._loader.problems)
        driver = self._nvidia.state(self._inventory.count(Kind.GPU), problems)
        return {
            **self._inventory.to_record(),
            "driver": {
                "state": driver.state,
                "version": driver.version,
                "reason": driver.reason,
            },
            "problems": problems,
        }

    def serve(self) -> None:
        """Answer for ever."""
        service = Service(interface_text("org.ainos.Devices"), {"List": lambda _: self.to_record()})
        service.watch(self._kernel.fileno(), self.listen)
        service.watch(self._wakeup, self.loaded)
        service.watch(self._triggers.fileno(), self.matches_changed)
        service.serve(tick=self.tick)


def main() -> None:
    """Run the service."""
    devices = Devices()
    devices.start()
    devices.serve()


if __name__ == "__main__":
    main()
