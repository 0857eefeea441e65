"""Software MakeCredential against the TPM and against tpm2_makecredential."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.attest.credential import derive, make_credential
from ainit.attest.keys import rsa_key
from ainit.attest.quote import AttestationTpm
from ainit.attest.tpms import MalformedError, parse_public
from ainit.errors import TpmError

from .swtpm import Swtpm

SECRET = bytes(range(32))
SEED = bytes(range(100, 132))


def test_the_tpm_recovers_the_secret(tpm: Swtpm) -> None:
    with AttestationTpm(tpm.tcti) as device:
        name = parse_public(device.attestation_key()).name
        ek = rsa_key(parse_public(device.endorsement()[0]))
        for secret in (SECRET, b"short", b""):
            assert device.activate(*make_credential(ek, name, secret, SEED)) == secret


def test_the_tpm_refuses_a_credential_for_another_key(tpm: Swtpm) -> None:
    with AttestationTpm(tpm.tcti) as device:
        ek = rsa_key(parse_public(device.endorsement()[0]))
        with pytest.raises(TpmError, match="ActivateCredential"):
            device.activate(*make_credential(ek, b"\x00\x0b" + bytes(32), SECRET, SEED))
        # A refusal leaves nothing behind in a TPM without a resource manager.
        for _ in range(4):
            device.attestation_key()


@pytest.mark.parametrize("garbage", [b"\0\0", b"\0\x05short", b"\xff\xff", b"\0\x01"])
def test_garbage_is_an_error_of_ours(tpm: Swtpm, garbage: bytes) -> None:
    with AttestationTpm(tpm.tcti) as device, pytest.raises(TpmError):
        device.activate(garbage, garbage)


def test_tpm2_makecredential_agrees(tpm: Swtpm, tmp_path: Path) -> None:
    with AttestationTpm(tpm.tcti) as device:
        name = parse_public(device.attestation_key()).name
        (tmp_path / "ek.pub").write_bytes(device.endorsement()[0])
    (tmp_path / "secret").write_bytes(SECRET)
    tpm.tool(
        *("tpm2_makecredential", "-Q", "-u", "ek.pub", "-s", "secret", "-n", name.hex()),
        *("-o", "blob"),
        cwd=tmp_path,
    )
    blob = (tmp_path / "blob").read_bytes()
    # Its file: magic and version (8 bytes), TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET.
    size = 10 + int.from_bytes(blob[8:10], "big")
    with AttestationTpm(tpm.tcti) as device:
        assert device.activate(blob[8:size], blob[size:]) == SECRET


def test_derivation_separates_labels_and_contexts() -> None:
    keys = {
        derive(SEED, b"STORAGE", b"one", 128),
        derive(SEED, b"STORAGE", b"two", 128),
        derive(SEED, b"INTEGRITY", b"one", 128),
    }
    assert len(keys) == 3
    assert all(len(key) == 16 for key in keys)


@pytest.mark.parametrize(("secret", "seed"), [(bytes(33), SEED), (SECRET, bytes(31))])
def test_wrong_sizes_are_a_mistake_of_the_caller(tpm: Swtpm, secret: bytes, seed: bytes) -> None:
    with AttestationTpm(tpm.tcti) as device:
        ek = rsa_key(parse_public(device.endorsement()[0]))
        with pytest.raises(ValueError, match="32"):
            make_credential(ek, b"name", secret, seed)


def test_an_ak_is_no_key_to_encrypt_for(tpm: Swtpm) -> None:
    with AttestationTpm(tpm.tcti) as device:
        public = parse_public(device.attestation_key())
    with pytest.raises(MalformedError):
        rsa_key(public)
