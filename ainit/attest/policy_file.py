"""The policy file of a verifier: TOML in, a policy or every finding with its line out.

    manufacturers = ["tpm-makers.pem"]          # who makes TPMs that are believed

    [images]
    manifests = ["ainos-0.1.json", "ainos-0.2.json"]
    signers = ["release.pem"]                   # each manifest needs MANIFEST.sig by one of them
    floor = "0.2"

    [[artefact]]                                # accepted besides what the image holds
    kind = "model"
    name = "minilm"
    digest = "sha256:…"

    [pcrs]                                      # values that the firmware's PCRs may have
    0 = ["7f1c…"]

Files are named relative to the policy. What is not listed is refused. Leaves out reading: ``read``
gives the bytes of a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import ConfigError, Finding
from ..policy import phases, values
from ..policy.toml import Document, Table, parse
from .acceptance import Policy
from .golden import Artefact, Golden, parse_manifest

SIGNATURE_SUFFIX = ".sig"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_VALUE = re.compile(r"[0-9a-f]{64}\Z")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.]*\Z")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")
_PINNED = range(8)  # what the firmware extends; the others belong to the image or to ainit
_FILES = values.list_of(values.text)
_IMAGES: Mapping[str, values.Check] = {
    "manifests": values.list_of(values.text, least=1),
    "signers": _FILES,
    "floor": values.matching(_VERSION, "a version"),
}
_ARTEFACT: Mapping[str, values.Check] = {
    "kind": values.one_of(tuple(phases.KIND_PCR)),
    "name": values.matching(_NAME, "a name"),
    "digest": values.matching(_DIGEST, "a digest sha256:<hex>"),
}

Read = Callable[[str], bytes]  # raises OSError


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What the file says: the policy, and the certificates (PEM) of TPM manufacturers."""

    policy: Policy
    manufacturers: bytes


def load(text: str, file: str, read: Read) -> PolicyFile:
    """The policy in ``text``. Raises ConfigError with every finding."""
    document = parse(text, file)
    findings: list[Finding] = []
    known = ("artefact", "images", "manufacturers", "pcrs")
    for key in document.values:
        if key not in known:
            found = f"unknown key {key} (known: {', '.join(known)})"
            findings.append(document.finding(key, found))
    makers = _makers(document, read, findings)
    images, floor = _images(document, read, findings)
    artefacts = _artefacts(document, findings)
    pins = _pins(document, findings)
    if findings:
        raise ConfigError(findings)
    return PolicyFile(Policy(tuple(images), floor, frozenset(artefacts), pins), makers)


def _makers(document: Document, read: Read, findings: list[Finding]) -> bytes:
    checks: Mapping[str, values.Check] = {"manufacturers": values.list_of(values.text, least=1)}
    own = Table(document, (), {k: v for k, v in document.values.items() if k == "manufacturers"})
    names = _texts(own.checked(checks, findings), "manufacturers")
    if not own.values:
        findings.append(document.finding(None, "manufacturers is missing: no TPM is believed"))
    return b"\n".join(_read(own, "manufacturers", name, read, findings) for name in names)


def _images(document: Document, read: Read, findings: list[Finding]) -> tuple[list[Golden], str]:
    try:
        table = document.table("images")
    except ConfigError as error:
        findings += error.findings
        return [], ""
    found = table.checked(_IMAGES, findings)
    if "manifests" not in table.values:
        findings.append(table.finding(None, "images.manifests is missing: no image is accepted"))
    signers = [
        (name, _read(table, "signers", name, read, findings)) for name in _texts(found, "signers")
    ]
    images = []
    for name in _texts(found, "manifests"):
        data = _read(table, "manifests", name, read, findings)
        if not data:
            continue
        if signers:
            signature = _read(table, "manifests", name + SIGNATURE_SUFFIX, read, findings)
            if not any(_signed(key, signature, data) for _, key in signers):
                findings.append(table.finding("manifests", f"{name} is not signed by a signer"))
                continue
        try:
            images.append(parse_manifest(data, name))
        except ConfigError as error:
            findings += error.findings
    return images, str(found.get("floor", ""))


def _artefacts(document: Document, findings: list[Finding]) -> list[Artefact]:
    artefacts = []
    try:
        for table in document.tables("artefact"):
            found = table.checked(_ARTEFACT, findings)
            if missing := sorted(_ARTEFACT.keys() - table.values.keys()):
                text = f"an artefact needs {' and '.join(missing)}"
                findings.append(table.finding(None, text))
            elif len(found) == len(_ARTEFACT):
                artefacts.append(Artefact(*(str(found[key]) for key in _ARTEFACT)))
    except ConfigError as error:
        findings += error.findings
    return artefacts


def _pins(document: Document, findings: list[Finding]) -> dict[int, frozenset[bytes]]:
    pinned = values.list_of(values.matching(_VALUE, "a SHA-256 value in hexadecimal"), least=1)
    try:
        table = document.table("pcrs")
    except ConfigError as error:
        findings += error.findings
        return {}
    found = table.checked({str(pcr): pinned for pcr in _PINNED}, findings)
    return {
        int(pcr): frozenset(bytes.fromhex(value) for value in _texts(found, pcr)) for pcr in found
    }


def _texts(found: Mapping[str, object], key: str) -> list[str]:
    value = found.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def _read(table: Table, key: str, name: str, read: Read, findings: list[Finding]) -> bytes:
    try:
        return read(name)
    except OSError as error:
        findings.append(table.finding(key, f"{name}: {error.strerror or error}"))
        return b""


def _signed(pem: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the ECDSA signature (DER, SHA-256) as `openssl dgst -sign` makes it holds."""
    try:
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True
