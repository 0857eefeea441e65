"""OpenSSF model signatures, verified. PURE: bytes and public keys in, a statement or a refusal out.

A signature file is a Sigstore bundle that holds a DSSE envelope, whose payload is an in-toto
statement: the name of the model and the SHA-256 of each of its files. It is made with the
``model_signing`` package and an elliptic-curve key. That package cannot verify without importing a
network client, a certificate transparency client and a data validation framework; what a verifier
with a pinned key needs is here, and the contract suite holds it to the package's own answers.

Leaves out on purpose, and refuses by name: the unframed payloads of releases before 1.0, digests
other than SHA-256, files signed in shards, keyless signatures.

>>> verify(bundle, keys)                                             # doctest: +SKIP
Statement(model='speech', signer='publisher', files={'model.onnx': '1a51…'})
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from ..errors import RefusedError
from ..wire.codec import loads

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
BUNDLE_BYTES_MAX = 1 << 20

Json = Mapping[str, object]


class PublisherKey(Protocol):
    """A public key that this machine trusts, and the name of the file that it came from."""

    @property
    def name(self) -> str: ...

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` over ``data`` was made by the private half."""
        ...


@dataclass(frozen=True)
class Statement:
    """What a publisher signed: the model's name and the SHA-256 (hex) of each file, by its name."""

    model: str
    signer: str
    files: Mapping[str, str]


def verify(bundle: bytes, keys: Mapping[str, PublisherKey]) -> Statement:
    """The statement in ``bundle``, once its signature holds.

    ``keys`` is keyed by hint, the SHA-256 of the key's PEM form. Raises RefusedError.
    """
    if not bundle:
        raise RefusedError("unsigned")
    envelope, hint = _envelope(bundle)
    key = keys.get(hint)
    if key is None:
        raise RefusedError(f"signed by an unknown key (sha256 {hint[:16]}…)")
    payload = _base64(envelope, "payload")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise RefusedError(
            "altered: the signature file holds another number of signatures than one"
        )
    signature = _base64(_object(signatures[0], "signature"), "sig")
    if not key.verifies(signature, _framed(payload)):
        raise RefusedError(f"altered: the signature by {key.name} does not hold")
    return _statement(payload, key.name)


def _envelope(bundle: bytes) -> tuple[Json, str]:
    document = _object(_json(bundle, "the signature file"), "the signature file")
    if document.get("mediaType") != BUNDLE_TYPE:
        raise RefusedError(f"signature of an unknown type: {document.get('mediaType')}")
    material = _object(document.get("verificationMaterial"), "verificationMaterial")
    if "publicKey" not in material:
        raise RefusedError("signed by certificate: only signatures by a publisher key are accepted")
    hint = _object(material["publicKey"], "publicKey").get("hint")
    if not isinstance(hint, str) or not hint:
        raise RefusedError("signed by an unknown key (the signature names none)")
    envelope = _object(document.get("dsseEnvelope"), "dsseEnvelope")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise RefusedError(f"signature over an unknown payload: {envelope.get('payloadType')}")
    return envelope, hint


def _framed(payload: bytes) -> bytes:
    """DSSE 1.0 "PAE": the type and both lengths are signed with the payload."""
    return b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode("ascii"),
        len(payload),
        payload,
    )


def _statement(payload: bytes, signer: str) -> Statement:
    document = _object(_json(payload, "the signed statement"), "the signed statement")
    if document.get("_type") != STATEMENT_TYPE or document.get("predicateType") != PREDICATE_TYPE:
        raise RefusedError(
            f"signed statement of an unknown type: {document.get('_type')},"
            f" {document.get('predicateType')}"
        )
    subjects = document.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise RefusedError("altered: the signed statement names another number of models than one")
    subject = _object(subjects[0], "subject")
    predicate = _object(document.get("predicate"), "predicate")
    serialization = _object(predicate.get("serialization"), "serialization")
    if serialization.get("method") != "files" or serialization.get("hash_type") != "sha256":
        raise RefusedError(
            "signed in a way that is not supported:"
            f" {serialization.get('method')}, {serialization.get('hash_type')}"
            " (sign whole files with sha256)"
        )
    files = _files(predicate.get("resources"))
    root = sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()
    if _object(subject.get("digest"), "digest").get("sha256") != root:
        raise RefusedError("altered: the signed statement contradicts itself")
    return Statement(model=str(subject.get("name")), signer=signer, files=files)


def _files(resources: object) -> dict[str, str]:
    if not isinstance(resources, list):
        raise RefusedError("altered: the signed statement lists no files")
    files: dict[str, str] = {}
    for item in resources:
        resource = _object(item, "resource")
        name, digest = resource.get("name"), resource.get("digest")
        if resource.get("algorithm") != "sha256" or not isinstance(digest, str):
            raise RefusedError(f"signed with a digest that is not sha256: {name}")
        if not isinstance(name, str) or name in files:
            raise RefusedError("altered: the signed statement names a file twice or not at all")
        if len(digest) != 64 or digest.strip("0123456789abcdef"):
            raise RefusedError(f"altered: the digest of {name} is not one")
        files[name] = digest
    return files


def _json(text: bytes, what: str) -> object:
    try:
        return loads(text)
    except ValueError as error:
        raise RefusedError(f"altered: {what} is not JSON ({error})") from error


def _object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise RefusedError(f"altered: {what} is missing or no object")
    return value


def _base64(value: Json, key: str) -> bytes:
    try:
        return base64.b64decode(str(value.get(key)), validate=True)
    except ValueError as error:
        raise RefusedError(f"altered: {key} is not base64") from error
