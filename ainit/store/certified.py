"""Who signs models with a certificate: by an authority that is pinned, or by Sigstore's.

A certificate of a pinned authority has no proof of when it was used, so it counts until it expires.
One of Sigstore's lives for minutes; a transparency log says that it was used in them, and what it
names has to be exactly what a publisher's entry names. Everything needed is in the signature file
and in the machine configuration: nobody is asked.

Leaves out: lists of revoked certificates (revoke the publisher), and time stamps of others than
the log, which may be in the file and are not read.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ..errors import ConfigError, Finding, RefusedError
from ..policy import trusted_roots
from ..policy.publishers import Publisher
from ..policy.trusted_roots import Log, Window
from ..wire import fields
from ..wire.fields import Json
from . import certificates
from .keys import EllipticKey, elliptic_key
from .transparency import Entry, Logs

_CHAIN_MAX = 8
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_CURVES_OF_SIGSTORE = ("secp256r1",)  # of its clients, which hash with SHA-256 in any case
_MATERIAL = ("certificate", "x509CertificateChain", "tlogEntries", "timestampVerificationData")


@dataclass(frozen=True)
class Instance:
    """A Sigstore instance that a trusted root describes."""

    authorities: Sequence[tuple[Sequence[x509.Certificate], Window]]
    logs: Logs
    certificate_logs: Logs

    @classmethod
    def parse(cls, text: str) -> Instance:
        """An instance from a ``trusted_root.json``. Raises ValueError."""
        root = trusted_roots.parse(text)
        return cls(
            [
                ([certificates.load(data) for data in authority.certificates], authority.window)
                for authority in root.authorities
            ],
            _logs(root.logs),
            _logs(root.certificate_logs),
        )

    def chain(self, leaf: x509.Certificate, moment: datetime.datetime) -> list[x509.Certificate]:
        """From the leaf to a root that was in use at that moment. Raises RefusedError."""
        why = RefusedError("no authority was in use when it was signed")
        for (*between, root), window in self.authorities:
            if window.holds(moment):
                try:
                    return certificates.chain(leaf, between, [root], moment)
                except RefusedError as error:
                    why = error
        raise why


@dataclass(frozen=True)
class Certified:
    """Publishers with authorities of their own (``roots``), and those who sign by Sigstore."""

    roots: Mapping[str, Sequence[x509.Certificate]]
    identities: Sequence[tuple[Publisher, Instance]]
    today: datetime.date

    def key(self, material: Json, payload: bytes, signature: bytes) -> EllipticKey:
        """The key, in its publisher's name, that made a signature by certificate.

        Whether it did is left to the caller. Raises RefusedError, or ValueError when the
        ``verificationMaterial`` is malformed.
        """
        fields.record(material, "verificationMaterial", _MATERIAL)
        if "certificate" not in material:
            return self._of_authority(material)
        if "x509CertificateChain" in material:
            raise RefusedError("altered: the signature file holds two kinds of certificates")
        entries = fields.array(material, "tlogEntries", 1)
        if not entries:
            raise RefusedError("no log entry says when it was signed")
        return self._of_sigstore(
            _certificate(material["certificate"]), entries[0], payload, signature
        )

    def _of_authority(self, material: Json) -> EllipticKey:
        held = fields.record(material.get("x509CertificateChain"), "x509CertificateChain")
        found = fields.array(held, "certificates", _CHAIN_MAX)
        if not found:
            raise RefusedError("altered: the signature file holds no certificate")
        leaf, *between = (_certificate(item) for item in found)
        why = RefusedError("signed by certificate: no publisher has an authority")
        for name, roots in self.roots.items():
            try:
                certificates.chain(leaf, between, roots, leaf.not_valid_before_utc)
            except RefusedError as error:
                why = error
                continue
            certificates.purpose(leaf)
            if self.today > (last := leaf.not_valid_after_utc.date()):
                raise RefusedError(f"the certificate of {name} expired after {last}")
            return certificates.key(name, leaf, _CURVES)
        raise why

    def _of_sigstore(
        self, leaf: x509.Certificate, logged: object, payload: bytes, signature: bytes
    ) -> EllipticKey:
        entry = Entry.parse(logged)
        publisher, instance = self._publisher(*certificates.identity(leaf))
        moment = entry.logged(instance.logs)
        if not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
            raise RefusedError("the certificate was used before or after its time")
        _, issuer, *_ = instance.chain(leaf, moment)
        certificates.logged(leaf, issuer, instance.certificate_logs)
        certificates.purpose(leaf, code=True)
        pem = leaf.public_bytes(serialization.Encoding.PEM)
        entry.matches(payload, signature, pem.decode("ascii"))
        return certificates.key(publisher.name, leaf, _CURVES_OF_SIGSTORE)

    def _publisher(self, identity: str, issuer: str) -> tuple[Publisher, Instance]:
        """Whose identity a certificate names, if it is genuine."""
        known = [item for item in self.identities if item[0].identity == identity]
        for item in known:
            if item[0].issuer == issuer:
                return item
        if known:
            other, right = fields.shown(issuer), known[0][0].issuer
            raise RefusedError(f"signed as {identity} by word of {other}, not of {right}")
        raise RefusedError(f"signed as {fields.shown(identity)}, whom no publisher is")


def load_certified(
    publishers: Mapping[str, Publisher], roots: Mapping[str, str], today: datetime.date
) -> Certified:
    """The publishers who sign by certificate; ``roots`` are the trusted roots by name.

    Raises ConfigError that lists every one that cannot be used.
    """
    findings: list[Finding] = []
    instances: dict[str, Instance] = {}
    authorities: dict[str, Sequence[x509.Certificate]] = {}
    for name, text in roots.items():
        try:
            instances[name] = Instance.parse(text)
        except ValueError as error:
            findings.append(Finding(f"[trusted_roots] {name}", 1, str(error)))
    for name, publisher in publishers.items():
        if publisher.certificates:
            try:
                found = x509.load_pem_x509_certificates(publisher.certificates.encode())
                authorities[name] = found
            except ValueError as error:
                findings.append(Finding(f"[publishers.{name}]", 1, f"no certificates: {error}"))
    if findings:
        raise ConfigError(findings)
    identities = [
        (publisher, instances[publisher.trusted_root])
        for publisher in publishers.values()
        if publisher.trusted_root
    ]
    return Certified(authorities, identities, today)


def _certificate(value: object) -> x509.Certificate:
    held = fields.record(value, "a certificate", ("rawBytes",))
    return certificates.load(fields.content(held, "rawBytes", certificates.DER_MAX))


def _logs(logs: Sequence[Log]) -> Logs:
    load = serialization.load_der_public_key
    return {log.id: (elliptic_key("log", log.key, load), log.window) for log in logs}
