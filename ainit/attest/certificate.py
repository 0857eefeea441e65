"""The EK certificate: does it stand under a trusted TPM manufacturer, and for which key?

TCG EK Credential Profile 2.5. The web's path rules do not fit EK certificates (their subject lies
in a critical directory name), so the checks are spelled out: signature, authority, validity, use.
Leaves out revocation. The trusted certificates are anchors: an intermediate given there is trusted
as it is.
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from .tpms import MalformedError

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_EK_USE = x509.ObjectIdentifier("2.23.133.8.1")  # tcg-kp-EKCertificate


def load(der: bytes) -> x509.Certificate:
    """The certificate. Raises MalformedError, also for what the library would find only later."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        _read_all(certificate)
    except _UNREADABLE as error:
        raise MalformedError(f"not a certificate: {error}") from error
    return certificate


def load_trusted(pem: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM file of trusted manufacturers. Raises MalformedError."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        for certificate in certificates:
            _read_all(certificate)
    except _UNREADABLE as error:
        raise MalformedError(f"no PEM certificates: {error}") from error
    return certificates


def _read_all(certificate: x509.Certificate) -> None:
    """Have the library parse every field that is judged; it does so on first use."""
    certificate.public_key()
    _ = certificate.extensions, certificate.signature_hash_algorithm
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    for name in (certificate.subject, certificate.issuer):
        name.rfc4514_string()


def modulus(certificate: x509.Certificate) -> bytes | None:
    """The modulus of the certified key, or None when it is not RSA 2048 with exponent 65537."""
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != 2048:
        return None
    numbers = key.public_numbers()
    return numbers.n.to_bytes(256, "big") if numbers.e == 65537 else None


def problems(
    certificate: x509.Certificate, trusted: list[x509.Certificate], now: datetime.datetime
) -> list[str]:
    """What speaks against the certificate, in plain words."""
    found = _own_problems(certificate, now)
    issuers = [anchor for anchor in trusted if anchor.subject == certificate.issuer]
    if not any(_signed_by(certificate, issuer) for issuer in issuers):
        issuer = certificate.issuer.rfc4514_string()
        reason = "its signature is wrong" if issuers else f"nobody trusted is called {issuer}"
        found.append(f"no trusted manufacturer issued it: {reason}")
        return found
    for issuer_certificate in issuers:
        found += _issuer_problems(issuer_certificate, now)
    return found


def _own_problems(certificate: x509.Certificate, now: datetime.datetime) -> list[str]:
    found = _validity_problems(certificate, "it", now)
    extensions = certificate.extensions
    try:
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if _EK_USE not in uses:
            found.append("it is not certified as an endorsement key")
    except x509.ExtensionNotFound:
        pass  # Older manufacturers leave the extension out; where it is, it must fit.
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            found.append("it is the certificate of an authority, not of a key in a TPM")
    except x509.ExtensionNotFound:
        found.append("it does not say whether it is an authority's")
    return found


def _issuer_problems(issuer: x509.Certificate, now: datetime.datetime) -> list[str]:
    found = _validity_problems(issuer, "its issuer", now)
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        found.append("its issuer may not issue certificates")
    return found


def _validity_problems(
    certificate: x509.Certificate, whose: str, now: datetime.datetime
) -> list[str]:
    if now < certificate.not_valid_before_utc:
        return [f"{whose} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"]
    if now > certificate.not_valid_after_utc:
        return [f"{whose} expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"]
    return []


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_UNREADABLE, InvalidSignature):
        return False
    return True
