"""The machine with real QEMU and a real software TPM; no guest has to boot for any of this."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from lib.accelerator import Accelerator
from lib.architecture import X86_64
from lib.host import REPOSITORY, run
from lib.machine import Machine, MachineError
from lib.process import end, spawn, wait_until
from lib.qemu import DiskBus, Hardware
from lib.vfio import PassthroughError

from tests.support import pe

DISK_BYTES = 4 << 20
MARK = b"written by the test"
# Quick to start: no TPM to manufacture.
PLAIN = Hardware(cpus=1, memory_mib=64, has_tpm=False)


@pytest.fixture(autouse=True)
def _emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AINOS_ACCELERATOR", "tcg")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image directory with an empty disk."""
    folder = tmp_path_factory.mktemp("images")
    with (folder / "ainos.img").open("wb") as file:
        file.truncate(DISK_BYTES)
    shutil.copyfile(X86_64.variables, folder / X86_64.store)
    (folder / "manifest.json").write_text('{"architecture": "x86_64"}')
    (folder / "uki.efi").write_bytes(pe.build({".linux": b"no kernel", ".cmdline": b"quiet"}))
    return folder


@pytest.mark.parametrize("bus", DiskBus)
@pytest.mark.parametrize("disks", [1, 2])
def test_qemu_takes_every_choice_of_hardware(
    images: Path, tmp_path: Path, bus: DiskBus, disks: int
) -> None:
    hardware = replace(PLAIN, disk_bus=bus, disks=disks, smbios_cmdline="a=b,c", may_restart=True)
    with Machine(images, tmp_path, hardware) as machine:
        machine.start()
        assert machine.is_running


def test_a_machine_has_a_tpm_whose_maker_can_be_trusted(images: Path, tmp_path: Path) -> None:
    with Machine(images, tmp_path, replace(PLAIN, has_tpm=True)) as machine:
        issuer_of = {
            certificate.subject: certificate
            for certificate in x509.load_pem_x509_certificates(machine.tpm_root.read_bytes())
        }
        assert len(issuer_of) == 2
        for certificate in issuer_of.values():
            certificate.verify_directly_issued_by(issuer_of[certificate.issuer])
        machine.start()
        assert machine.is_running
        machine.kill()
        machine.start()  # the second boot of the same machine
        assert machine.is_running


def test_power_can_be_cut_and_the_reset_button_pressed(images: Path, tmp_path: Path) -> None:
    with Machine(images, tmp_path, PLAIN) as machine:
        machine.start()
        machine.reset()
        assert machine.is_running
        assert machine.wait_end(0.0) is None
        machine.kill()
        assert not machine.is_running
        assert machine.wait_end(0.0) == "off"
        with pytest.raises(MachineError, match="off"):
            machine.reset()


def test_a_guest_that_never_answers_is_waited_for_until_the_deadline(
    images: Path, tmp_path: Path
) -> None:
    with Machine(images, tmp_path, PLAIN) as machine:
        machine.start()
        assert not machine.wait_control(0.2)
        assert machine.is_running


def test_a_machine_that_ends_is_not_waited_for(images: Path, tmp_path: Path) -> None:
    """The wait ends when QEMU does, long before the deadline."""
    answers: list[bool] = []
    with Machine(images, tmp_path, PLAIN) as machine:
        machine.start()
        waiter = threading.Thread(target=lambda: answers.append(machine.wait_control(600)))
        waiter.start()
        assert machine._qmp is not None
        machine._qmp.execute("quit")
        waiter.join(60)
        assert answers == [False]
        assert machine.wait_end(30) == "host-qmp-quit"


def test_an_image_is_never_written_and_a_disk_can_be_altered(images: Path, tmp_path: Path) -> None:
    def mark(disk: Path) -> None:
        with disk.open("r+b") as file:
            file.seek(1 << 20)
            file.write(MARK)

    with Machine(images, tmp_path, PLAIN) as machine:
        machine.alter(mark)
        command = ["qemu-io", "-f", "qcow2", "-c", "write -P 0x41 2M 4k"]
        run([*command, str(tmp_path / "disk0.qcow2")])
        machine.alter(lambda disk: None)
        run(["qemu-img", "convert", "-O", "raw", str(tmp_path / "disk0.qcow2"), "all.img"],
            cwd=tmp_path)  # fmt: skip
        data = (tmp_path / "all.img").read_bytes()
        assert data[1 << 20 :].startswith(MARK)
        assert data[2 << 20 :].startswith(b"AAAA")
        machine.start()
        with pytest.raises(MachineError, match="running"):
            machine.alter(mark)
    assert (images / "ainos.img").read_bytes() == bytes(DISK_BYTES)


def test_nothing_is_left_behind(images: Path, tmp_path: Path) -> None:
    with Machine(images, tmp_path, PLAIN) as machine:
        machine.start()
        sockets = machine.socket("control").parent
        assert (tmp_path / "control.sock").resolve() == machine.socket("control").resolve()
    assert not machine.is_running
    assert not sockets.exists()
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".sock", ".qcow2", ".img")]
    assert (tmp_path / "console.log").exists()


def test_sockets_are_short_however_deep_the_checkout_lies(images: Path, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name-of-a-directory"] * 5)
    with Machine(images, deep, PLAIN) as machine:
        machine.start()
        assert len(str(machine.socket("control"))) < 108 < len(str(deep / "control.sock"))


def test_two_machines_do_not_share_a_directory(images: Path, tmp_path: Path) -> None:
    with (
        Machine(images, tmp_path, PLAIN),
        pytest.raises(MachineError, match="another machine is using"),
        Machine(images, tmp_path, PLAIN),
    ):
        pass


def test_what_qemu_complains_of_is_said(images: Path, tmp_path: Path) -> None:
    with (
        Machine(images, tmp_path, replace(PLAIN, is_direct=True)) as machine,
        pytest.raises(MachineError, match=r"(?s)QEMU did not start: .*kernel"),
    ):
        machine.start()


def test_a_gpu_that_is_not_there_is_named_before_anything_starts(
    images: Path, tmp_path: Path
) -> None:
    machine = Machine(images, tmp_path, PLAIN, gpu="ffff:ff:1f.7")
    with pytest.raises(PassthroughError, match=r"there is no PCI device ffff:ff:1f\.7"), machine:
        pass
    assert machine._accelerator is Accelerator.TCG


def test_a_child_ends_with_the_script_that_started_it(tmp_path: Path) -> None:
    """Killed outright, a script can tidy nothing up; the kernel does."""
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from lib.process import spawn\n"
        "print(spawn(['sleep', '600'], Path(sys.argv[2])).pid, flush=True); time.sleep(600)\n"
    )
    arguments = [sys.executable, "-c", program, str(REPOSITORY / "scripts"), str(tmp_path / "log")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout is not None
        child = int(script.stdout.readline())
        # Once it is called sleep, the order to die with its parent is given.
        name = Path(f"/proc/{child}/comm")
        assert wait_until(lambda: name.read_text() == "sleep\n", 30)
        script.kill()
    assert wait_until(lambda: not is_alive(child), 30)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_that_will_not_end_is_ended(tmp_path: Path) -> None:
    deaf = (
        "import signal; signal.signal(15, signal.SIG_IGN)\n"
        "print('deaf', flush=True); signal.pause()"
    )
    child = spawn([sys.executable, "-c", deaf], tmp_path / "log")
    assert wait_until(lambda: (tmp_path / "log").read_text() == "deaf\n", 30)
    end(child, patience_s=0.1)
    assert child.returncode == -9
    assert not os.path.exists(f"/proc/{child.pid}")
