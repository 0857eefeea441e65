"""The ground PID 1 stands on: mounts, the disk, the host name, and the way down.

Tests that run a real PID 1 inside namespaces give their own.
"""

from __future__ import annotations

import os
import time

from .. import constants
from ..errors import RefusedError
from ..linux import block, efi, kmsg, libc, process
from . import growth, loop, mounts, reset, sealed, settings
from .enforcement import Enforcement
from .facts import Facts
from .journal import Journal
from .measure import Measurements
from .shutdown import HALT, KEXEC, POWER_OFF

_SIGKILL = 9
_COMMANDS = {
    POWER_OFF: libc.RB_POWER_OFF,
    HALT: libc.RB_HALT_SYSTEM,
    KEXEC: libc.RB_KEXEC,
}
_DYING_SECONDS = 5.0


class Platform:
    """A real machine."""

    def prepare(self) -> None:
        """The early mounts, and the kernel's settings."""
        for line in mounts.early():
            kmsg.log(f"not mounted: {line}", kmsg.WARNING)
        settings.apply()
        settings.measure_files()
        libc.reboot(libc.RB_DISABLE_CAD)  # the keys become a signal, and that an orderly reboot

    def measurements(self, journal: Journal) -> Measurements:
        """The TPM and the event log of this boot."""
        return Measurements(journal)

    def enforcement(self, journal: Journal) -> Enforcement:
        """Who tells the kernel what agents may open."""
        return Enforcement(journal)

    def find_disk(self, facts: Facts) -> None:
        """Find the one disk that may be used, mount its state partition, record what is wrong."""
        facts.secure_boot = efi.secure_boot()
        begun = efi.loader_seconds("LoaderTimeInitUSec")
        left = efi.loader_seconds("LoaderTimeExecUSec")
        if begun is not None and left is not None:
            facts.loader = [begun, left - begun]
        parts = block.partitions()
        members = block.root_members()
        loader = efi.loader_text("LoaderDevicePartUUID").lower()
        try:
            disk = block.system_disk(parts, members, loader)
        except RefusedError as error:
            facts.problems.append(str(error))
            return
        facts.root = f"{disk} ({', '.join(members)})"
        device = block.labelled(parts, disk, constants.STATE_PARTITION)
        why = self._mount(device, disk) if device else f"{disk} has no state partition"
        facts.state = why or device
        if why:
            facts.problems.append(f"no state: {why}")

    def _mount(self, device: str, disk: str) -> str:
        """Mount the state partition, opened first where it is sealed; returns why not."""
        growth.partition(device, disk)
        if sealed.concerns(device):
            if why := sealed.unlock(device):
                return why
            device = constants.MAPPED
        why = mounts.state(device, constants.STATE)
        if why:
            return why
        growth.file_system(device)
        return reset.finish()

    def name(self, hostname: str) -> None:
        """Set the host name."""
        with open("/proc/sys/kernel/hostname", "w", encoding="ascii") as file:
            file.write(hostname)

    def leave(self, how: str) -> None:
        """The last steps, each as good as it gets: kill, unmount, sync, reboot or power off."""
        try:
            os.kill(-1, _SIGKILL)
        except OSError:
            pass  # nobody is left
        deadline = loop.now() + _DYING_SECONDS
        while process.has_children() and loop.now() < deadline:
            if process.reap() is None:
                time.sleep(0.01)  # nothing else is left to turn the loop for
        mounts.leave((constants.STATE,))
        libc.reboot(_COMMANDS.get(how, libc.RB_AUTOBOOT))
        libc.reboot(libc.RB_AUTOBOOT)  # no other kernel was loaded, or the machine cannot do that
