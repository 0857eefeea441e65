"""A Sigstore instance in memory: it certifies identities, and logs certificates and signatures.

The formats are the real ones: X.509 with a signed certificate timestamp (RFC 6962), a Merkle tree
with a signed checkpoint (C2SP), Rekor's signed entry timestamp. The contract suite has the real
``sigstore`` package verify what this one makes.

    sigstore = Sigstore()
    sigstore.sign(payload)          # a bundle, as JSON
    sigstore.trusted_root()         # what a verifier is configured with, as JSON
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Json = dict[str, Any]

MOMENT = datetime.datetime(2025, 6, 1, 12, tzinfo=datetime.UTC)  # when everything is signed
MINUTE, YEAR = datetime.timedelta(minutes=1), datetime.timedelta(days=365)
IDENTITY, ISSUER = "ana@example.org", "https://accounts.example.org"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_BEFORE = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
SIGNATURES, CERTIFICATES = (
    x509.KeyUsage(**{usage: usage == only for usage in _USAGES})
    for only in ("digital_signature", "key_cert_sign")
)
CODE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])


def private_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """A new key."""
    return ec.generate_private_key(curve or ec.SECP256R1())


def der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public half."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def base64_text(data: bytes) -> str:
    """Bytes as JSON holds them."""
    return base64.b64encode(data).decode()


def framed(payload: bytes) -> bytes:
    """What a DSSE signature is over."""
    return b"DSSEv1 28 %s %d %s" % (PAYLOAD_TYPE.encode(), len(payload), payload)


def certificate(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    *,
    start: datetime.datetime = MOMENT - YEAR,
    end: datetime.datetime = MOMENT + YEAR,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    serial: int | None = None,
) -> x509.Certificate:
    """A certificate; each extension with whether it is critical."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])

    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(by, hashes.SHA256())


class Authority:
    """Who certifies: a root and an authority below it."""

    def __init__(self, end: datetime.datetime = MOMENT + YEAR) -> None:
        self.root_key, self.key = private_key(ec.SECP384R1()), private_key(ec.SECP384R1())
        names = (("root", self.root_key), ("authority", self.key))
        self.root, self.certificate = (
            certificate(
                subject,
                key.public_key(),
                "root",
                self.root_key,
                end=end,
                extensions=[
                    (x509.BasicConstraints(True, None), True),
                    (CERTIFICATES, True),
                    (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
                ],
            )
            for subject, key in names
        )

    def certify(
        self,
        key: ec.EllipticCurvePublicKey,
        *identities: str,
        log: ec.EllipticCurvePrivateKey | None,
        log_signs: bool = True,
        issuers: tuple[str, str] = (ISSUER, ISSUER),
        start: datetime.datetime = MOMENT - MINUTE,
        usages: Sequence[x509.ExtensionType] = (SIGNATURES, CODE),
    ) -> x509.Certificate:
        """A certificate for ten minutes, logged unless there is no log. The issuer of the identity
        stands in it twice, as it did and as it does.
        """
        names = [
            x509.UniformResourceIdentifier(name) if "://" in name else x509.RFC822Name(name)
            for name in identities or (IDENTITY,)
        ]
        before, now = issuers
        extensions = [
            *((usage, isinstance(usage, x509.KeyUsage)) for usage in usages),
            (x509.SubjectAlternativeName(names), True),
            (x509.UnrecognizedExtension(_ISSUER_BEFORE, before.encode()), False),
            (x509.UnrecognizedExtension(_ISSUER, asn1.encode_der(now)), False),
        ]
        serial = x509.random_serial_number()

        def made(promises: bytes | None) -> x509.Certificate:
            last = [] if promises is None else [(_sct_list(promises), False)]
            return certificate(
                "", key, "authority", self.key, serial=serial, start=start, end=start + 10 * MINUTE,
                extensions=[*extensions, *last],
            )  # fmt: skip

        if log is None:
            return made(None)
        by = log if log_signs else private_key()
        return made(self._promise(made(None).tbs_certificate_bytes, log, by, start))

    def _promise(
        self,
        signed: bytes,
        log: ec.EllipticCurvePrivateKey,
        by: ec.EllipticCurvePrivateKey,
        moment: datetime.datetime,
    ) -> bytes:
        """A signed certificate timestamp in the name of a log, RFC 6962, 3.2."""
        stamp = int(moment.timestamp() * 1000).to_bytes(8, "big")
        entry = sha256(der(self.key)).digest() + len(signed).to_bytes(3, "big") + signed
        data = b"\0\0" + stamp + b"\0\1" + entry + b"\0\0"
        signature = _sign(by, data)
        head = b"\0" + sha256(der(log)).digest() + stamp + b"\0\0" + b"\4\3"
        return head + len(signature).to_bytes(2, "big") + signature


def _sct_list(promise: bytes) -> x509.UnrecognizedExtension:
    item = len(promise).to_bytes(2, "big") + promise
    data = len(item).to_bytes(2, "big") + item
    return x509.UnrecognizedExtension(_SCT_LIST, asn1.encode_der(data))


class Log:
    """A log of signatures, with some entries of others."""

    def __init__(self, others: int = 6) -> None:
        self.key = private_key()
        self.first = 1000  # of this tree, in the count over all trees of the log
        self._leaves = [b"entry %d" % number for number in range(others)]

    @property
    def id(self) -> bytes:
        """The hash of the log's key."""
        return sha256(der(self.key)).digest()

    def enter(
        self,
        body: bytes,
        moment: datetime.datetime = MOMENT,
        *,
        checkpoint_key: ec.EllipticCurvePrivateKey | None = None,
        kind: Mapping[str, str] = {"kind": "dsse", "version": "0.0.1"},
        after: int = 3,
    ) -> Json:
        """Take an entry and return it as bundles hold it, when ``after`` more have come."""
        place = len(self._leaves)
        self._leaves += [body, *(b"later %d" % number for number in range(after))]
        index, time = self.first + place, int(moment.timestamp())
        promised = {
            "body": base64_text(body),
            "integratedTime": time,
            "logID": self.id.hex(),
            "logIndex": index,
        }
        canonical = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        root = root_hash(self._leaves)
        return {
            "logIndex": str(index),
            "logId": {"keyId": base64_text(self.id)},
            "kindVersion": dict(kind),
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": base64_text(_sign(self.key, canonical))},
            "inclusionProof": {
                "logIndex": str(place),
                "rootHash": base64_text(root),
                "treeSize": str(len(self._leaves)),
                "hashes": [base64_text(node) for node in path(place, self._leaves)],
                "checkpoint": {"envelope": self.checkpoint(root, checkpoint_key or self.key)},
            },
            "canonicalizedBody": base64_text(body),
        }

    def checkpoint(self, root: bytes, key: ec.EllipticCurvePrivateKey) -> str:
        """The tree as it is, signed."""
        return self.note(f"log.example.org - 1\n{len(self._leaves)}\n{base64_text(root)}\n", key)

    def note(self, note: str, key: ec.EllipticCurvePrivateKey) -> str:
        """A note, signed in the log's name."""
        signature = base64_text(self.id[:4] + _sign(key, note.encode()))
        return f"{note}\n— log.example.org {signature}\n"


class Sigstore:
    """An instance as a whole."""

    def __init__(self, authority: Authority | None = None) -> None:
        self.authority = authority or Authority()
        self.certificate_log = private_key()
        self.log = Log()

    def trusted_root(self, end: datetime.datetime | None = None) -> Json:
        """What verifiers trust; ``end`` is when the authority went out of use."""
        start = _time(MOMENT - YEAR)
        chain = (self.authority.certificate, self.authority.root)
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log_record(self.log.key, "https://log.example.org")],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "example.org", "commonName": "authority"},
                    "uri": "https://authority.example.org",
                    "certChain": {"certificates": [_raw(item) for item in chain]},
                    "validFor": {"start": start} | ({"end": _time(end)} if end else {}),
                }
            ],
            "ctlogs": [_log_record(self.certificate_log, "https://certificates.example.org")],
        }

    def sign(
        self,
        payload: bytes,
        *,
        leaf: x509.Certificate | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        moment: datetime.datetime = MOMENT,
        **entering: Any,
    ) -> Json:
        """A bundle. Without a ``leaf`` there is one for ``IDENTITY``."""
        key = key or private_key()
        leaf = leaf or self.certify(key)
        signature = _sign(key, framed(payload))
        entry = self.log.enter(entry_body(payload, signature, leaf), moment, **entering)
        return bundle({"certificate": _raw(leaf), "tlogEntries": [entry]}, payload, signature)

    def certify(
        self, key: ec.EllipticCurvePrivateKey, *identities: str, **more: Any
    ) -> x509.Certificate:
        """A certificate for a key, logged where it should be."""
        more.setdefault("log", self.certificate_log)
        return self.authority.certify(key.public_key(), *identities, **more)


