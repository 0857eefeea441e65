"""A maker of TPMs for tests: issues certificates for EKs, rightly and wrongly."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
EK_USE = x509.ObjectIdentifier("2.23.133.8.1")
KEY = rsa.generate_private_key(65537, 2048)
CA_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass
class Issue:
    """How a certificate is issued; every field may be wrong."""

    issuer: str = "maker"
    key: ec.EllipticCurvePrivateKey = CA_KEY
    first: datetime.datetime = NOW - DAY
    last: datetime.datetime = NOW + DAY
    authority: bool | None = False
    use: x509.ObjectIdentifier | None = EK_USE

    def make(self, subject: str = "ek", public: object = KEY.public_key()) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(self.issuer))
            .public_key(public)  # type: ignore[arg-type]
            .serial_number(1)
            .not_valid_before(self.first)
            .not_valid_after(self.last)
        )
        if self.authority is not None:
            constraints = x509.BasicConstraints(self.authority, None)
            builder = builder.add_extension(constraints, critical=True)
        if self.use is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([self.use]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def maker(**wrong: object) -> x509.Certificate:
    wrong = {"authority": True, "use": None, **wrong}
    return Issue(**wrong).make("maker", CA_KEY.public_key())  # type: ignore[arg-type]
