"""The authority of one machine: a key that its TPM made and does not give away, and what it issues.

Certificates are X.509-SVIDs (SPIFFE): who it is stands in the one URI of the subject's alternative
names. The authority's own is signed by its own key and does not expire, as that of remote control:
others know it because the machine's attestation vouches for the key.

    authority = Authority.of(path, tpm, "rack-7")
    pem = authority.issue(tpm, "speech", now, life=600)
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from typing import Protocol, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..attest import signed, tss2
from ..linux import files

_SINCE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_FOREVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)  # RFC 5280, 4.1.2.5
_SKEW = datetime.timedelta(seconds=60)  # by which clocks of others may be behind
_USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class Tpm(signed.Signer, Protocol):
    """What is needed of ``ainit.attest.quote.AttestationTpm``."""

    def make_channel_key(self) -> tuple[bytes, bytes]:
        """A new key: TPM2B_PUBLIC and TPM2B_PRIVATE."""

    def holds(self, public: bytes, private: bytes) -> bool:
        """Whether a key is of this TPM as it is now."""


@dataclass(frozen=True, slots=True)
class Issued:
    """``pem`` is the agent's key and its certificate, ``until`` when that expires."""

    pem: bytes
    identity: str
    serial: int
    until: datetime.datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """Its certificate, and the areas of its key."""

    certificate: x509.Certificate
    trust_domain: str
    public: bytes
    private: bytes

    @classmethod
    def of(cls, path: str, tpm: Tpm, trust_domain: str) -> Self:
        """The authority in the file ``path``, which is made when there is none that this TPM has
        the key of, or one of another trust domain. Raises AinosError or OSError.
        """
        kept = signed.kept(path)  # when it is spoilt, the next one has another key
        if kept is not None:
            certificate, public, private = kept
            if _names(certificate) == [f"spiffe://{trust_domain}"] and tpm.holds(public, private):
                return cls(certificate, trust_domain, public, private)
        public, private = tpm.make_channel_key()
        form = _form(signed.public_key(public), f"spiffe://{trust_domain}", "AINOS agents")
        form = form.not_valid_before(_SINCE).not_valid_after(_FOREVER)
        form = form.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        form = form.add_extension(_usage("key_cert_sign"), critical=True)
        within = [x509.UniformResourceIdentifier(trust_domain)]  # the host of a URI: RFC 5280
        form = form.add_extension(x509.NameConstraints(within, None), critical=True)
        certificate = signed.by_tpm(form, tpm, public, private)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        made = cls(certificate, trust_domain, public, private)
        files.replace(path, made.pem + tss2.pem(public, private).encode(), mode=0o600)
        return made

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def issue(self, tpm: Tpm, name: str, now: datetime.datetime, life: int) -> Issued:
        """A key and a certificate for an agent, good from now for ``life`` seconds."""
        key = ec.generate_private_key(ec.SECP256R1())
        identity = f"spiffe://{self.trust_domain}/agent/{name}"
        until = now + datetime.timedelta(seconds=life)
        issuer = self.certificate
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        form = _form(key.public_key(), identity, name, issuer.subject)
        form = form.not_valid_before(now - _SKEW).not_valid_after(until)
        form = form.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        form = form.add_extension(_usage("digital_signature"), critical=True)
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        form = form.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        form = form.add_extension(by, critical=False)
        certificate = signed.by_tpm(form, tpm, self.public, self.private)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        pem = secret + certificate.public_bytes(serialization.Encoding.PEM)
        return Issued(pem, identity, certificate.serial_number, until)


def known(pem: bytes) -> Issued | None:
    """What was issued, by an agent's file; None for another file."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        (identity,) = _names(certificate)
    except ValueError:
        return None
    return Issued(b"", identity, certificate.serial_number, certificate.not_valid_after_utc)


def _form(
    key: ec.EllipticCurvePublicKey, identity: str, name: str, issuer: x509.Name | None = None
) -> x509.CertificateBuilder:
    """What both kinds have; without an issuer it is its own."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
    return (
        x509.CertificateBuilder(issuer or subject, subject, key, x509.random_serial_number())
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(name: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{each: each == name for each in _USES})


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return found.get_values_for_type(x509.UniformResourceIdentifier)
