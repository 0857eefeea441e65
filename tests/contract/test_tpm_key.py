"""The machine's key on swtpm (EMULATED: no chip): what it signs, and when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from ainit.errors import TpmError
from ainit.linux.tpm_key import MachineKey, policy
from ainit.store.seal import TpmSeal
from tests.unit.attest.swtpm import Swtpm

LABEL = b"a use"
TEXT = b"what is signed"


@pytest.fixture(scope="module")
def running() -> Iterator[Swtpm]:
    with Swtpm() as tpm:
        yield tpm


@pytest.fixture
def tpm(running: Swtpm) -> Swtpm:
    """A TPM that was just started, with something in the PCRs of the boot."""
    running.power_off()
    running.power_on()
    for pcr in (4, 7, 9, 11):
        running.tpm().extend(pcr, sha256(b"%d" % pcr).digest())
    return running


def verify(point: tuple[int, int], signature: tuple[int, int], text: bytes = TEXT) -> None:
    key = ec.EllipticCurvePublicNumbers(*point, ec.SECP256R1()).public_key()
    key.verify(utils.encode_dss_signature(*signature), text, ec.ECDSA(hashes.SHA256()))


def sign(tpm: Swtpm, label: bytes = LABEL) -> tuple[tuple[int, int], tuple[int, int]]:
    with MachineKey(tpm.tpm(), label) as key:
        return key.point, key.sign(sha256(TEXT).digest())


def test_a_signature_holds_and_for_nothing_else(tpm: Swtpm) -> None:
    point, signature = sign(tpm)
    verify(point, signature)
    with pytest.raises(InvalidSignature):
        verify(point, signature, b"something else")


def test_the_key_is_the_same_after_a_reboot(tpm: Swtpm) -> None:
    before, signature = sign(tpm)
    tpm.power_off()
    tpm.power_on()
    for pcr in (4, 7, 9, 11):
        tpm.tpm().extend(pcr, sha256(b"%d" % pcr).digest())
    after, _ = sign(tpm)
    assert after == before
    verify(after, signature)


@pytest.mark.parametrize("pcr", [4, 7, 9, 11])
def test_another_boot_path_has_another_key(tpm: Swtpm, pcr: int) -> None:
    before, _ = sign(tpm)
    tpm.tpm().extend(pcr, bytes(32))
    after, _ = sign(tpm)
    assert after != before


def test_what_ainit_measures_leaves_the_key_alone(tpm: Swtpm) -> None:
    before, _ = sign(tpm)
    tpm.tpm().extend(13, bytes(32))
    assert sign(tpm)[0] == before


def test_another_use_has_another_key(tpm: Swtpm) -> None:
    assert sign(tpm)[0] != sign(tpm, b"another use")[0]


def test_the_key_of_another_boot_path_does_not_sign(tpm: Swtpm) -> None:
    """The attacker derives our key from our template, and the TPM refuses to use it."""
    with MachineKey(tpm.tpm(), LABEL) as key:
        tpm.tpm().extend(11, bytes(32))
        with pytest.raises(TpmError, match="TPM2_Sign: the TPM answered with error 0x"):
            key.sign(sha256(TEXT).digest())


def test_nothing_is_left_in_the_tpm(tpm: Swtpm) -> None:
    for _ in range(8):  # a TPM has room for three objects and three sessions
        sign(tpm)
    assert tpm.tool("tpm2_getcap", "handles-transient").strip() == ""
    assert tpm.tool("tpm2_getcap", "handles-loaded-session").strip() == ""


def test_nothing_is_left_after_a_refusal(tpm: Swtpm) -> None:
    for _ in range(8):
        with MachineKey(tpm.tpm(), LABEL) as key:
            tpm.tpm().extend(11, bytes(32))
            with pytest.raises(TpmError):
                key.sign(sha256(TEXT).digest())


def test_the_policy_is_the_one_that_tpm2_tools_computes(tpm: Swtpm) -> None:
    values = tpm.tpm().read((4, 7, 9, 11))
    tpm.tool("tpm2_startauthsession", "-S", "session.ctx", cwd=tpm.directory)
    shown = tpm.tool(
        "tpm2_policypcr", "-S", "session.ctx", "-l", "sha256:4,7,9,11", cwd=tpm.directory
    )
    tpm.tool("tpm2_flushcontext", "session.ctx", cwd=tpm.directory)
    assert policy(values).hex() == shown.strip()


def test_the_store_signs_what_it_admitted_with_it(tpm: Swtpm) -> None:
    seal = TpmSeal(tpm.tpm())
    signature = seal.make(TEXT)
    assert seal.holds(TEXT, signature)
    assert TpmSeal(tpm.tpm()).holds(TEXT, signature)
    assert not seal.holds(b"another statement", signature)
    for wrong in ("", "00", "no hexadecimal", signature[:-2], signature[2:]):
        assert not seal.holds(TEXT, wrong)


def test_after_an_update_the_store_signs_anew(tpm: Swtpm) -> None:
    signature = TpmSeal(tpm.tpm()).make(TEXT)
    tpm.tpm().extend(11, bytes(32))
    updated = TpmSeal(tpm.tpm())
    assert not updated.holds(TEXT, signature)
    assert updated.holds(TEXT, updated.make(TEXT))


def test_a_tpm_that_fails_leaves_it_unsigned(tpm: Swtpm) -> None:
    seal = TpmSeal(tpm.tpm())
    tpm.tool("tpm2_changeauth", "-c", "owner", "somebody")
    try:
        assert seal.make(TEXT) == ""
        with pytest.raises(TpmError):
            TpmSeal(tpm.tpm())
    finally:
        tpm.tool("tpm2_changeauth", "-c", "owner", "-p", "somebody")
