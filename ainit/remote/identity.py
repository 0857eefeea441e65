"""The machine's certificate for TLS. Its key is made by the TPM and never leaves it.

The certificate is signed by its own key and does not expire: an operator knows it because he held
it to the machine's attestation once (``ainit.attest.channel``), and the machine's clock may be
wrong when it is made. A TPM that was cleared, or another one, makes another key.
"""

from __future__ import annotations

import datetime
import os
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..attest import signed, tss2
from ..linux import files

_SINCE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_FOREVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)  # RFC 5280, 4.1.2.5


class Tpm(Protocol):
    """What is needed of ``ainit.attest.quote.AttestationTpm``."""

    def make_channel_key(self) -> tuple[bytes, bytes]:
        """A new key: TPM2B_PUBLIC and TPM2B_PRIVATE."""

    def holds(self, public: bytes, private: bytes) -> bool:
        """Whether a key is of this TPM as it is now."""

    def sign(self, public: bytes, private: bytes, digest: bytes) -> bytes:
        """A TPMT_SIGNATURE with it."""


def identity(path: str, tpm: Tpm) -> str:
    """The certificate in the file ``path`` (PEM), which is made when there is none that this TPM
    has the key of. Raises AinosError, also when the TPM fails otherwise, or OSError.
    """
    kept = signed.kept(path)  # when it is spoilt, the next one has another key: operators are told
    if kept is not None:
        known, public, private = kept
        if tpm.holds(public, private):
            return _pem(known)
    public, private = tpm.make_channel_key()
    certificate = _certificate(tpm, public, private)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    files.replace(path, (certificate + tss2.pem(public, private)).encode(), mode=0o600)
    return certificate


def _certificate(tpm: Tpm, public: bytes, private: bytes) -> str:
    """A certificate that the TPM's key signs for itself."""
    key = signed.public_key(public)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ainos")])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    form = (
        x509.CertificateBuilder(name, name, key, x509.random_serial_number())
        .not_valid_before(_SINCE)
        .not_valid_after(_FOREVER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    return _pem(signed.by_tpm(form, tpm, public, private))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
