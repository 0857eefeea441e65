"""The publishers that this machine trusts: elliptic-curve public keys, on the verified root and in
the machine configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

# The root holds no legacy provider of OpenSSL; without this the import fails.
os.environ.setdefault("CRYPTOGRAPHY_OPENSSL_NO_LEGACY", "1")

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import ConfigError, Finding
from ..policy.publishers import Publisher

# The hash belongs to the curve (Sigstore's "PublicKeyDetails"); a signer has no choice.
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


class EllipticKey:
    """One trusted public key; ``name`` is its file's name without the suffix."""

    def __init__(self, name: str, key: ec.EllipticCurvePublicKey) -> None:
        self.name = name
        self._key = key
        self._algorithm = ec.ECDSA(_HASHES[key.curve.name]())

    @property
    def hint(self) -> str:
        """What a signature calls this key: the SHA-256 of its PEM form."""
        pem = self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return sha256(pem).hexdigest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` over ``data`` was made by the private half."""
        try:
            self._key.verify(signature, data, self._algorithm)
        except InvalidSignature:
            return False
        return True


def load_keys(directory: Path, publishers: Iterable[Publisher] = ()) -> dict[str, EllipticKey]:
    """Every ``*.pem`` in ``directory`` and every publisher's own key, by hint.

    None at all is a machine that trusts nobody. Raises ConfigError that lists each one which is no
    elliptic-curve public key.
    """
    keys: dict[str, EllipticKey] = {}
    findings: list[Finding] = []
    for path in sorted(directory.glob("*.pem")):
        try:
            key = elliptic_key(path.stem, path.read_bytes())
            keys[key.hint] = key
        except (OSError, ValueError) as error:
            findings.append(Finding(str(path), 1, str(error)))
    for publisher in publishers:
        if publisher.key:
            try:
                key = elliptic_key(publisher.name, publisher.key.encode())
                keys[key.hint] = key
            except ValueError as error:
                findings.append(Finding(f"[publishers.{publisher.name}]", 1, str(error)))
    if findings:
        raise ConfigError(findings)
    return keys


def elliptic_key(
    name: str, data: bytes, load: Callable[[bytes], object] = serialization.load_pem_public_key
) -> EllipticKey:
    """A public key in the form that ``load`` reads, once it is of a kind that is trusted. Raises
    ValueError.
    """
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"not a public key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise ValueError("not a key on P-256, P-384 or P-521")
    return EllipticKey(name, key)
