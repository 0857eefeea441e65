"""Parsers for the TPM 2.0 structures in the evidence: TPMS_ATTEST, TPMT_SIGNATURE, TPM2B_PUBLIC.

The bytes come from a machine that is not trusted yet, so every size is checked against what is
there, every byte must be used, and only the algorithms that AINOS uses are read. Structures: TPM
2.0 Library, part 2, sections 10.12 (attestation), 11.3 (signatures) and 12.2 (public areas). Leaves
out judgement.

>>> Reader(b"\\x00\\x02hi", "example").sized()
b'hi'
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from ..errors import AinosError

GENERATED = 0xFF544347  # TPM_GENERATED_VALUE: only a TPM signs structures that begin so
ATTEST_CERTIFY, ATTEST_QUOTE = 0x8017, 0x8018
RH_ENDORSEMENT = 0x4000000B
SHA256 = 0x000B
RSA, ECC = 0x0001, 0x0023
NULL, AES, CFB, ECDSA = 0x0010, 0x0006, 0x0043, 0x0018
P256 = 0x0003
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# Attribute bits of a public area (part 2, section 8.3).
ATTRIBUTES = {
    "fixedTPM": 1 << 1,
    "stClear": 1 << 2,
    "fixedParent": 1 << 4,
    "sensitiveDataOrigin": 1 << 5,
    "userWithAuth": 1 << 6,
    "adminWithPolicy": 1 << 7,
    "noDA": 1 << 10,
    "encryptedDuplication": 1 << 11,
    "restricted": 1 << 16,
    "decrypt": 1 << 17,
    "sign": 1 << 18,
}


class MalformedError(AinosError):
    """A structure is not what its type demands; says where."""


class Reader:
    """Reads big-endian fields and never past the end. ``what`` names the structure in errors."""

    __slots__ = ("_data", "_offset", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._offset = 0
        self.what = what

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        part = self._data[self._offset : self._offset + size]
        if len(part) != size:
            raise MalformedError(f"{self.what} ends early, at byte {len(self._data)}")
        self._offset += size
        return part

    def number(self, size: int) -> int:
        """The next ``size`` bytes as an unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def sized(self, limit: int = 4096) -> bytes:
        """A TPM2B: two bytes of size, then as many bytes, ``limit`` at most."""
        size = self.number(2)
        if size > limit:
            raise MalformedError(f"{self.what} has a field of {size} bytes, {limit} at most")
        return self.take(size)

    def expect(self, size: int, wanted: int, field: str) -> None:
        """The next number must be ``wanted``."""
        found = self.number(size)
        if found != wanted:
            raise MalformedError(f"{self.what}: {field} is {found:#x}, not {wanted:#x}")

    def done(self) -> None:
        """Nothing may be left."""
        if left := len(self._data) - self._offset:
            raise MalformedError(f"{self.what} has {left} bytes after its end")


@dataclass(frozen=True, slots=True)
class Clock:
    """TPMS_CLOCK_INFO. ``milliseconds`` only ever grows while ``safe``; the counts never shrink."""

    milliseconds: int
    resets: int
    restarts: int
    safe: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """A TPMS_ATTEST of type TPM_ST_ATTEST_QUOTE. ``selections`` pairs each bank with its PCRs."""

    signer: bytes
    nonce: bytes
    clock: Clock
    firmware: int
    selections: tuple[tuple[int, tuple[int, ...]], ...]
    pcr_digest: bytes


def parse_quote(data: bytes) -> Quote:
    """The quote in ``data``. Raises MalformedError; a structure not made by a TPM is malformed."""
    reader = Reader(data, "the quote")
    signer, nonce, clock, firmware = _attested(reader, ATTEST_QUOTE)
    count = reader.number(4)
    if count > 16:
        raise MalformedError(f"the quote selects from {count} PCR banks")
    selections = tuple(_selection(reader) for _ in range(count))
    digest = reader.sized(32)
    reader.done()
    return Quote(signer, nonce, clock, firmware, selections, digest)


@dataclass(frozen=True, slots=True)
class Certified:
    """A TPMS_ATTEST of type TPM_ST_ATTEST_CERTIFY: the TPM holds the object of this name."""

    signer: bytes
    nonce: bytes
    name: bytes


def parse_certified(data: bytes) -> Certified:
    """What TPM2_Certify attested. Raises MalformedError."""
    reader = Reader(data, "the certification")
    signer, nonce, _, _ = _attested(reader, ATTEST_CERTIFY)
    name, _ = reader.sized(34), reader.sized(34)
    reader.done()
    return Certified(signer, nonce, name)


def _attested(reader: Reader, kind: int) -> tuple[bytes, bytes, Clock, int]:
    """What every TPMS_ATTEST begins with: signer, nonce, clock, and the version of the firmware."""
    reader.expect(4, GENERATED, "magic")
    reader.expect(2, kind, "type")
    signer, nonce = reader.sized(34), reader.sized(64)
    milliseconds, resets, restarts = reader.number(8), reader.number(4), reader.number(4)
    safe = reader.number(1)
    if safe > 1:
        raise MalformedError(f"{reader.what}: clockInfo.safe is {safe}, neither yes nor no")
    return signer, nonce, Clock(milliseconds, resets, restarts, bool(safe)), reader.number(8)


