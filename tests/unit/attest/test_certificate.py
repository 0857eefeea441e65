from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ainit.attest import certificate
from ainit.attest.enrol import Enrolment
from ainit.attest.tpms import MalformedError

from .authority import DAY, KEY, NOW, OTHER_KEY, Issue, maker
from .machine import Machine


def der(found: x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.DER)


def test_a_good_certificate() -> None:
    ek = certificate.load(der(Issue().make()))
    assert certificate.problems(ek, [maker()], NOW) == []
    modulus = certificate.modulus(ek)
    assert modulus is not None
    assert int.from_bytes(modulus, "big") == KEY.public_key().public_numbers().n


def test_an_extension_that_older_makers_leave_out() -> None:
    assert certificate.problems(Issue(use=None).make(), [maker()], NOW) == []


@pytest.mark.parametrize(
    ("issue", "trusted", "word"),
    [
        (Issue(), [], "nobody trusted"),
        (Issue(issuer="stranger"), [maker()], "nobody trusted"),
        (Issue(key=OTHER_KEY), [maker()], "signature is wrong"),
        (Issue(first=NOW + DAY / 2), [maker()], "valid only from"),
        (Issue(last=NOW - DAY / 2), [maker()], "expired"),
        (Issue(authority=True), [maker()], "authority"),
        (Issue(authority=None), [maker()], "authority"),
        (Issue(use=x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")), [maker()], "endorsement"),
        (Issue(), [maker(authority=False)], "may not issue"),
        (Issue(), [maker(authority=None)], "may not issue"),
        (Issue(), [maker(last=NOW - DAY / 2)], "its issuer expired"),
    ],
)
def test_what_speaks_against_a_certificate(
    issue: Issue, trusted: list[x509.Certificate], word: str
) -> None:
    (problem,) = certificate.problems(issue.make(), trusted, NOW)
    assert word in problem


def test_the_makers_own_certificate_is_no_ek() -> None:
    assert certificate.problems(maker(), [maker()], NOW)


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 3072)],
    ids=["ecc", "rsa-3072"],
)
def test_keys_that_no_credential_can_be_made_for(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    assert certificate.modulus(Issue().make(public=key.public_key())) is None


@pytest.mark.parametrize("change", [b"", b"\x30\x00", b"noise"])
def test_noise_is_no_certificate(change: bytes) -> None:
    with pytest.raises(MalformedError):
        certificate.load(change)


def test_bytes_after_a_certificate_are_refused() -> None:
    with pytest.raises(MalformedError):
        certificate.load(der(Issue().make()) + b"\0")


def test_every_cut_and_change_is_read_or_refused(honest: tuple[Machine, Enrolment]) -> None:
    data = honest[1].evidence.ek_crt
    trusted = certificate.load_trusted(honest[0].tpm.manufacturers)
    now = datetime.datetime.now(datetime.UTC)
    assert certificate.problems(certificate.load(data), trusted, now) == []
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x40
        for variant in (bytes(changed), data[:position]):
            try:
                found = certificate.load(variant)
            except MalformedError:
                continue
            assert certificate.problems(found, trusted, now)


def test_a_file_without_certificates() -> None:
    with pytest.raises(MalformedError):
        certificate.load_trusted(b"nothing here")
