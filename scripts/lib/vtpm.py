"""A software TPM of one machine: its state, its manufacturer and its process.

Each machine gets a TPM of its own with an endorsement key, and a certificate for that key from a
certification authority that exists for this machine only. `trust_roots` is what a verifier trusts,
as it would trust the vendors of chips. The state survives a power cycle, as a chip's does.

    tpm = SoftwareTpm(directory, socket); tpm.manufacture(); tpm.start(); …; tpm.stop()
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from lib.host import HostError, run
from lib.process import end, listens, spawn, wait_until
from lib.slow_tpm import SlowTpm

SETUP_DEADLINE_S = 60
START_DEADLINE_S = 10


class SoftwareTpm:
    """swtpm with its state in ``directory``, to be reached over the Unix socket ``socket``; every
    command takes ``delay_s`` longer.
    """

    def __init__(self, directory: Path, socket: Path, delay_s: float = 0.0) -> None:
        self._directory = directory.absolute()
        self._front = socket
        self._socket = socket.with_suffix(".swtpm") if delay_s else socket
        self._delay_s = delay_s
        self._proxy: SlowTpm | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def trust_roots(self) -> Path:
        """PEM: the certificates that endorsement keys of this manufacturer lead to."""
        return self._directory / "trust-roots.pem"

    def manufacture(self) -> None:
        """Make the TPM: seeds, RSA and ECC endorsement keys with certificates, SHA-256 PCRs."""
        state, authority = self._directory / "state", self._directory / "authority"
        for folder in (state, authority):
            folder.mkdir(parents=True)
        authority_conf = self._directory / "localca.conf"
        authority_conf.write_text(
            f"statedir = {authority}\n"
            f"signingkey = {authority}/signkey.pem\n"
            f"issuercert = {authority}/issuercert.pem\n"
            f"certserial = {authority}/certserial\n"
        )
        options = self._directory / "localca.options"
        options.write_text(
            "--platform-manufacturer AINOS\n--platform-version 1\n--platform-model emulated\n"
        )
        conf = self._directory / "setup.conf"
        conf.write_text(
            "create_certs_tool = /usr/bin/swtpm_localca\n"
            f"create_certs_tool_config = {authority_conf}\n"
            f"create_certs_tool_options = {options}\n"
            "active_pcr_banks = sha256\n"
        )
        run(
            [
                *("swtpm_setup", "--tpm2", "--tpmstate", str(state), "--config", str(conf)),
                *("--create-ek-cert", "--create-platform-cert", "--pcr-banks", "sha256"),
                *("--logfile", str(self._directory / "setup.log")),
            ],
            timeout=SETUP_DEADLINE_S,
        )
        chain = ("swtpm-localca-rootca-cert.pem", "issuercert.pem")
        self.trust_roots.write_bytes(b"".join((authority / name).read_bytes() for name in chain))

    def start(self) -> None:
        """Power it up. It ends by itself when the machine that is connected to it ends."""
        if not (self._directory / "state" / "tpm2-00.permall").exists():
            raise HostError(f"{self._directory}: this TPM has not been manufactured")
        self._socket.unlink(missing_ok=True)
        self._process = spawn(
            [
                *("swtpm", "socket", "--tpm2", "--terminate"),
                *("--tpmstate", f"dir={self._directory / 'state'}"),
                *("--ctrl", f"type=unixio,path={self._socket},mode=0600"),
                *("--log", f"file={self._directory / 'swtpm.log'},level=1"),
            ],
            self._directory / "swtpm.out",
        )
        if not wait_until(self._has_settled, START_DEADLINE_S) or not listens(self._socket):
            self.stop()
            raise HostError(f"swtpm did not come up; see {self._directory}/swtpm.log")
        if self._delay_s:
            self._proxy = SlowTpm(self._front, self._socket, self._delay_s)
            self._proxy.start()

    def _has_settled(self) -> bool:
        is_over = self._process is None or self._process.poll() is not None
        return is_over or listens(self._socket)

    def stop(self) -> None:
        """Power it down; its state is on disk after every command."""
        if self._proxy is not None:
            self._proxy.stop()
            self._proxy = None
        if self._process is not None:
            end(self._process)
            self._process = None
