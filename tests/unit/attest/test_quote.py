"""The TPM's part, and unmodified tpm2-tools on the same files. EMULATED: the TPM is swtpm."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from ainit.attest import pcrs
from ainit.attest.credential import make_credential
from ainit.attest.directory import save_evidence
from ainit.attest.enrol import Enrolment
from ainit.attest.keys import rsa_key
from ainit.attest.quote import AK_HANDLE, AttestationTpm
from ainit.attest.tpms import parse_public, parse_quote
from ainit.errors import TpmError

from .machine import Machine
from .swtpm import Swtpm

Honest = tuple[Machine, Enrolment]
CHECKQUOTE = (
    *("tpm2_checkquote", "-u", "ak.pem", "-m", "quote.msg", "-s", "quote.sig"),
    *("-f", "quote.pcrs", "-g", "sha256", "-q", "nonce"),
)


def checkquote(directory: Path) -> int:
    done = subprocess.run(CHECKQUOTE, cwd=directory, capture_output=True, timeout=30, check=False)
    return done.returncode


def test_unmodified_checkquote_accepts_the_files(honest: Honest, tmp_path: Path) -> None:
    save_evidence(tmp_path, honest[1].evidence)
    assert checkquote(tmp_path) == 0


@pytest.mark.parametrize("name", ["ak.pem", "quote.msg", "quote.sig", "quote.pcrs", "nonce"])
def test_checkquote_and_the_verifier_agree_on_altered_files(
    honest: Honest, tmp_path: Path, name: str
) -> None:
    save_evidence(tmp_path, honest[1].evidence)
    data = bytearray((tmp_path / name).read_bytes())
    data[-40 if name == "ak.pem" else len(data) // 2] ^= 1
    if name == "quote.pcrs":
        data[150] ^= 1
    (tmp_path / name).write_bytes(data)
    assert checkquote(tmp_path) != 0


def test_sha256sum_reads_the_list(honest: Honest, tmp_path: Path) -> None:
    save_evidence(tmp_path, honest[1].evidence)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path,
        capture_output=True,
        timeout=30,
        check=True,
    )


def test_the_pcr_file_is_byte_for_byte_tpm2_quotes(machine: Machine, tmp_path: Path) -> None:
    tpm = machine.tpm
    numbers = ",".join(map(str, pcrs.QUOTED))
    tpm.tool("tpm2_flushcontext", "-t")
    tpm.tool(
        *("tpm2_createprimary", "-Q", "-C", "e", "-G", "ecc256:ecdsa-sha256:null", "-c", "ak.ctx"),
        "-a",
        "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda",
        cwd=tmp_path,
    )
    tpm.tool("tpm2_flushcontext", "-t")
    tpm.tool(
        *("tpm2_quote", "-Q", "-c", "ak.ctx", "-l", f"sha256:{numbers}", "-q", "00" * 16),
        *("-m", "msg", "-s", "sig", "-o", "pcrs", "-g", "sha256"),
        cwd=tmp_path,
    )
    tpm.tool("tpm2_readpublic", "-Q", "-c", "ak.ctx", "-o", "pub", cwd=tmp_path)
    tpm.tool("tpm2_flushcontext", "-t")
    enrolment = machine.enrol()
    assert (tmp_path / "pcrs").read_bytes() == enrolment.evidence.quote_pcrs
    assert (tmp_path / "pub").read_bytes() == enrolment.evidence.ak_pub  # the same key, too


def test_keys_are_the_same_after_a_restart_of_the_tpm(tpm: Swtpm) -> None:
    keys = []
    for _ in range(2):
        tpm.power_off()
        tpm.power_on()
        with AttestationTpm(tpm.tcti) as device:
            keys.append((device.attestation_key(), device.endorsement()))
    assert keys[0] == keys[1]


def test_the_ek_is_the_same_with_and_without_a_persistent_one() -> None:
    with Swtpm() as other:
        with AttestationTpm(other.tcti) as device:
            kept = device.endorsement()
        other.tool("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "0x81010001")
        with AttestationTpm(other.tcti) as device:
            assert device.endorsement() == kept
            name = parse_public(device.attestation_key()).name
            blob = make_credential(rsa_key(parse_public(kept[0])), name, bytes(32), bytes(32))
            assert device.activate(*blob) == bytes(32)


def test_another_key_at_the_eks_place_is_not_taken_for_it(tmp_path: Path) -> None:
    with Swtpm() as other:
        with AttestationTpm(other.tcti) as device:
            kept = device.endorsement()
        other.tool("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "0x81010001")
        other.tool("tpm2_createprimary", "-Q", "-C", "o", "-c", "other.ctx", cwd=tmp_path)
        other.tool(
            *("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "other.ctx", "0x81010001"), cwd=tmp_path
        )
        other.tool("tpm2_flushcontext", "-t")
        with AttestationTpm(other.tcti) as device:
            assert device.endorsement() == kept


def test_a_tpm_without_a_certificate_has_none() -> None:
    with Swtpm() as other:
        other.tool("tpm2_nvundefine", "-C", "p", "0x01c00002")
        with AttestationTpm(other.tcti) as device:
            assert device.endorsement()[1] == b""


def test_two_tpms_have_two_keys(tpm: Swtpm) -> None:
    with Swtpm() as other, AttestationTpm(other.tcti) as device:
        theirs = device.attestation_key(), device.endorsement()
    with AttestationTpm(tpm.tcti) as device:
        assert device.attestation_key() != theirs[0]
        assert device.endorsement()[0] != theirs[1][0]


def test_nothing_stays_in_the_tpm(tpm: Swtpm) -> None:
    with AttestationTpm(tpm.tcti) as device:
        for _ in range(5):  # a TPM without a resource manager holds three objects
            device.quote(bytes(16), (0,))
            device.endorsement()
    assert tpm.tool("tpm2_getcap", "handles-transient") == ""


def test_values_are_those_that_pid_1_reads(machine: Machine) -> None:
    with AttestationTpm(machine.tpm.tcti) as device:
        assert device.pcr_values(pcrs.QUOTED) == machine.tpm.tpm().read(pcrs.QUOTED)


def test_a_quote_over_no_pcr(tpm: Swtpm) -> None:
    with AttestationTpm(tpm.tcti) as device:
        message, _ = device.quote(bytes(32), ())
        assert parse_quote(message).selections == ()
        assert parse_quote(message).signer == parse_public(device.attestation_key()).primary_name


def test_no_tpm_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(TpmError, match="no TPM"):
        AttestationTpm(f"swtpm:path={tmp_path}/nobody")


def test_data_is_bound_in_a_pcr_that_software_resets(honest: Honest) -> None:
    with AttestationTpm(honest[0].tpm.tcti) as tpm:
        for letter in (b"a", b"b"):  # the second time as if there had been no first
            tpm.bind(16, letter * 32)
            expected = hashlib.sha256(bytes(32) + letter * 32).digest()
            assert tpm.pcr_values([16]) == {16: expected}


def test_a_pcr_of_the_boot_cannot_be_bound_anew(honest: Honest) -> None:
    with AttestationTpm(honest[0].tpm.tcti) as tpm:
        before = tpm.pcr_values([14])
        with pytest.raises(TpmError):
            tpm.bind(14, bytes(32))
        assert tpm.pcr_values([14]) == before


def persistent(tpm: Swtpm) -> list[int]:
    said = tpm.tool("tpm2_getcap", "handles-persistent")
    return [int(word, 16) for word in said.split() if word.startswith("0x")]


def test_the_attestation_key_is_kept_and_is_the_same(machine: Machine) -> None:
    tpm = machine.tpm
    if AK_HANDLE in persistent(tpm):
        tpm.tool("tpm2_evictcontrol", "-Q", "-C", "o", "-c", hex(AK_HANDLE))
    with machine.attestation_tpm() as made:
        public = made.attestation_key()
    assert AK_HANDLE in persistent(tpm)
    assert tpm.tool("tpm2_getcap", "handles-transient").strip() == ""
    with machine.attestation_tpm() as again:
        assert again.attestation_key() == public
        assert (
            parse_quote(again.quote(bytes(32), ())[0]).signer == parse_public(public).primary_name
        )
    assert tpm.tool("tpm2_getcap", "handles-transient").strip() == ""


def test_another_key_at_its_place_is_not_used(tmp_path: Path) -> None:
    """It looks like the AK, and hangs below another hierarchy: a verifier would refuse it."""
    with Swtpm() as tpm:
        tpm.tool(
            *("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc256:ecdsa-sha256:null", "-c", "k"),
            *("-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda"),
            cwd=tmp_path,
        )
        tpm.tool("tpm2_evictcontrol", "-Q", "-C", "o", "-c", "k", hex(AK_HANDLE), cwd=tmp_path)
        tpm.tool("tpm2_flushcontext", "-t")
        with AttestationTpm(tpm.tcti) as used:
            public = used.attestation_key()
            assert parse_quote(used.quote(bytes(32), ())[0]).signer == (
                parse_public(public).primary_name
            )
        tpm.tool("tpm2_readpublic", "-Q", "-c", hex(AK_HANDLE), "-o", "pub", cwd=tmp_path)
        assert (tmp_path / "pub").read_bytes() != public
        assert tpm.tool("tpm2_getcap", "handles-transient").strip() == ""


def test_an_owner_with_a_password_keeps_his_handles() -> None:
    with Swtpm() as tpm:
        tpm.tool("tpm2_changeauth", "-c", "o", "secret")
        with AttestationTpm(tpm.tcti) as used:
            public = used.attestation_key()
            assert parse_quote(used.quote(bytes(32), ())[0]).nonce == bytes(32)
        with AttestationTpm(tpm.tcti) as used:
            assert used.attestation_key() == public
        assert AK_HANDLE not in persistent(tpm)
        assert tpm.tool("tpm2_getcap", "handles-transient").strip() == ""
