"""The machine that everything runs the image on: QEMU with its own TPM, and a way to talk to it.

The image is never written: disks are overlays, variable store and TPM are the machine's own, all
under its directory. They last as long as the context, over power cycles and resets, so a second
`start` is the second boot of the same machine. Every wait has a deadline, and leaving the context
ends what was started; so does the death of this process.

    with Machine(BUILD / "image", BUILD / "run") as machine:
        machine.start()
        if machine.wait_control(300):
            print(machine.call("org.ainos.Control.Status"))
            machine.power_off()
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from ainit.child.client import Client
from ainit.errors import AinosError
from ainit.ota.pe import Image
from lib import accelerator, qemu
from lib.accelerator import Accelerator
from lib.console import Console
from lib.control_line import ControlLine
from lib.disks import Disks
from lib.host import BUILD, HostError
from lib.passthrough import Passthrough
from lib.process import end, spawn, wait_until
from lib.qemu import Files, Hardware
from lib.qmp import Qmp, QmpError
from lib.variant import architecture_of
from lib.vfio import PciHost
from lib.vtpm import SoftwareTpm

if TYPE_CHECKING:
    from lib.tamper import Tamper

UP_DEADLINE_S = 20.0
CALL_DEADLINE_S = 60.0
END_DEADLINE_S = 90.0
LINKED_SOCKETS = ("control", "shell", "qmp")
# What the firmware says when it found nothing that it may start, or when a loader crashed.
GIVEN_UP = r"BdsDxe: No bootable option|!!!! X64 Exception Type|Synchronous Exception at"


class MachineError(HostError):
    """The machine cannot be started, ended, or does not do what it was told in time."""


class Machine:
    """One machine with the image in the folder ``image`` and its own files under ``directory``.

    Its processor is the one that the image is for. ``fault`` changes this machine's disk and
    hardware before the first start. ``gpu`` is the PCI address of a host GPU to pass through.
    ``echo`` shows the console while it is saved.
    """

    def __init__(
        self,
        image: Path,
        directory: Path,
        hardware: Hardware | None = None,
        *,
        fault: Tamper | None = None,
        gpu: str = "",
        echo: TextIO | None = None,
    ) -> None:
        self.image = image.absolute()
        architecture = architecture_of(self.image)
        hardware = replace(hardware or Hardware(), architecture=architecture)
        self.hardware = fault.hardware(hardware) if fault else hardware
        self.directory = directory.absolute()
        self.console: Console | None = None
        self._fault = fault
        self._echo = echo
        self._accelerator = accelerator.choose(architecture)
        host = PciHost(runs_kvm=self._accelerator is Accelerator.KVM)
        self._gpu = Passthrough(gpu, BUILD / "passthrough", host) if gpu else None
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self.directory / "machine.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise MachineError(f"another machine is using {self.directory}") from error
        self._files = Files(self.directory, Path(tempfile.mkdtemp(prefix="ainos-")))
        self._line = ControlLine(self._files.socket("control"))
        self._disks = Disks(self._files, self.image / "ainos.img")
        self._tpm = SoftwareTpm(
            self.directory / "tpm", self._files.socket("tpm"), self.hardware.tpm_delay_s
        )
        try:
            self._build()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._release()

    def _release(self) -> None:
        try:
            if self._gpu:
                self._gpu.give_back()
        finally:
            self._disks.remove()
            self._unlink()
            shutil.rmtree(self._files.sockets)
            self._lock.close()

    def _unlink(self) -> None:
        for name in LINKED_SOCKETS:
            (self.directory / f"{name}.sock").unlink(missing_ok=True)

    def _build(self) -> None:
        """Make the parts: disks, variable store, TPM."""
        if self._gpu:
            self._gpu.take()
            self.hardware = replace(self.hardware, gpu=self._gpu.address)
        self._disks.attach(self.hardware.disks, self.hardware.disk_gib)
        (self.directory / "console.log").unlink(missing_ok=True)
        if self.hardware.is_direct:
            self._files.kernel.write_bytes(self._uki_section(".linux"))
        else:
            shutil.copyfile(self.image / self.hardware.architecture.store, self._files.variables)
        if self.hardware.has_tpm:
            shutil.rmtree(self.directory / "tpm", ignore_errors=True)
            self._tpm.manufacture()
        self._unlink()
        for name in LINKED_SOCKETS:
            (self.directory / f"{name}.sock").symlink_to(self._files.socket(name))
        if self._fault and self._fault.edit:
            self._disks.alter(self._fault.edit)

    def _uki_section(self, name: str) -> bytes:
        return Image((self.image / "uki.efi").read_bytes()).sections[name]

    @property
    def accelerator(self) -> str:
        """How the guest's instructions are run: ``kvm`` or ``tcg``."""
        return self._accelerator.value

    @property
    def tpm_root(self) -> Path:
        """PEM: the TPM manufacturer's certificates, which a verifier trusts."""
        return self._tpm.trust_roots

    @property
    def is_running(self) -> bool:
        """Whether QEMU runs, whatever the guest does."""
        return self._process is not None and self._process.poll() is None

    def socket(self, name: str) -> Path:
        """The short path of the socket ``control``, ``shell`` or ``qmp``."""
        return self._files.socket(name)

    def alter(self, edit: Callable[[Path], None]) -> None:
        """Let ``edit`` change the system disk, as a raw image, while the machine is off."""
        if self.is_running:
            raise MachineError("a running machine's disk is not changed")
        self._disks.alter(edit)

    def start(self) -> None:
        """Switch the machine on. Raises MachineError when QEMU cannot start it."""
        if self.is_running:
            raise MachineError("the machine runs already")
        if self.hardware.has_tpm:
            self._tpm.start()
        self._files.socket("qmp").unlink(missing_ok=True)
        cmdline = self._uki_section(".cmdline").decode() if self.hardware.is_direct else ""
        arguments = qemu.command(self.hardware, self._files, self._accelerator, cmdline)
        log = self.directory / "qemu.log"
        log.unlink(missing_ok=True)
        self._process = spawn(arguments, log, piped=True)
        assert self._process.stdout is not None  # it is a pipe
        self.console = Console(self._process.stdout, self.directory / "console.log", self._echo)
        wait_until(lambda: self._is_attached() or not self.is_running, UP_DEADLINE_S)
        if self._qmp is None:
            self.kill()
            raise MachineError(f"QEMU did not start: {log.read_text().strip()}")

    def _is_attached(self) -> bool:
        """Whether QEMU answers: its socket has a name a moment before it listens there."""
        try:
            self._qmp = Qmp(self._files.socket("qmp"))
        except QmpError:
            return False
        return True

    @property
    def is_stuck(self) -> bool:
        """Whether the firmware has given up: it then waits for a key for ever."""
        return self.console is not None and self.console.first(GIVEN_UP) is not None

    def wait_control(self, deadline_s: float) -> bool:
        """Wait until the control socket answers. False when the machine ends or is stuck, and at
        the deadline."""
        return self._line.wait(deadline_s, lambda: self.is_running and not self.is_stuck)

    def client(self, deadline_s: float = CALL_DEADLINE_S) -> AbstractContextManager[Client]:
        """The one connection to the control socket; each call on it is bounded by the deadline."""
        return self._line.client(deadline_s)

    def call(
        self,
        method: str,
        parameters: Mapping[str, object] | None = None,
        deadline_s: float = CALL_DEADLINE_S,
    ) -> dict[str, Any]:
        """One call on the control socket. Raises as `ainit.child.client.Client` does."""
        with self.client(deadline_s) as client:
            return client.call(method, parameters)

    def disconnect(self) -> None:
        """Leave the control socket to somebody else."""
        self._line.close()

    def power_off(self, deadline_s: float = END_DEADLINE_S) -> None:
        """Shut down in order. Raises MachineError when the machine is not off by the deadline."""
        # The machine may be gone before its answer is through.
        with suppress(AinosError):
            self.call("org.ainos.Control.Shutdown")
        if self.wait_end(deadline_s) is None:
            raise MachineError(f"the machine is not off after {deadline_s:.0f} s")

    def wait_end(self, deadline_s: float | None = None) -> str | None:
        """Wait until the machine has ended, and return why in QEMU's words (``guest-shutdown``,
        ``guest-reset``, …). None when it still runs at the deadline."""
        if self._process is None:
            return "off"
        self.disconnect()
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return None
        reasons = [event["data"]["reason"] for event in self._events("SHUTDOWN")]
        self._end()
        return reasons[-1] if reasons else "ended"

    def kill(self) -> None:
        """Cut the power."""
        self.disconnect()
        if self._process is not None:
            end(self._process, patience_s=0)
            self._end()

    def reset(self) -> None:
        """Press the reset button: the machine boots again, with the state it had on its disk."""
        if self._qmp is None:
            raise MachineError("the machine is off")
        self.disconnect()
        self._qmp.execute("set-action", reboot="reset")
        before = len(self._events("RESET"))
        self._qmp.execute("system_reset")
        if not wait_until(lambda: len(self._events("RESET")) > before, UP_DEADLINE_S):
            raise MachineError("QEMU did not reset the machine")
        if not self.hardware.may_restart:
            self._qmp.execute("set-action", reboot="shutdown")

    def _events(self, name: str) -> list[dict[str, Any]]:
        if self._qmp is None:
            return []
        self._qmp.drain()
        return [event for event in self._qmp.events if event["event"] == name]

    def _end(self) -> None:
        """Tidy up behind a QEMU that has ended."""
        self._process = None
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        if self.console is not None:
            self.console.close()
        self._tpm.stop()
