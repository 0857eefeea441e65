"""The keys of a build: Secure Boot's three (PK, KEK, db), the publisher's for models, the release
key for what a build predicts, and the approval key for who may open a sealed state.

A key is made once and never overwritten: a machine in the field trusts it for ever. What is missing
is added, so an interrupted run is simply run again. Certificates follow from their key alone (fixed
dates, serial number from the key), so losing one loses nothing and PCR 7 does not change.

RSA-2048 because that is what every UEFI firmware accepts; P-256 where the verifier is ours.

    keys = KeySet(BUILD / "keys"); generate(keys, "development")
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.x509.oid import NameOID
from lib.host import HostError, exclusive, published

from ainit.seal import approval
from ainit.seal.approval import Approval

ROLES = ("PK", "KEK", "db")
RSA_BITS = 2048
# Firmware does not look at these dates (it has no trustworthy clock); they only must not vary.
NOT_BEFORE = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(2055, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class KeySet:
    """Where the keys of one set lie."""

    directory: Path

    def private(self, role: str) -> Path:
        """The RSA private key of a Secure Boot role, PEM."""
        return self.directory / f"{role}.key"

    def certificate(self, role: str) -> Path:
        """The self-signed certificate of a Secure Boot role, PEM."""
        return self.directory / f"{role}.pem"

    @property
    def publisher(self) -> Path:
        """The private key that models and policies are signed with, PEM."""
        return self.directory / "publisher.pem"

    @property
    def publisher_public(self) -> Path:
        """What the image carries to verify models, PEM."""
        return self.directory / "publisher.pub.pem"

    @property
    def release(self) -> Path:
        """The private key that manifests are signed with, PEM."""
        return self.directory / "release.pem"

    @property
    def release_public(self) -> Path:
        """What verifiers need to believe a manifest, PEM."""
        return self.directory / "release.pub.pem"

    @property
    def approval(self) -> Path:
        """The private key that approves images for a machine's sealed state, PEM."""
        return self.directory / "approval.pem"

    @property
    def owner_file(self) -> Path:
        """The GUID that marks our entries in the signature databases."""
        return self.directory / "owner.guid"

    def owner(self) -> uuid.UUID:
        """Read the owner GUID. Raises HostError when it is missing or malformed."""
        try:
            return uuid.UUID(self.owner_file.read_text().strip())
        except (OSError, ValueError) as error:
            raise HostError(f"{self.owner_file}: {error}; `secureboot/keys` makes it") from error

    def authority(self) -> bytes:
        """The db certificate as the firmware holds it, DER."""
        certificate = x509.load_pem_x509_certificate(self.certificate("db").read_bytes())
        return certificate.public_bytes(serialization.Encoding.DER)

    def require(self) -> None:
        """Raise HostError naming whatever is missing."""
        wanted = [self.owner_file, self.publisher, self.publisher_public]
        wanted += [self.release, self.release_public, self.approval]
        wanted += [path(role) for role in ROLES for path in (self.private, self.certificate)]
        if missing := [path.name for path in wanted if not path.exists()]:
            raise HostError(
                f"{self.directory}: {', '.join(missing)} missing; `secureboot/keys` makes them"
            )


def generate(keys: KeySet, label: str) -> list[Path]:
    """Make what is missing in a key set and return the files made.

    ``label`` goes into the certificates' subject: AINOS <label> PK. Files are readable by their
    owner only, and so is the directory.
    """
    recipes: list[tuple[Path, Callable[[], bytes]]] = [
        *((keys.private(role), _rsa_pem) for role in ROLES),
        *((keys.certificate(role), partial(_certificate_pem, keys, role, label)) for role in ROLES),
        (keys.publisher, _p256_pem),
        (keys.publisher_public, partial(_public_pem, keys.publisher)),
        (keys.release, _p256_pem),
        (keys.release_public, partial(_public_pem, keys.release)),
        (keys.approval, _p256_pem),
        (keys.owner_file, f"{uuid.uuid4()}\n".encode),
    ]
    keys.directory.mkdir(parents=True, exist_ok=True)
    keys.directory.chmod(0o700)
    made = []
    with exclusive("keys"):
        for path, make in recipes:
            if not path.exists():
                with published(path) as temporary:
                    temporary.chmod(0o600)
                    temporary.write_bytes(make())
                made.append(path)
    return made


def vouch(keys: KeySet, data: bytes) -> bytes:
    """The release key's signature over ``data``: ECDSA with SHA-256, DER, as openssl-dgst(1)."""
    return _p256(keys.release).sign(data, ec.ECDSA(hashes.SHA256()))


def approve(keys: KeySet, version: str, generation: int, pcrs: Mapping[int, bytes]) -> Approval:
    """The approval key's word that the image with these PCRs may open a sealed state."""
    key = _p256(keys.approval)
    point = key.public_key().public_numbers()

    def sign(data: bytes) -> tuple[int, int]:
        return utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))

    return approval.approve(version, generation, (point.x, point.y), pcrs, sign)


def _p256(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise HostError(f"{path}: not an elliptic-curve key")
    return key


def _rsa_pem() -> bytes:
    return _private_pem(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS))


def _p256_pem() -> bytes:
    return _private_pem(ec.generate_private_key(ec.SECP256R1()))


def _private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_pem(private: Path) -> bytes:
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _certificate_pem(keys: KeySet, role: str, label: str) -> bytes:
    """A self-signed certificate; PKCS #1 v1.5 signatures are deterministic, and so is the rest."""
    key = serialization.load_pem_private_key(keys.private(role).read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise HostError(f"{keys.private(role)}: not an RSA key")
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"AINOS {label} {role}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(public).digest()[:8]) | 1)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
