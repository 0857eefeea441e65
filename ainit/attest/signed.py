"""Certificates that a key of the TPM signs.

``cryptography`` writes a certificate with the signature of a key that is thrown away; the TPM's
takes its place.

    certificate = by_tpm(form, tpm, public, private)
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from ..errors import AinosError
from . import tss2
from .tpms import MalformedError, parse_public, parse_signature

_BYTES_MAX = 1 << 16
_ECDSA_SHA256 = bytes.fromhex("300a 06082a8648ce3d040302")  # RFC 5758, section 3.2


class Signer(Protocol):
    """What is needed of ``quote.AttestationTpm``."""

    def sign(self, public: bytes, private: bytes, digest: bytes) -> bytes:
        """A TPMT_SIGNATURE with a key of the TPM."""


def public_key(public: bytes) -> ec.EllipticCurvePublicKey:
    """The key in a TPM2B_PUBLIC. Raises AinosError when it is not on P-256, MalformedError."""
    point = parse_public(public).point
    if point is None:
        raise AinosError("the TPM made another key than it was asked for")
    x, y = (int.from_bytes(part) for part in point)
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def by_tpm(
    form: x509.CertificateBuilder, tpm: Signer, public: bytes, private: bytes
) -> x509.Certificate:
    """The certificate of a form, signed by the key with these areas. Raises TpmError."""
    content = form.sign(
        ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
    ).tbs_certificate_bytes
    signature = tpm.sign(public, private, hashlib.sha256(content).digest())
    bits = b"\0" + utils.encode_dss_signature(*parse_signature(signature))
    parts = (content, _ECDSA_SHA256, tss2.element(tss2.BITS, bits))
    return x509.load_der_x509_certificate(tss2.element(tss2.SEQUENCE, *parts))


def kept(path: str) -> tuple[x509.Certificate, bytes, bytes] | None:
    """The certificate in a file, and the public and private area of its key, as TPM2B structures.
    None when there is no file, or it is spoilt. Raises OSError.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_BYTES_MAX).decode("ascii", "replace")
    except FileNotFoundError:
        return None
    try:
        return x509.load_pem_x509_certificate(text.encode()), *tss2.parse(text)
    except (ValueError, MalformedError):
        return None
