"""The raw TPM commands, against swtpm (EMULATED: no chip) and the fake that other tests use.

Both must meet the same expectations, so that the fake cannot drift from a TPM.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from lib.process import listens

from ainit.errors import TpmError
from ainit.linux.tpm import Tpm, extend_command, read_command
from ainit.policy import phases
from tests.support.tpm import PcrBank
from tests.support.wait import wait_for

Transmit = Callable[[bytes], bytes]
DIGESTS = [sha256(bytes([number])).digest() for number in range(4)]


class Swtpm:
    """swtpm on a Unix socket, with PCRs at zero."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "tpm"
        self._process = subprocess.Popen(
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}"),
                *("--server", f"type=unixio,path={self.socket}"),
                *("--ctrl", f"type=unixio,path={self.socket}.ctrl"),
                *("--flags", "not-need-init,startup-clear", "--seccomp", "action=none"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_for(lambda: listens(self.socket), "swtpm")

    def transmit(self, command: bytes) -> bytes:
        """One command on a connection of its own, so that tpm2-tools may come between."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(60)
            channel.connect(str(self.socket))
            channel.sendall(command)
            response = b""
            while len(response) < 6 or len(response) < int.from_bytes(response[2:6], "big"):
                part = channel.recv(4096)
                assert part, "swtpm closed the connection"
                response += part
            return response

    def pcrread(self, pcrs: str) -> dict[int, bytes]:
        """What tpm2_pcrread says."""
        done = subprocess.run(
            ["tpm2_pcrread", "--tcti", f"swtpm:path={self.socket}", f"sha256:{pcrs}"],
            check=True,
            capture_output=True,
            text=True,
        )
        found = {}
        for line in done.stdout.splitlines():
            name, _, value = line.partition(":")
            if name.strip().isdigit():
                found[int(name)] = bytes.fromhex(value.strip().removeprefix("0x"))
        return found

    def end(self) -> None:
        """Stop the process."""
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture
def swtpm() -> Iterator[Swtpm]:
    directory = Path(tempfile.mkdtemp(prefix="swtpm-"))
    tpm = Swtpm(directory)
    try:
        yield tpm
    finally:
        tpm.end()
        shutil.rmtree(directory)


@pytest.fixture(params=["swtpm", "fake"])
def transmit(request: pytest.FixtureRequest) -> Transmit:
    if request.param == "fake":
        return PcrBank().transmit
    tpm = request.getfixturevalue("swtpm")
    assert isinstance(tpm, Swtpm)
    return tpm.transmit


def test_pcrs_begin_at_zero(transmit: Transmit) -> None:
    tpm = Tpm(transmit=transmit)
    assert tpm.read(range(16)) == {pcr: bytes(32) for pcr in range(16)}


def test_an_extend_is_a_fold(transmit: Transmit) -> None:
    tpm = Tpm(transmit=transmit)
    expected = {12: bytes(32), 13: bytes(32), 14: bytes(32)}
    for pcr, digest in [(13, DIGESTS[0]), (13, DIGESTS[1]), (14, DIGESTS[2]), (13, DIGESTS[3])]:
        tpm.extend(pcr, digest)
        expected[pcr] = phases.fold(expected[pcr], digest)
    assert tpm.read(expected) == expected


def test_more_pcrs_than_one_answer_holds(transmit: Transmit) -> None:
    tpm = Tpm(transmit=transmit)
    tpm.extend(9, DIGESTS[0])
    values = tpm.read([15, 0, 1, 2, 3, 4, 5, 6, 7, 9, 14, 12, 13, 9])
    assert sorted(values) == [0, 1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14, 15]
    assert values[9] == phases.fold(bytes(32), DIGESTS[0])


def test_the_boot_set_leads_to_the_predicted_values(transmit: Transmit) -> None:
    tpm = Tpm(transmit=transmit)
    events = phases.boot_set(
        phases.measured("machine-config", "machine", "sha256:" + "00" * 32),
        [phases.measured("model", "speech", "sha256:" + "11" * 32)],
        [phases.refused("agent", "listener", "unsigned")],
    )
    for event in events:
        tpm.extend(event.pcr, event.digest)
    assert tpm.read(phases.LOGGED) == phases.predict(events)


def test_the_counters_of_a_boot(transmit: Transmit) -> None:
    resets, restarts = Tpm(transmit=transmit).counters()
    assert resets > 0
    assert restarts == 0


def test_a_pcr_that_does_not_exist_is_an_error(transmit: Transmit) -> None:
    with pytest.raises(TpmError, match="extend of PCR 99: the TPM answered with error 0x"):
        Tpm(transmit=transmit).extend(99, DIGESTS[0])


@pytest.mark.parametrize("command", [extend_command(13, DIGESTS[0]), read_command([1, 2, 3])])
def test_a_command_cut_short_is_an_error(transmit: Transmit, command: bytes) -> None:
    short = command[:-1]
    framed = short[:2] + len(short).to_bytes(4, "big") + short[6:]
    response = transmit(framed)
    assert int.from_bytes(response[6:10], "big") != 0


def test_tpm2_tools_see_the_same_values(swtpm: Swtpm) -> None:
    tpm = Tpm(transmit=swtpm.transmit)
    for pcr, digest in enumerate(DIGESTS, start=11):
        tpm.extend(pcr, digest)
    assert swtpm.pcrread("10,11,12,13,14") == tpm.read(range(10, 15))
