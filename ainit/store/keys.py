"""The publishers that this machine trusts: elliptic-curve public keys on the verified root."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

# The root holds no legacy provider of OpenSSL; without this the import fails.
os.environ.setdefault("CRYPTOGRAPHY_OPENSSL_NO_LEGACY", "1")

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import ConfigError, Finding

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


def load_keys(directory: Path) -> dict[str, EllipticKey]:
    """Every ``*.pem`` in ``directory``, by hint. None at all is a machine that trusts nobody.

    Raises ConfigError that lists each file which is no elliptic-curve public key.
    """
    keys: dict[str, EllipticKey] = {}
    findings: list[Finding] = []
    for path in sorted(directory.glob("*.pem")):
        try:
            loaded = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            findings.append(Finding(str(path), 1, f"not a public key: {error}"))
            continue
        if not isinstance(loaded, ec.EllipticCurvePublicKey) or loaded.curve.name not in _HASHES:
            findings.append(Finding(str(path), 1, "not a key on P-256, P-384 or P-521"))
            continue
        key = EllipticKey(path.stem, loaded)
        keys[key.hint] = key
    if findings:
        raise ConfigError(findings)
    return keys
