"""OpenSSF model signatures, verified. PURE: bytes and public keys in, a statement or a refusal out.

A signature file is a Sigstore bundle that holds a DSSE envelope, whose payload is an in-toto
statement: the name of the model and the SHA-256 of each of its files. It is made with the
``model_signing`` package and an elliptic-curve key, which is pinned here or certified
(``certified``). That package cannot verify without importing a network client, a certificate
transparency client and a data validation framework; what a verifier needs is here, and the contract
suite holds it to the package's own answers.

Leaves out on purpose, and refuses by name: the unframed payloads of releases before 1.0, digests
other than SHA-256, files signed in shards.

>>> verify(bundle, keys)                                             # doctest: +SKIP
Statement(model='speech', signer='publisher', files={'model.onnx': '1a51…'})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from ..errors import RefusedError
from ..wire import fields
from ..wire.fields import Json

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
BUNDLE_BYTES_MAX = 1 << 20
_SIGNATURE_MAX = 1024


class PublisherKey(Protocol):
    """A public key that this machine trusts, and the name of the file that it came from."""

    @property
    def name(self) -> str: ...

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` over ``data`` was made by the private half."""
        ...


class Certified(Protocol):
    """Those who sign by certificate."""

    def key(self, material: Json, payload: bytes, signature: bytes) -> PublisherKey:
        """The key behind a certificate, once it may sign. Raises RefusedError or ValueError."""
        ...


class NobodyCertified:
    """No publisher of this machine signs by certificate."""

    def key(self, material: Json, payload: bytes, signature: bytes) -> PublisherKey:
        """Refused."""
        raise RefusedError("signed by certificate: only signatures by a publisher key are accepted")


@dataclass(frozen=True)
class Statement:
    """What a publisher signed: the model's name and the SHA-256 (hex) of each file, by its name."""

    model: str
    signer: str
    files: Mapping[str, str]


def verify(
    bundle: bytes,
    keys: Mapping[str, PublisherKey],
    certified: Certified = NobodyCertified(),  # noqa: B008 (it has no state)
) -> Statement:
    """The statement in ``bundle``, once its signature holds.

    ``keys`` is keyed by hint, the SHA-256 of the key's PEM form. Raises RefusedError.
    """
    if not bundle:
        raise RefusedError("unsigned")
    try:
        material, envelope = _bundle(bundle)
        payload = fields.content(envelope, "payload", BUNDLE_BYTES_MAX)
        signature = _signature(envelope)
        if "publicKey" in material:
            key = _pinned(material["publicKey"], keys)
        else:
            key = certified.key(material, payload, signature)
        if not key.verifies(signature, _framed(payload)):
            raise RefusedError(f"altered: the signature by {key.name} does not hold")
        return _statement(payload, key.name)
    except ValueError as error:
        raise RefusedError(f"altered: {error}") from error


def _bundle(bundle: bytes) -> tuple[Json, Json]:
    document = fields.record(fields.parsed(bundle, "the signature file"), "the signature file")
    if document.get("mediaType") != BUNDLE_TYPE:
        raise RefusedError(
            f"signature of an unknown type: {fields.shown(document.get('mediaType'))}"
        )
    material = fields.record(document.get("verificationMaterial"), "verificationMaterial")
    envelope = fields.record(document.get("dsseEnvelope"), "dsseEnvelope")
    if (found := envelope.get("payloadType")) != PAYLOAD_TYPE:
        raise RefusedError(f"signature over an unknown payload: {fields.shown(found)}")
    return material, envelope


def _pinned(named: object, keys: Mapping[str, PublisherKey]) -> PublisherKey:
    hint = fields.record(named, "publicKey").get("hint")
    if not isinstance(hint, str) or not hint:
        raise RefusedError("signed by an unknown key (the signature names none)")
    if hint not in keys:
        raise RefusedError(f"signed by an unknown key (sha256 {hint[:16]}…)")
    return keys[hint]


def _signature(envelope: Json) -> bytes:
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise RefusedError(
            "altered: the signature file holds another number of signatures than one"
        )
    return fields.content(fields.record(signatures[0], "signature"), "sig", _SIGNATURE_MAX)


def _framed(payload: bytes) -> bytes:
    """DSSE 1.0 "PAE": the type and both lengths are signed with the payload."""
    return b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode("ascii"),
        len(payload),
        payload,
    )


def _statement(payload: bytes, signer: str) -> Statement:
    document = fields.record(fields.parsed(payload, "the signed statement"), "the signed statement")
    if document.get("_type") != STATEMENT_TYPE or document.get("predicateType") != PREDICATE_TYPE:
        raise RefusedError(
            f"signed statement of an unknown type: {document.get('_type')},"
            f" {document.get('predicateType')}"
        )
    subjects = document.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise RefusedError("altered: the signed statement names another number of models than one")
    subject = fields.record(subjects[0], "subject")
    predicate = fields.record(document.get("predicate"), "predicate")
    serialization = fields.record(predicate.get("serialization"), "serialization")
    if serialization.get("method") != "files" or serialization.get("hash_type") != "sha256":
        raise RefusedError(
            "signed in a way that is not supported:"
            f" {serialization.get('method')}, {serialization.get('hash_type')}"
            " (sign whole files with sha256)"
        )
    files = _files(predicate.get("resources"))
    root = sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()
    if fields.record(subject.get("digest"), "digest").get("sha256") != root:
        raise RefusedError("altered: the signed statement contradicts itself")
    return Statement(model=str(subject.get("name")), signer=signer, files=files)


def _files(resources: object) -> dict[str, str]:
    if not isinstance(resources, list):
        raise RefusedError("altered: the signed statement lists no files")
    files: dict[str, str] = {}
    for item in resources:
        resource = fields.record(item, "resource")
        name, digest = resource.get("name"), resource.get("digest")
        if resource.get("algorithm") != "sha256" or not isinstance(digest, str):
            raise RefusedError(f"signed with a digest that is not sha256: {name}")
        if not isinstance(name, str) or name in files:
            raise RefusedError("altered: the signed statement names a file twice or not at all")
        if len(digest) != 64 or digest.strip("0123456789abcdef"):
            raise RefusedError(f"altered: the digest of {name} is not one")
        files[name] = digest
    return files
