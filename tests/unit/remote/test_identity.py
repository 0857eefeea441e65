"""The machine's certificate. EMULATED: the TPMs are swtpm."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ainit.attest import tss2
from ainit.attest.quote import AttestationTpm
from ainit.attest.tpms import parse_public
from ainit.errors import TpmError
from ainit.remote.identity import identity
from tests.unit.attest.swtpm import Swtpm


@pytest.fixture(scope="module")
def tpm() -> Iterator[Swtpm]:
    with Swtpm() as tpm:
        yield tpm


def made(path: Path, tpm: Swtpm) -> str:
    with AttestationTpm(tpm.tcti) as used:
        return identity(str(path), used)


def test_it_is_made_once_and_signed_by_its_own_key(tpm: Swtpm, tmp_path: Path) -> None:
    path = tmp_path / "remote/channel.pem"
    pem = made(path, tpm)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    certificate.verify_directly_issued_by(certificate)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    text = path.read_text()
    assert text.startswith(pem)
    point = parse_public(tss2.parse(text)[0]).point
    assert point == tuple(
        value.to_bytes(32, "big") for value in (key.public_numbers().x, key.public_numbers().y)
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made(path, tpm) == pem
    assert path.read_text() == text


@pytest.mark.parametrize("cut", ["certificate", "key", "everything"])
def test_a_spoilt_file_is_replaced(tpm: Swtpm, tmp_path: Path, cut: str) -> None:
    path = tmp_path / "channel.pem"
    pem = made(path, tpm)
    text = path.read_text()
    kept = {"certificate": text.removeprefix(pem), "key": pem, "everything": "nothing"}
    path.write_text(kept[cut])
    other = made(path, tpm)
    assert other != pem
    assert made(path, tpm) == other


def test_another_tpm_has_another_key(tpm: Swtpm, tmp_path: Path) -> None:
    path = tmp_path / "channel.pem"
    pem = made(path, tpm)
    with Swtpm() as other:
        assert made(path, other) != pem


def test_a_tpm_that_fails_for_a_moment_does_not_cost_the_identity(
    tpm: Swtpm, tmp_path: Path
) -> None:
    path = tmp_path / "channel.pem"
    pem = made(path, tpm)
    text = path.read_text()

    class Failing:
        def make_channel_key(self) -> tuple[bytes, bytes]:
            raise AssertionError("there is a key")

        def holds(self, public: bytes, private: bytes) -> bool:
            raise TpmError("TPM2_Load: the TPM is testing itself")

        def sign(self, public: bytes, private: bytes, digest: bytes) -> bytes:
            raise AssertionError("there is a certificate")

    with pytest.raises(TpmError, match="testing itself"):
        identity(str(path), Failing())
    assert path.read_text() == text
    assert made(path, tpm) == pem


def test_a_tpm_that_was_cleared_makes_another_key(tmp_path: Path) -> None:
    with Swtpm() as tpm:
        pem = made(tmp_path / "channel.pem", tpm)
        tpm.tool("tpm2_clear", "-c", "p")
        assert made(tmp_path / "channel.pem", tpm) != pem
