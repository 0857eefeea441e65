"""The keys of releases: Ed25519, one PEM file each, in a directory that says by names what for.

``root-1.pem`` is a private key for the role ``root``, ``root-1.pub.pem`` the public half, which is
all that a directory needs of a key that is kept elsewhere. Names count when a role gets its first
keys; from then on a key is known by its id, and who signs is whoever the metadata names. A private
key under a passphrase is asked for it.

    ring = KeyRing.read(directory)
    ring.signers(role.keyids)
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey

from ainit.ota.release import CHANNELS
from lib.host import KEYS, HostError, exclusive, published

DEVELOPMENT = KEYS / "repository"
# The root that images carry, and that the development repository begins with: public, unlike the
# keys beside it. Another repository's takes its place.
FIRST_ROOT = DEVELOPMENT / "root.json"
BUILDER = "builder"
# Three keys for root, of which two must sign; one each for what is signed without people.
NAMES = (*("root-1", "root-2", "root-3", "targets", "snapshot", "timestamp"), *CHANNELS, BUILDER)


@dataclass(frozen=True, slots=True)
class Key:
    """A key, the role that its file's name says, and what signs with it if that is at hand."""

    role: str
    public: SSlibKey
    signer: CryptoSigner | None

    @property
    def id(self) -> str:
        """What metadata calls it."""
        return str(self.public.keyid)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of a directory."""

    place: Path
    keys: tuple[Key, ...]

    @classmethod
    def read(cls, directory: Path) -> KeyRing:
        """Load every key of a directory. Raises HostError."""
        paths = sorted(directory.glob("*.pem"))
        if not paths:
            raise HostError(f"there are no keys in {directory}")
        return cls(directory, tuple(load(path) for path in paths))

    def of(self, role: str) -> list[SSlibKey]:
        """The public keys whose files are named for a role. Raises HostError when there is none."""
        found = {key.id: key.public for key in self.keys if key.role == role}
        if not found:
            raise HostError(f"{self.place}: there is no key for {role}: {role}.pem, {role}.pub.pem")
        return [found[each] for each in sorted(found)]

    def signers(self, ids: Iterable[str]) -> list[CryptoSigner]:
        """What can sign as these keys, in a fixed order; none for keys that are elsewhere."""
        found = {key.id: key.signer for key in self.keys if key.signer}
        return [found[each] for each in sorted(ids) if each in found]


def load(path: Path) -> Key:
    """Read a key, private or public. Raises HostError."""
    try:
        data = path.read_bytes()
        if b"PUBLIC KEY" in data:
            public, private = serialization.load_pem_public_key(data), None
        else:
            private = _private(path, data)
            public = private.public_key()
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise HostError(f"{path}: {error}") from error
    if not isinstance(public, Ed25519PublicKey):
        raise HostError(f"{path}: not an Ed25519 key")
    named = SSlibKey.from_crypto(public)
    role = path.stem.removesuffix(".pub").partition("-")[0]
    return Key(role, named, CryptoSigner(private, named) if private else None)


def development(directory: Path = DEVELOPMENT, names: Sequence[str] = NAMES) -> KeyRing:
    """Make the development keys that are missing, and load them all."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    with exclusive("keys"):
        for name in names:
            path = directory / f"{name}.pem"
            if path.exists():
                continue
            key = Ed25519PrivateKey.generate()
            with published(directory / f"{name}.pub.pem") as public:
                public.write_bytes(_public_pem(key.public_key()))
            with published(path) as private:
                private.chmod(0o600)
                private.write_bytes(_private_pem(key))
    return KeyRing.read(directory)


def _private(path: Path, data: bytes) -> Ed25519PrivateKey:
    password = None
    if b"ENCRYPTED" in data:
        password = getpass.getpass(f"Passphrase of {path}: ").encode()
    key = serialization.load_pem_private_key(data, password)
    if not isinstance(key, Ed25519PrivateKey):
        raise HostError(f"{path}: not an Ed25519 key")
    return key


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
