"""A software TPM for tests: swtpm in a process of its own, with an EK certificate of a private CA.

EMULATED: what is shown with it holds for the protocol, not for a chip.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ainit.linux.tpm import Tpm

DEADLINE = 30.0


class Swtpm:
    """One TPM. Leaving the ``with`` block ends its process and removes its state."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="swtpm-"))
        self._socket = self._directory / "tpm"
        self._process: subprocess.Popen[bytes] | None = None
        state = self._directory / "state"
        state.mkdir()
        self._run(
            "swtpm_setup",
            *("--tpm2", "--tpmstate", str(state), "--create-ek-cert", "--pcr-banks", "sha256,sha1"),
            *("--config", str(self._authority())),
        )

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.power_off()
        shutil.rmtree(self._directory)

    def _authority(self) -> Path:
        """The configuration of a certificate authority that nobody else shares."""
        place = self._directory
        (place / "options").write_text("--platform-manufacturer test\n--platform-version 1\n")
        (place / "localca").write_text(
            f"statedir = {place}\nsigningkey = {place}/sign.pem\n"
            f"issuercert = {place}/issuer.pem\ncertserial = {place}/serial\n"
        )
        setup = place / "setup"
        setup.write_text(
            f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config = {place}/localca\n"
            f"create_certs_tool_options = {place}/options\n"
        )
        return setup

    @property
    def directory(self) -> Path:
        """Where its state lies, and what tests put beside it."""
        return self._directory

    @property
    def manufacturers(self) -> bytes:
        """The certificate that issued the EK's (PEM)."""
        return (self._directory / "issuer.pem").read_bytes()

    @property
    def tcti(self) -> str:
        """The TSS transport string."""
        return f"swtpm:path={self._socket}"

    def power_on(self) -> None:
        """Start the process; PCRs begin at zero, and the reset counter moves."""
        with self._listen("tpm") as data, self._listen("tpm.ctrl") as control:
            self._process = subprocess.Popen(
                [
                    *("swtpm", "socket", "--tpm2", "--seccomp", "action=none"),
                    *("--tpmstate", f"dir={self._directory}/state"),
                    *("--server", f"type=unixio,fd={data.fileno()}"),
                    *("--ctrl", f"type=unixio,fd={control.fileno()}"),
                    *("--flags", "not-need-init,startup-clear"),
                ],
                pass_fds=[data.fileno(), control.fileno()],
                stderr=subprocess.DEVNULL,
            )

    def _listen(self, name: str) -> socket.socket:
        """A listening socket to hand over, so that nobody has to wait for the process."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._directory / name))
        listener.listen()
        return listener

    def power_off(self) -> None:
        """End the process, as a power cut would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE)
            self._process = None
        for name in ("tpm", "tpm.ctrl"):
            (self._directory / name).unlink(missing_ok=True)

    def tpm(self) -> Tpm:
        """The TPM as PID 1 drives it."""
        return Tpm(transmit=self._transmit)

    @contextmanager
    def connection(self) -> Iterator[Callable[[bytes], bytes]]:
        """Sends commands, one after the other; swtpm serves nobody else meanwhile."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(DEADLINE)
            channel.connect(str(self._socket))

            def send(command: bytes) -> bytes:
                channel.sendall(command)
                return channel.recv(4096)

            yield send

    def _transmit(self, command: bytes) -> bytes:
        with self.connection() as send:
            return send(command)

    def tool(self, *command: str, cwd: Path | None = None) -> str:
        """Run an unmodified tpm2-tools program on this TPM and return what it prints."""
        return self._run(*command, "--tcti", self.tcti, cwd=cwd)

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE, cwd=cwd, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout
