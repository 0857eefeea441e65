"""Server hardware: modules are loaded for what is found, signed ones only, under lockdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lib import drive
from lib.machine import Machine
from lib.qemu import Hardware

from tests.qemu.story import boot, in_shell

Data = dict[str, Any]

pytestmark = pytest.mark.variant("server", "nvidia")

# A network card and a BMC whose drivers are modules, and which the default machine lacks.
DEVICES = ("vmxnet3", "ipmi-bmc-sim,id=bmc", "isa-ipmi-kcs,bmc=bmc")
# Loads a module as the kernel sees it: finit_module(2), whose flag 4 is for compressed ones.
LOAD = """
import ctypes, glob, json, os, platform, shutil
source, = glob.glob("/usr/lib/modules/*/kernel/drivers/net/ethernet/realtek/r8169.ko*")
def load(path):
    descriptor = os.open(path, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 313, "aarch64": 273}[platform.machine()]
    flags = 0 if source.endswith(".ko") else 4
    result = libc.syscall(number, descriptor, b"", flags)
    return os.strerror(ctypes.get_errno()) if result else "loaded"
data = bytearray(open(source, "rb").read())
said = {}
for name, content in (("altered", data[:4096] + b"?" + data[4097:]), ("unsigned", data[:-28])):
    path = "/tmp/" + name
    open(path, "wb").write(content)
    said[name] = load(path)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def server(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with server hardware, at rest."""
    hardware = Hardware(devices=DEVICES)
    with Machine(image, tmp_path_factory.mktemp("server"), hardware) as machine:
        boot(machine)
        drive.wait_at_rest(machine)
        yield machine
        machine.power_off()


@pytest.fixture(scope="module")
def known(server: Machine) -> Data:
    """What the device service says."""
    return server.call("org.ainos.Devices.List")


@pytest.fixture(scope="module")
def loaded(server: Machine) -> set[str]:
    """The modules in the kernel."""
    return {line.split()[0] for line in in_shell(server, "cat /proc/modules").splitlines() if line}


def test_modules_are_loaded_for_the_hardware_there_is(known: Data, loaded: set[str]) -> None:
    assert {"vmxnet3", "ipmi_si", "ipmi_devintf"} <= loaded, known["problems"]
    assert not loaded & {"mlx5_core", "ice", "r8169"}


def test_the_card_is_an_interface(server: Machine, known: Data) -> None:
    links = in_shell(server, "for each in /sys/class/net/*/device/driver; do readlink $each; done")
    assert sorted(link.rpartition("/")[2] for link in links.split()) == ["virtio_net", "vmxnet3"]
    cards = [device["path"] for device in known["devices"] if device["kind"] == "net"]
    assert len([path for path in cards if "/virtual/net/" not in path]) == 2


def test_no_module_had_a_problem(known: Data) -> None:
    assert known["problems"] == []


def test_the_kernel_is_locked_down_and_wants_signatures(server: Machine) -> None:
    lockdown = in_shell(server, "cat /sys/kernel/security/lockdown")
    assert "[integrity]" in lockdown
    assert "Y" in in_shell(server, "cat /sys/module/module/parameters/sig_enforce")


def test_a_module_that_is_altered_or_unsigned_is_refused(server: Machine) -> None:
    program = LOAD.replace("\n", "\\n").replace("'", '"')
    said = in_shell(server, f"printf '{program}' | python3 -I -")
    (answer,) = [line for line in said.splitlines() if line.startswith("{")]
    results = json.loads(answer)
    assert results["altered"] == "Key was rejected by service"
    assert results["unsigned"] in ("Key was rejected by service", "Required key not available")