def _selection(reader: Reader) -> tuple[int, tuple[int, ...]]:
    bank = reader.number(2)
    size = reader.number(1)
    if size > 4:
        raise MalformedError(f"the quote: a PCR selection of {size} bytes, 4 at most")
    mask = int.from_bytes(reader.take(size), "little")
    return bank, tuple(pcr for pcr in range(size * 8) if mask >> pcr & 1)


def parse_signature(data: bytes) -> tuple[int, int]:
    """The numbers r and s of an ECDSA signature with SHA-256 (TPMT_SIGNATURE).

    Of the two values of s that are equally valid only the lower is accepted, so that nobody can
    turn a signature into another one.
    """
    reader = Reader(data, "the signature")
    reader.expect(2, ECDSA, "algorithm")
    reader.expect(2, SHA256, "hash")
    r, s = reader.sized(32), reader.sized(32)
    reader.done()
    if len(r) != 32 or len(s) != 32:
        raise MalformedError("the signature: r and s have 32 bytes each")
    if int.from_bytes(s, "big") > P256_ORDER // 2:
        raise MalformedError("the signature: s is not the lower of its two values")
    return int.from_bytes(r, "big"), int.from_bytes(s, "big")


def lower_signature(data: bytes) -> bytes:
    """The TPMT_SIGNATURE that ``parse_signature`` accepts, from the one that a TPM returned."""
    reader = Reader(data, "the signature")
    head, r, s = reader.take(4), reader.sized(32), int.from_bytes(reader.sized(32), "big")
    reader.done()
    return head + b"\0\x20" + r.rjust(32, b"\0") + b"\0\x20" + min(s, P256_ORDER - s).to_bytes(32)


@dataclass(frozen=True, slots=True)
class Public:
    """A public area: its TPMT_PUBLIC as it is, and the fields that are judged.

    An ECC key has a ``point`` (x and y), an RSA key has ``modulus`` bytes.
    """

    area: bytes
    attributes: int
    policy: bytes
    point: tuple[bytes, bytes] | None
    modulus: bytes | None

    @property
    def name(self) -> bytes:
        """The TPM's name for this object: its name algorithm and the digest of its public area."""
        return SHA256.to_bytes(2, "big") + hashlib.sha256(self.area).digest()

    @property
    def primary_name(self) -> bytes:
        """The qualified name of this object as a primary of the endorsement hierarchy."""
        parent = RH_ENDORSEMENT.to_bytes(4, "big")
        return SHA256.to_bytes(2, "big") + hashlib.sha256(parent + self.name).digest()

    def has(self, attribute: str) -> bool:
        """Is the attribute of this name set?"""
        return bool(self.attributes & ATTRIBUTES[attribute])


def parse_public(data: bytes) -> Public:
    """The key in a TPM2B_PUBLIC: ECC P-256 for ECDSA, or RSA 2048 for storage. MalformedError."""
    outer = Reader(data, "the public area")
    area = outer.sized()
    outer.done()
    reader = Reader(area, "the public area")
    kind = reader.number(2)
    reader.expect(2, SHA256, "name algorithm")
    attributes, policy = reader.number(4), reader.sized(32)
    if unknown := attributes & ~sum(ATTRIBUTES.values()):
        raise MalformedError(f"the public area has unknown attributes {unknown:#x}")
    point: tuple[bytes, bytes] | None = None
    modulus: bytes | None = None
    if kind == ECC:
        for wanted, field in SIGNING_PARAMETERS:
            reader.expect(2, wanted, field)
        point = reader.sized(32).rjust(32, b"\0"), reader.sized(32).rjust(32, b"\0")
    elif kind == RSA:
        for wanted, field in STORAGE_PARAMETERS:
            reader.expect(2, wanted, field)
        reader.expect(4, 0, "exponent")  # zero stands for 65537
        modulus = reader.sized(256)
    else:
        raise MalformedError(f"the public area is of type {kind:#x}, neither RSA nor ECC")
    reader.done()
    return Public(area, attributes, policy, point, modulus)


SIGNING_PARAMETERS = (
    (NULL, "symmetric algorithm"),
    (ECDSA, "signature scheme"),
    (SHA256, "signature hash"),
    (P256, "curve"),
    (NULL, "key derivation"),
)
STORAGE_PARAMETERS = (
    (AES, "symmetric algorithm"),
    (128, "symmetric key size"),
    (CFB, "symmetric mode"),
    (NULL, "scheme"),
    (2048, "key size"),
)


# SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480).
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")


def point_pem(x: bytes, y: bytes) -> bytes:
    """The one PEM text of a P-256 public key, as OpenSSL writes it."""
    text = base64.b64encode(_SPKI + x + y).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(
        ["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]
    ).encode()


def pem_point(pem: bytes) -> tuple[bytes, bytes]:
    """The point in a PEM text written by ``point_pem``. MalformedError for any other text."""
    try:
        der = base64.b64decode(b"".join(pem.split(b"\n")[1:-2]), validate=True)
    except ValueError as error:
        raise MalformedError("not a PEM public key") from error
    x, y = der[len(_SPKI) : len(_SPKI) + 32], der[len(_SPKI) + 32 :]
    if len(y) != 32 or point_pem(x, y) != pem:
        raise MalformedError("not the PEM text of a P-256 public key")
    return x, y
