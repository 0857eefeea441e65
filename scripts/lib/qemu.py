"""QEMU's command line for one machine: a pure function of what the machine is made of.

The default is what the product is built for: UEFI with Secure Boot, TPM, virtio disk, watchdog, two
serial ports to the control socket and to the shell of development images, a network that leads
nowhere but to QEMU's own DHCP and DNS.

    command(Hardware(disk_bus=DiskBus.NVME), files, Accelerator.TCG)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import assert_never

from lib.accelerator import Accelerator, firmware_arguments
from lib.architecture import X86_64, Architecture

CARRY = Path(__file__).with_name("carry.py")
MEMORY_MIB = 2048
# A GPU's driver and models want memory, and its windows want address space (an H100 takes 128 GiB).
GPU_MEMORY_MIB = 16384
GPU_WINDOW_MIB = 262144
# The SMBIOS string that systemd-stub takes for an addition to the command line.
STUB_CMDLINE = "io.systemd.stub.kernel-cmdline-extra"


class DiskBus(Enum):
    """How the system disk is attached."""

    VIRTIO = "virtio"
    NVME = "nvme"
    USB = "usb"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a machine is made of. ``memory_mib`` of 0 takes the default for the other choices."""

    architecture: Architecture = X86_64
    cpus: int = 2
    memory_mib: int = 0
    disk_bus: DiskBus = DiskBus.VIRTIO
    disks: int = 1
    # How large a disk is, in GiB; 0 takes the image's size.
    disk_gib: int = 0
    has_tpm: bool = True
    # How much longer the TPM takes for every command.
    tpm_delay_s: float = 0.0
    # PCI address of a host GPU, bound to vfio-pci.
    gpu: str = ""
    # Raw images of more disks, which the machine may write to.
    data: tuple[Path, ...] = ()
    # Raw images of USB disks.
    sticks: tuple[Path, ...] = ()
    # Ports of this host's loopback address, and the ports of the guest that they lead to.
    forwards: tuple[tuple[int, int], ...] = ()
    # Addresses and ports that the guest may connect to, and this host's ports that they lead to.
    reached: tuple[tuple[str, int, int], ...] = ()
    # More devices, in QEMU's own words.
    devices: tuple[str, ...] = ()
    # Text that an SMBIOS table offers to systemd-stub.
    smbios_cmdline: str = ""
    # Start the kernel of the UKI without firmware and loader: quick, and with nothing measured.
    is_direct: bool = False
    # A machine that restarts ends, unless it is to go on: a panic would else restart it for ever.
    may_restart: bool = False


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files and sockets of one machine lie. Sockets need short paths (108 bytes)."""

    directory: Path
    sockets: Path

    def disk(self, number: int) -> Path:
        """The copy-on-write overlay of a disk."""
        return self.directory / f"disk{number}.qcow2"

    @property
    def variables(self) -> Path:
        """The firmware's variable store."""
        return self.directory / "variables.fd"

    @property
    def kernel(self) -> Path:
        """The kernel for a direct start."""
        return self.directory / "kernel"

    def socket(self, name: str) -> Path:
        """The socket ``control``, ``shell``, ``qmp`` or ``tpm``."""
        return self.sockets / f"{name}.sock"


def command(
    hardware: Hardware, files: Files, accelerator: Accelerator, cmdline: str = ""
) -> list[str]:
    """The command line; ``cmdline`` is the kernel's, for a direct start."""
    architecture = hardware.architecture
    memory = hardware.memory_mib or (GPU_MEMORY_MIB if hardware.gpu else MEMORY_MIB)
    return [
        *(architecture.qemu, "-name", "ainos", "-nodefaults", "-no-user-config"),
        *("-machine", architecture.board, *accelerator.arguments(architecture)),
        *("-smp", str(hardware.cpus), "-m", str(memory)),
        *("-display", "none", "-serial", "stdio"),
        *("-qmp", _listen(files.socket("qmp"))),
        *([] if hardware.may_restart else ["-no-reboot"]),
        *_start(hardware, files, cmdline),
        *(word for number in range(hardware.disks) for word in _disk(hardware, files, number)),
        *(word for number, path in enumerate(hardware.data) for word in _data(number, path)),
        *_sticks(hardware),
        *(_tpm(architecture, files) if hardware.has_tpm else []),
        *_ports(files),
        *("-device", "i6300esb", "-action", "watchdog=reset"),
        *("-object", "rng-random,id=entropy,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=entropy"),
        *("-netdev", _network(hardware), "-device", "virtio-net-pci,netdev=net0,romfile="),
        *(_gpu(hardware.gpu) if hardware.gpu else []),
        *(word for device in hardware.devices for word in ("-device", device)),
    ]


