from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from ainit.attest import pcrs
from ainit.attest.evidence import from_wire
from ainit.attest.quote import AttestationTpm
from ainit.attest.service import Attestation, Sources, collect
from ainit.errors import TpmError
from ainit.policy import phases
from ainit.wire.protocol import VarlinkError

from .forger import Forger, forger, select
from .machine import Machine

NONCE = bytes(range(32))


def test_evidence_holds_every_file(machine: Machine) -> None:
    reply = Attestation(machine.sources).evidence({"nonce": NONCE.hex()})
    evidence = from_wire(reply["files"])
    assert evidence.nonce == NONCE
    assert evidence.log_cel == machine.log.read_bytes()
    assert evidence.firmware_log == machine.firmware_log.read_bytes()
    assert evidence.sums == evidence.listing()


@pytest.mark.parametrize("nonce", [None, 7, "", "xyz", "00" * 15, "00" * 65, "0" * 33])
def test_a_nonce_is_16_to_64_bytes(machine: Machine, nonce: object) -> None:
    with pytest.raises(VarlinkError) as caught:
        Attestation(machine.sources).evidence({"nonce": nonce})
    assert caught.value.name == "org.varlink.service.InvalidParameter"
    assert caught.value.parameters == {"parameter": "nonce"}


@pytest.mark.parametrize("size", [16, 64])
def test_nonces_of_every_size_are_quoted_whole(machine: Machine, size: int) -> None:
    enrolment = machine.enrol(bytes(range(size)))
    assert machine.judge(enrolment).accepted


@pytest.mark.parametrize("method", ["evidence", "activate"])
def test_a_machine_without_a_tpm_says_so(tmp_path: Path, method: str) -> None:
    absent = Attestation(Sources(device=str(tmp_path / "tpmrm0")))
    parameters = {"nonce": NONCE.hex(), "credential": "0000", "secret": "0000"}
    with pytest.raises(VarlinkError) as caught:
        getattr(absent, method)(parameters)
    assert caught.value.name == "org.ainos.Attest.NoTpm"
    assert "tpmrm0" in str(caught.value.parameters["reason"])


def test_a_tpm_that_cannot_be_reached_is_none(machine: Machine, tmp_path: Path) -> None:
    gone = Attestation(replace(machine.sources, tcti=f"swtpm:path={tmp_path}/nobody"))
    with pytest.raises(VarlinkError) as caught:
        gone.evidence({"nonce": NONCE.hex()})
    assert caught.value.name == "org.ainos.Attest.NoTpm"


def test_what_the_tpm_refuses_is_a_named_error(machine: Machine) -> None:
    with pytest.raises(VarlinkError) as caught:
        Attestation(machine.sources).activate({"credential": "0000", "secret": "0000"})
    assert caught.value.name == "org.ainos.Attest.Failed"


def test_a_log_that_cannot_be_read_is_a_named_error(machine: Machine, tmp_path: Path) -> None:
    sources = replace(machine.sources, log=str(tmp_path))
    with pytest.raises(VarlinkError) as caught:
        Attestation(sources).evidence({"nonce": NONCE.hex()})
    assert caught.value.name == "org.ainos.Attest.Failed"


def test_a_missing_log_is_left_to_the_verifier(machine: Machine) -> None:
    machine.log.unlink()
    machine.firmware_log.unlink()
    verdict = machine.judge(machine.enrol())
    assert {f.subject for f in verdict.findings if f.code == "missing-file"} == {
        "log.cel",
        "firmware.log",
    }


class BusyTpm:
    """A TPM that is extended while it is read: each call of ``quote`` may come after an extend."""

    def __init__(self, log: Path, extends: int) -> None:
        self.values = dict.fromkeys(pcrs.QUOTED, bytes(32))
        self.log = log
        self.extends = extends
        self.key: Forger = forger()

    def attestation_key(self) -> bytes:
        return self.key.public

    def endorsement(self) -> tuple[bytes, bytes]:
        return b"", b""

    def pcr_values(self, _numbers: Iterable[int]) -> dict[int, bytes]:
        return dict(self.values)

    def quote(self, nonce: bytes, numbers: Iterable[int]) -> tuple[bytes, bytes]:
        if self.extends:
            self.extends -= 1
            event = phases.measured("model", f"late-{self.extends}", "sha256:" + "0" * 64)
            self.values[event.pcr] = phases.fold(self.values[event.pcr], event.digest)
            self.log.write_bytes(self.log.read_bytes() + b"one more\n")
        chosen = b"".join(self.values[pcr] for pcr in numbers)
        selection = (1).to_bytes(4, "big") + select(0x000B, tuple(numbers))
        message = self.key.attest(nonce, hashlib.sha256(chosen).digest(), selection)
        return message, self.key.sign(message)


@pytest.mark.parametrize("extends", [0, 1, 4])
def test_values_log_and_quote_are_of_one_moment(tmp_path: Path, extends: int) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    tpm = BusyTpm(log, extends)
    sources = Sources(log=str(log), firmware_log=str(tmp_path / "none"))
    evidence = collect(cast(AttestationTpm, tpm), sources, NONCE)
    assert pcrs.parse(evidence.quote_pcrs) == tpm.values
    assert evidence.log_cel == b"one more\n" * extends


def test_a_machine_that_never_rests_gives_no_evidence(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    sources = Sources(log=str(log), firmware_log=str(tmp_path / "none"))
    with pytest.raises(TpmError, match="changed during"):
        collect(cast(AttestationTpm, BusyTpm(log, 100)), sources, NONCE)
