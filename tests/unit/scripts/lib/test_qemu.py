"""QEMU's command line says what the machine is made of, and nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from lib.accelerator import Accelerator
from lib.qemu import GPU_MEMORY_MIB, DiskBus, Files, Hardware, command

FILES = Files(Path("/run"), Path("/tmp/short"))
DEFAULT = Hardware()


def options(hardware: Hardware, accelerator: Accelerator = Accelerator.TCG) -> dict[str, list[str]]:
    """The values of each option, in order."""
    found: dict[str, list[str]] = {}
    words = command(hardware, FILES, accelerator, "quiet root=/dev/dm-0")[1:]
    for word, value in itertools.pairwise([*words, "-"]):
        if word.startswith("-"):
            found.setdefault(word, []).extend([] if value.startswith("-") else [value])
    return found


def test_secure_boot_variables_are_protected_by_smm() -> None:
    found = options(DEFAULT)
    assert found["-machine"] == ["q35,smm=on"]
    assert "driver=cfi.pflash01,property=secure,value=on" in found["-global"]
    firmware, variables = found["-drive"][:2]
    assert "readonly=on" in firmware
    assert variables.endswith("file=/run/variables.fd")


def test_the_image_is_only_ever_an_overlay() -> None:
    disks = [drive for drive in options(replace(DEFAULT, disks=2))["-drive"] if "if=none" in drive]
    assert ["file=/run/disk0.qcow2" in disks[0], "file=/run/disk1.qcow2" in disks[1]] == [True] * 2
    assert all("format=qcow2" in disk for disk in disks)


@pytest.mark.parametrize(
    ("bus", "device"),
    [(DiskBus.VIRTIO, "virtio-blk-pci"), (DiskBus.NVME, "nvme"), (DiskBus.USB, "usb-storage")],
)
def test_a_disk_is_on_the_bus_that_was_asked_for(bus: DiskBus, device: str) -> None:
    devices = options(replace(DEFAULT, disk_bus=bus, disks=2))["-device"]
    assert [found.split(",")[1] for found in devices if found.startswith(f"{device},")] == [
        "drive=disk0",
        "drive=disk1",
    ]
    assert devices.count("qemu-xhci") == (bus is DiskBus.USB)


def test_a_machine_without_a_tpm_has_none() -> None:
    assert "-tpmdev" in options(DEFAULT)
    assert not [word for word in options(replace(DEFAULT, has_tpm=False)) if "tpm" in word]
    assert not any("tpm" in word for word in command(
        replace(DEFAULT, has_tpm=False), FILES, Accelerator.TCG))  # fmt: skip


def test_a_comma_in_an_smbios_string_is_no_separator() -> None:
    found = options(replace(DEFAULT, smbios_cmdline="a=b,c=d"))
    assert found["-smbios"] == [
        "type=11,value=io.systemd.stub.kernel-cmdline-extra=a=b,,c=d",
    ]
    assert "-smbios" not in options(DEFAULT)


def test_a_direct_start_has_no_firmware_of_ours() -> None:
    found = options(replace(DEFAULT, is_direct=True))
    assert found["-kernel"] == ["/run/kernel"]
    assert found["-append"] == ["quiet root=/dev/dm-0"]
    assert not any("pflash" in drive for drive in found["-drive"])
    assert "-kernel" not in options(DEFAULT)


def test_a_restart_ends_the_machine_unless_it_may() -> None:
    assert "-no-reboot" in options(DEFAULT)
    assert "-no-reboot" not in options(replace(DEFAULT, may_restart=True))


def test_a_gpu_comes_with_memory_and_room_for_its_windows() -> None:
    found = options(replace(DEFAULT, gpu="0000:41:00.0"), Accelerator.KVM)
    assert "vfio-pci,host=0000:41:00.0" in found["-device"]
    assert found["-m"] == [str(GPU_MEMORY_MIB)]
    assert found["-fw_cfg"] == ["name=opt/ovmf/X-PciMmio64Mb,string=262144"]
    assert options(replace(DEFAULT, gpu="0000:41:00.0", memory_mib=512))["-m"] == ["512"]


def test_emulated_processors_go_without_what_qemu_emulates_wrongly_or_slowly() -> None:
    assert options(DEFAULT)["-cpu"] == ["max,-cx16,-fma,-avx2,-avx"]
    assert options(DEFAULT, Accelerator.KVM)["-cpu"] == ["host"]


def test_the_network_leads_nowhere() -> None:
    assert options(DEFAULT)["-netdev"] == ["user,id=net0,restrict=on"]
    forwarding = replace(DEFAULT, forwards=((17443, 7443), (17444, 80)))
    assert options(forwarding)["-netdev"] == [
        "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:17443-:7443,hostfwd=tcp:127.0.0.1:17444-:80"
    ]


def test_what_the_guest_may_reach_is_carried_by_a_program() -> None:
    [network] = options(replace(DEFAULT, reached=(("10.0.2.100", 8890, 5000),)))["-netdev"]
    assert network.startswith("user,id=net0,restrict=on,guestfwd=tcp:10.0.2.100:8890-cmd:")
    assert network.endswith("/carry.py 5000")


def test_usb_disks_have_a_bus_of_their_own() -> None:
    assert "qemu-xhci,id=sticks" not in options(DEFAULT)["-device"]
    found = options(replace(DEFAULT, sticks=(Path("/a"), Path("/b"))))
    assert found["-device"].count("qemu-xhci,id=sticks") == 1
    assert "usb-storage,bus=sticks.0,drive=stick1,removable=on" in found["-device"]
    assert "if=none,id=stick1,file=/b,format=raw" in found["-drive"]


def test_disks_for_data_come_beside_the_image() -> None:
    found = options(replace(DEFAULT, data=(Path("/a"), Path("/b"))))
    assert [word.partition("file=")[2] for word in found["-drive"][-2:]] == [
        "/a,format=raw,discard=unmap",
        "/b,format=raw,discard=unmap",
    ]
    assert "virtio-blk-pci,drive=data1,serial=data1" in found["-device"]


def test_both_ports_are_there() -> None:
    found = options(DEFAULT)
    ports = [device for device in found["-device"] if device.startswith("virtserialport")]
    assert [port.rsplit("name=", 1)[1] for port in ports] == [
        "org.ainos.control",
        "org.ainos.shell",
    ]
    assert [text for text in found["-chardev"] if "/tmp/short/control.sock" in text]
