"""Passing a GPU of the host to the machine: what the host must offer, checked one by one and named.

What belongs to the GPU is every device of its IOMMU group but bridges; a group that reaches to a
device of another slot that the host uses is refused, since the machine would get that, too.
`lib.passthrough` does what is checked here.

    for problem in missing("0000:41:00.0"): print(problem)
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lib.host import CommandError, HostError

VFIO = "vfio-pci"
WRITE_DEADLINE_S = 30.0
KILL_DEADLINE_S = 1.0
# The device may be given without its domain, as lspci prints it.
_ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
_BRIDGE_CLASS = "0x0604"


class PassthroughError(HostError):
    """The GPU cannot be lent to the machine, or was not given back."""


@dataclass(frozen=True, slots=True)
class PciHost:
    """The host's PCI devices, as its kernel shows them. The paths differ in tests only.

    ``runs_kvm`` says whether KVM was seen to run a guest here.
    """

    sysfs: Path = Path("/sys")
    devices: Path = Path("/dev")
    proc: Path = Path("/proc")
    runs_kvm: bool = True

    def device(self, address: str) -> Path:
        """Where sysfs shows a device."""
        return self.sysfs / "bus/pci/devices" / address

    def driver(self, address: str) -> str:
        """The driver that holds a device; empty for none."""
        link = self.device(address) / "driver"
        return link.resolve().name if link.exists() else ""

    def override(self, address: str) -> str:
        """The one driver that may take a device; empty when any may."""
        path = self.device(address) / "driver_override"
        value = path.read_text().strip() if path.exists() else ""
        return "" if value == "(null)" else value

    def has_driver(self, name: str) -> bool:
        """Whether a driver is loaded."""
        return (self.sysfs / "bus/pci/drivers" / name).exists()

    def write(self, path: Path, text: str) -> None:
        """Write to a file of sysfs, in a child: the kernel may hold the writer for ever.

        A driver that lets go of its device cannot be interrupted, not even by SIGKILL, so a child
        that is late is left behind. Raises PassthroughError.
        """
        command = ["tee", str(path)]
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
            given.write(text)
            given.seek(0)
            child = subprocess.Popen(command, stdin=given, stdout=subprocess.DEVNULL, stderr=said)
            reason = ""
            try:
                if status := child.wait(WRITE_DEADLINE_S):
                    reason = f"exit status {status}"
            except subprocess.TimeoutExpired:
                reason = f"no end after {WRITE_DEADLINE_S:g} s"
                child.kill()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(KILL_DEADLINE_S)
            if reason:
                said.seek(0)
                error = CommandError(command, reason, said.read())
                raise PassthroughError(f"the kernel did not take {text.strip()!r}: {error}")

    def users(self, address: str) -> list[str]:
        """The processes that have one of a GPU's nodes open, as ``name (pid)``."""
        nodes = {str(self.devices / "dri" / path.name) for path in self._drm(address)}
        if minor := self._nvidia_minor(address):
            nodes.add(str(self.devices / f"nvidia{minor}"))
        found = []
        for process in sorted(self.proc.glob("[0-9]*")):
            try:
                links = list((process / "fd").iterdir())
                name = (process / "comm").read_text().strip()
            except OSError:
                continue  # it has ended, or is not ours to look into
            if nodes & {_target(link) for link in links}:
                found.append(f"{name} ({process.name})")
        return found

    def _drm(self, address: str) -> list[Path]:
        return list((self.device(address) / "drm").glob("*"))

    def _nvidia_minor(self, address: str) -> str:
        path = self.proc / "driver/nvidia/gpus" / address / "information"
        text = path.read_text() if path.exists() else ""
        match = re.search(r"^Device Minor:\s+(\d+)", text, re.MULTILINE)
        return match[1] if match else ""


def _target(link: Path) -> str:
    """What a descriptor is open on; empty when it was closed meanwhile."""
    try:
        return str(link.readlink())
    except OSError:
        return ""


def full_address(text: str) -> str:
    """A PCI address with its domain. Raises PassthroughError when it is none."""
    match = _ADDRESS.fullmatch(text.lower())
    if match is None:
        raise PassthroughError(f"{text!r} is no PCI address such as 0000:41:00.0")
    domain, bus, device, function = match.groups()
    return f"{domain or '0000'}:{bus}:{device}.{function}"


def functions(address: str, host: PciHost) -> list[str]:
    """The devices of the IOMMU group that are passed through together: all but bridges."""
    group = host.device(address) / "iommu_group"
    members = (group / "devices").iterdir() if group.exists() else ()
    return sorted(
        path.name for path in members if not (path / "class").read_text().startswith(_BRIDGE_CLASS)
    )


def missing(address: str, host: PciHost | None = None) -> list[str]:
    """What keeps this host from passing the device through, in plain words; empty when nothing."""
    host = host or PciHost()
    try:
        address = full_address(address)
    except PassthroughError as error:
        return [str(error)]
    device = host.device(address)
    if not device.exists():
        return [f"there is no PCI device {address}; `lspci -D` lists them"]
    problems = []
    if not os.access(host.devices / "kvm", os.R_OK | os.W_OK):
        problems.append("a passed-through device needs KVM, and /dev/kvm cannot be opened")
    elif not host.runs_kvm:
        problems.append("a passed-through device needs KVM, which runs no guest on this host")
    if not (device / "iommu_group").exists():
        problems.append(
            "the IOMMU is off: switch on VT-d or AMD-Vi in the firmware and boot the host with "
            "intel_iommu=on or amd_iommu=on"
        )
        return problems
    group = (device / "iommu_group").resolve().name
    slot = address.rsplit(".", 1)[0]
    members = functions(address, host)
    problems += [
        f"{member} is in the GPU's IOMMU group {group}, held by {host.driver(member)}: the machine "
        "would get it, too; use a slot of its own, or a board with access control (ACS)"
        for member in members
        if not member.startswith(f"{slot}.") and host.driver(member) not in ("", VFIO)
    ]
    if not host.has_driver(VFIO):
        problems.append(f"the host's kernel has no {VFIO}: `modprobe {VFIO}`")
    if host.driver(address) != VFIO:
        problems += _in_use(address, host)
    if all(host.driver(member) == VFIO for member in members):
        node = host.devices / "vfio" / group
        if not os.access(node, os.R_OK | os.W_OK):
            problems.append(f"{node} cannot be opened: run as root, or give it to your user")
    elif not os.access(device / "driver_override", os.W_OK):
        problems.append(f"{address} is bound to {host.driver(address) or 'nothing'}: run as root")
    return problems


def _in_use(address: str, host: PciHost) -> list[str]:
    """What on the host would break if the GPU were taken away."""
    problems = [f"{address} is used by {user}: end it" for user in host.users(address)]
    console = host.device(address) / "boot_vga"
    if console.exists() and console.read_text().strip() == "1":
        problems.append(f"{address} shows the host's console; choose another GPU for that")
    return problems
