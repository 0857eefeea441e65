"""A forger with a key of his own: writes every structure of the evidence without a TPM.

What he makes is perfect but for the one thing that a test has him do wrong, and but for the
credential challenge, which he cannot meet: where a test is about another rule, it grants him that.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from ainit.attest import pcrs
from ainit.attest.enrol import Enrolment
from ainit.attest.evidence import Evidence
from ainit.attest.verify import Activation

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
QUOTED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15)
ATTRIBUTES = (
    0x00050472  # fixedTPM fixedParent sensitiveDataOrigin userWithAuth noDA restricted sign
)
SHA256, SHA1 = 0x000B, 0x0004
ENDORSEMENT, OWNER = 0x4000000B, 0x40000001


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def select(bank: int, numbers: tuple[int, ...]) -> bytes:
    mask = sum(1 << number for number in numbers).to_bytes(3, "little")
    return bank.to_bytes(2, "big") + b"\x03" + mask


@dataclass(frozen=True)
class Forger:
    """Makes evidence; every field is one thing that can be wrong."""

    key: ec.EllipticCurvePrivateKey
    attributes: int = ATTRIBUTES
    policy: bytes = b""
    hierarchy: int = ENDORSEMENT
    magic: int = 0xFF544347
    type: int = 0x8018
    selection: bytes = (1).to_bytes(4, "big") + select(SHA256, QUOTED)
    clock: int = 100_000
    resets: int = 7
    restarts: int = 0
    safe: int = 1
    high_s: bool = False
    tail: bytes = b""

    @property
    def public(self) -> bytes:
        """TPM2B_PUBLIC."""
        numbers = self.key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        head = bytes.fromhex("0023000b") + self.attributes.to_bytes(4, "big") + sized(self.policy)
        return sized(head + bytes.fromhex("00100018000b00030010") + sized(x) + sized(y))

    @property
    def name(self) -> bytes:
        return b"\x00\x0b" + hashlib.sha256(self.public[2:]).digest()

    @property
    def pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def attest(self, nonce: bytes, digest: bytes, selection: bytes | None = None) -> bytes:
        """TPMS_ATTEST of a quote."""
        hierarchy = self.hierarchy.to_bytes(4, "big")
        signer = b"\x00\x0b" + hashlib.sha256(hierarchy + self.name).digest()
        head = self.magic.to_bytes(4, "big") + self.type.to_bytes(2, "big")
        clock = self.clock.to_bytes(8, "big") + self.resets.to_bytes(4, "big")
        clock += self.restarts.to_bytes(4, "big") + bytes([self.safe])
        middle = sized(signer) + sized(nonce) + clock + (42).to_bytes(8, "big")
        chosen = self.selection if selection is None else selection
        return head + middle + chosen + sized(digest) + self.tail

    def sign(self, message: bytes) -> bytes:
        """TPMT_SIGNATURE."""
        r, s = utils.decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        if (s > ORDER // 2) != self.high_s:
            s = ORDER - s
        return (
            bytes.fromhex("0018000b") + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
        )

    def seal(self, evidence: Evidence, more: bytes = b"") -> Evidence:
        """The evidence with a fresh list of its digests, signed by his key."""
        honest = replace(self, magic=0xFF544347, type=0x8018, high_s=False, tail=b"")
        sums = evidence.listing() + more
        empty = hashlib.sha256().digest()
        message = honest.attest(hashlib.sha256(sums).digest(), empty, bytes(4))
        return replace(evidence, sums=sums, sums_quote=sized(message) + honest.sign(message))

    def tell(self, log: bytes) -> tuple[bytes, bytes]:
        """The log as of the boot that his counters name, and what PCR 15 then holds."""
        content = b'{"resets":%d,"restarts":%d,"type":"boot"}' % (self.resets, self.restarts)
        digest = hashlib.sha256(content).digest()
        record = {
            "recnum": 0,
            "pcr": 15,
            "digests": [{"hashAlg": "sha256", "digest": digest.hex()}],
            "content_type": "ainos",
            "content": {"type": "boot", "resets": self.resets, "restarts": self.restarts},
        }
        first = json.dumps(record, separators=(",", ":")).encode()
        rest = log.partition(b"\n")[2]
        return first + b"\n" + rest, hashlib.sha256(bytes(32) + digest).digest()

    def forge(self, victim: Enrolment, values: dict[int, bytes] | None = None) -> Enrolment:
        """The evidence of the victim under the forger's key, with the challenge granted."""
        values = pcrs.parse(victim.evidence.quote_pcrs) if values is None else dict(values)
        log, identity = self.tell(victim.evidence.log_cel)
        if 15 in values:
            values[15] = identity
        digest = hashlib.sha256(b"".join(values[pcr] for pcr in sorted(values))).digest()
        message = self.attest(victim.nonce, digest)
        evidence = replace(
            victim.evidence,
            ak_pem=self.pem,
            ak_pub=self.public,
            quote_msg=message,
            quote_sig=self.sign(message),
            quote_pcrs=pcrs.serialise(values),
            log_cel=log,
        )
        granted = Activation(self.name, evidence.ek_pub, bytes(range(32)), bytes(range(32)))
        return Enrolment(self.seal(evidence), victim.nonce, granted)


def forger(**wrong: int | bytes) -> Forger:
    """A forger with a new key who gets these things wrong."""
    new = Forger(ec.generate_private_key(ec.SECP256R1()))
    return replace(new, **wrong)  # type: ignore[arg-type]