def bundle(material: Json, payload: bytes, signature: bytes) -> Json:
    """A bundle around an envelope."""
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": base64_text(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64_text(signature)}],
        },
    }


def chain_bundle(
    payload: bytes, key: ec.EllipticCurvePrivateKey, chain: Sequence[x509.Certificate]
) -> Json:
    """A bundle by certificate, without logs."""
    material = {
        "x509CertificateChain": {"certificates": [_raw(item) for item in chain]},
        "tlogEntries": [],
    }
    return bundle(material, payload, _sign(key, framed(payload)))


def entry_body(payload: bytes, signature: bytes, leaf: x509.Certificate) -> bytes:
    """What the log keeps of an envelope; it has the envelope's own hash from its JSON."""
    verifier = base64_text(leaf.public_bytes(serialization.Encoding.PEM))
    spec = {
        "envelopeHash": {"algorithm": "sha256", "value": sha256(b"{}").hexdigest()},
        "payloadHash": {"algorithm": "sha256", "value": sha256(payload).hexdigest()},
        "signatures": [{"signature": base64_text(signature), "verifier": verifier}],
    }
    body = {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def root_hash(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash, RFC 6962, 2.1."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    half = _split(len(leaves))
    return sha256(b"\1" + root_hash(leaves[:half]) + root_hash(leaves[half:])).digest()


def path(place: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path of a leaf, RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if place < half:
        return [*path(place, leaves[:half]), root_hash(leaves[half:])]
    return [*path(place - half, leaves[half:]), root_hash(leaves[:half])]


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _raw(item: x509.Certificate) -> Json:
    return {"rawBytes": base64_text(item.public_bytes(serialization.Encoding.DER))}


def _log_record(key: ec.EllipticCurvePrivateKey, url: str) -> Json:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": base64_text(der(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": _time(MOMENT - YEAR)},
        },
        "logId": {"keyId": base64_text(sha256(der(key)).digest())},
    }


def _time(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
