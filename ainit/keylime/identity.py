"""The agent's TLS key, its certificate, and the name under which it registers.

The key is made once and kept on the state partition, because a verifier that knows the certificate
expects it again after a reboot. Its public half is also what quotes bind in PCR 16, so a quote
belongs to the channel that it came through. The certificate does not expire: who trusts it has it
from the registrar, and the machine's clock may be wrong when it is made.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..attest.tpms import MalformedError, parse_public
from ..errors import AinosError
from ..linux import files

_BITS = 2048
_SINCE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_FOREVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)  # RFC 5280, 4.1.2.5
_PEM = serialization.Encoding.PEM
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


class IdentityError(AinosError):
    """The agent's key or certificate cannot be used; says which file and why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A file that holds key and certificate, and the PEM texts of the public parts."""

    path: str
    certificate: str
    public_key: str


def agent_name(ek_pub: bytes) -> str:
    """The name of the machine: the SHA-256 of its endorsement key's PEM text."""
    modulus = parse_public(ek_pub).modulus
    if modulus is None:
        raise MalformedError("the endorsement key is not RSA")
    key = rsa.RSAPublicNumbers(65537, int.from_bytes(modulus, "big")).public_key()
    return hashlib.sha256(key.public_bytes(_PEM, _SPKI)).hexdigest()


def identity(directory: str, address: str) -> Identity:
    """The identity kept in ``directory``, made when there is none. Raises IdentityError."""
    path = os.path.join(os.path.abspath(directory), "agent.pem")
    try:
        if not os.path.exists(path):
            os.makedirs(directory, mode=0o700, exist_ok=True)
            files.replace(path, _made(address), mode=0o600)
        with open(path, "rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read(1 << 16))
    except (OSError, ValueError) as error:
        raise IdentityError(f"{path}: {error}") from error
    public = certificate.public_key().public_bytes(_PEM, _SPKI)
    return Identity(path, certificate.public_bytes(_PEM).decode(), public.decode())


def _made(address: str) -> bytes:
    key = rsa.generate_private_key(65537, _BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ainos-keylime")])
    owned = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(True, False, True, False, False, True, False, False, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(_SINCE)
        .not_valid_after(_FOREVER)
        # Keylime takes the certificate for the authority that issued it.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(owned, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(owned), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(_PEM)