def _data(number: int, path: Path) -> list[str]:
    name = f"data{number}"
    backing = f"if=none,id={name},file={path},format=raw,discard=unmap"
    return ["-drive", backing, "-device", f"virtio-blk-pci,drive={name},serial={name}"]


def _sticks(hardware: Hardware) -> list[str]:
    words = ["-device", "qemu-xhci,id=sticks"] if hardware.sticks else []
    for number, path in enumerate(hardware.sticks):
        name = f"stick{number}"
        words += ["-drive", f"if=none,id={name},file={path},format=raw"]
        words += ["-device", f"usb-storage,bus=sticks.0,drive={name},removable=on"]
    return words


def _network(hardware: Hardware) -> str:
    """A network of the guest's own, from which nothing leads out."""
    ways = [f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in hardware.forwards]
    ways += [
        f"guestfwd=tcp:{address}:{port}-cmd:{sys.executable} {CARRY} {here}"
        for address, port, here in hardware.reached
    ]
    return ",".join(("user", "id=net0", "restrict=on", *ways))


def _start(hardware: Hardware, files: Files, cmdline: str) -> list[str]:
    if hardware.is_direct:
        return ["-kernel", str(files.kernel), "-append", cmdline]
    arguments = firmware_arguments(hardware.architecture, files.variables)
    if hardware.smbios_cmdline:
        # A comma separates options for QEMU; a doubled one is a comma.
        value = f"{STUB_CMDLINE}={hardware.smbios_cmdline}".replace(",", ",,")
        arguments += ["-smbios", f"type=11,value={value}"]
    return arguments


def _disk(hardware: Hardware, files: Files, number: int) -> list[str]:
    drive = f"disk{number}"
    backing = f"if=none,id={drive},file={files.disk(number)},format=qcow2,discard=unmap"
    order = f"bootindex={number + 1}"  # 0 is the kernel's in a direct start
    match hardware.disk_bus:
        case DiskBus.VIRTIO:
            device = [f"virtio-blk-pci,drive={drive},serial={drive},{order}"]
        case DiskBus.NVME:
            device = [f"nvme,drive={drive},serial={drive},{order}"]
        case DiskBus.USB:
            hub = [] if number else ["qemu-xhci"]
            device = [*hub, f"usb-storage,drive={drive},serial={drive},removable=on,{order}"]
        case _:
            assert_never(hardware.disk_bus)
    return ["-drive", backing, *(word for item in device for word in ("-device", item))]


def _tpm(architecture: Architecture, files: Files) -> list[str]:
    return [
        *("-chardev", f"socket,id=tpm,path={files.socket('tpm')}"),
        *("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", f"{architecture.tpm},tpmdev=tpm0"),
    ]


def _ports(files: Files) -> list[str]:
    arguments = ["-device", "virtio-serial-pci"]
    for name in ("control", "shell"):
        arguments += ["-chardev", f"socket,id={name},path={files.socket(name)},server=on,wait=off"]
        arguments += ["-device", f"virtserialport,chardev={name},name=org.ainos.{name}"]
    return arguments


def _gpu(address: str) -> list[str]:
    return [
        *("-device", f"vfio-pci,host={address}"),
        *("-fw_cfg", f"name=opt/ovmf/X-PciMmio64Mb,string={GPU_WINDOW_MIB}"),
    ]


def _listen(path: Path) -> str:
    return f"unix:{path},server=on,wait=off"
