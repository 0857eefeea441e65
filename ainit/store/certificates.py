"""Certificates of those who sign models: their chain, their purpose, and whom they name.

Leaves out: when somebody signed, and who may (``certified``). What the library raises becomes a
RefusedError here.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..errors import RefusedError
from .keys import EllipticKey
from .transparency import Logs

DER_MAX = 8192
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Sigstore's, https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_BEFORE = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")

# What reading a certificate that somebody else made may raise.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def load(data: bytes) -> x509.Certificate:
    """A certificate from its DER form, with extensions that can be read. Raises ValueError."""
    try:
        certificate = x509.load_der_x509_certificate(data)
        _ = certificate.extensions
        certificate.public_key()
    except _UNREADABLE as error:
        raise ValueError(f"a certificate cannot be read ({error})") from error
    return certificate


def chain(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    moment: datetime.datetime,
) -> list[x509.Certificate]:
    """From the leaf to a root, all in force at that moment. Raises RefusedError."""
    authorities = verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(
        x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, None
    )
    # What a leaf is for is judged by ``purpose``; whom it names, by ``identity``.
    leaves = verification.ExtensionPolicy.webpki_defaults_ee()
    for extension in (x509.ExtendedKeyUsage, x509.SubjectAlternativeName):
        leaves = leaves.may_be_present(extension, verification.Criticality.AGNOSTIC, None)
    builder = (
        verification.PolicyBuilder()
        .store(verification.Store(list(roots)))
        .time(moment)
        .extension_policies(ca_policy=authorities, ee_policy=leaves)
    )
    try:
        return builder.build_client_verifier().verify(leaf, list(between)).chain
    except (verification.VerificationError, *_UNREADABLE) as error:
        raise RefusedError(f"no trusted authority certified it ({error})") from error


def purpose(leaf: x509.Certificate, *, code: bool = False) -> None:
    """A leaf that is for signatures; of code, if it says so or has to. Raises RefusedError."""
    usage = _extension(leaf, x509.KeyUsage)
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    if usage is None or not usage.digital_signature:
        raise RefusedError("the certificate is not for signatures")
    if code if extended is None else ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise RefusedError("the certificate is not for signing code")


def key(name: str, leaf: x509.Certificate, curves: Sequence[str]) -> EllipticKey:
    """The public key of a leaf, on one of some curves. Raises RefusedError."""
    found = leaf.public_key()
    if not isinstance(found, ec.EllipticCurvePublicKey) or found.curve.name not in curves:
        raise RefusedError(f"the certificate's key is not on {' or '.join(curves)}")
    return EllipticKey(name, found)


def identity(leaf: x509.Certificate) -> tuple[str, str]:
    """Whom a certificate of Sigstore names, and who vouched for it. Raises RefusedError, or
    ValueError when that is no text.
    """
    names = list(_extension(leaf, x509.SubjectAlternativeName) or ())
    if len(names) != 1 or not isinstance(
        names[0], x509.UniformResourceIdentifier | x509.RFC822Name
    ):
        raise RefusedError("the certificate names another than one URI or e-mail address")
    issuers = {issuer for issuer in (_issuer(leaf), _issuer_before(leaf)) if issuer is not None}
    if len(issuers) != 1:
        raise RefusedError("the certificate names no issuer of the identity, or two")
    return names[0].value, issuers.pop()


def logged(leaf: x509.Certificate, issuer: x509.Certificate, logs: Logs) -> None:
    """A leaf that a certificate log promised to show (RFC 6962, 3.2). Raises RefusedError."""
    promises = list(_extension(leaf, x509.PrecertificateSignedCertificateTimestamps) or ())
    if len(promises) != 1:
        raise RefusedError(f"the certificate holds {len(promises)} promises of logs, not one")
    promise = promises[0]
    log = logs.get(promise.log_id)
    if log is None:
        raise RefusedError("the certificate was logged where nobody trusts it")
    moment = promise.timestamp.replace(tzinfo=datetime.UTC)
    if not log[1].holds(moment):
        raise RefusedError("the certificate was logged when the log was not in use")
    signed = leaf.tbs_precertificate_bytes
    public = issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    data = b"".join(
        (
            b"\0\0",  # version 1; the time stamp of a certificate
            ((moment - _EPOCH) // datetime.timedelta(milliseconds=1)).to_bytes(8, "big"),
            b"\0\1",  # of a precertificate
            sha256(public).digest(),
            len(signed).to_bytes(3, "big"),
            signed,
            len(promise.extension_bytes).to_bytes(2, "big"),
            promise.extension_bytes,
        )
    )
    if not log[0].verifies(promise.signature, data):
        raise RefusedError("altered: the promise of the certificate's log does not hold")


def _extension(leaf: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return leaf.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _other(leaf: x509.Certificate, name: x509.ObjectIdentifier) -> bytes | None:
    try:
        value = leaf.extensions.get_extension_for_oid(name).value
    except x509.ExtensionNotFound:
        return None
    assert isinstance(value, x509.UnrecognizedExtension)
    return value.value


def _issuer(leaf: x509.Certificate) -> str | None:
    value = _other(leaf, _ISSUER)
    return None if value is None else asn1.decode_der(str, value)


def _issuer_before(leaf: x509.Certificate) -> str | None:
    value = _other(leaf, _ISSUER_BEFORE)
    return None if value is None else value.decode("utf-8", "replace")
