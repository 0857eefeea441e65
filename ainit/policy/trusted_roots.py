"""The ``[trusted_roots]`` part of the machine configuration: Sigstore instances that are trusted.

    [trusted_roots]
    sigstore = '''
    {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", ...}
    '''

Each is a ``trusted_root.json`` as Sigstore publishes it. Leaves out: whether keys and certificates
are such (``ainit.store.certified``), and authorities of time stamps, which nothing here asks.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from hashlib import sha256

from ..errors import Finding
from ..wire import fields
from ..wire.fields import Json
from .toml import Document, Table
from .values import NAME

MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
BYTES_MAX = 1 << 16
_AUTHORITIES_MAX = 32
_CHAIN_MAX = 8
_LOGS_MAX = 64
_DER_MAX = 8192
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z\Z", re.ASCII)
# Keys that are used. A log with another one is known, but nothing that it signs is believed.
_USED = ("PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P521_SHA_512")


@dataclass(frozen=True)
class Window:
    """When something was, or is, in use; without an end it still is."""

    start: datetime.datetime
    end: datetime.datetime | None

    def holds(self, moment: datetime.datetime) -> bool:
        """Whether a moment is within."""
        return self.start <= moment and (self.end is None or moment <= self.end)


@dataclass(frozen=True)
class Authority:
    """One that certifies identities: its certificates (DER), the root's last."""

    certificates: tuple[bytes, ...]
    window: Window


@dataclass(frozen=True)
class Log:
    """A transparency log, by the SHA-256 of its public key (DER)."""

    key: bytes
    window: Window

    @property
    def id(self) -> bytes:
        """What signed entries and certificates call the log."""
        return sha256(self.key).digest()


@dataclass(frozen=True)
class TrustedRoot:
    """A Sigstore instance: who certifies, who logs signatures, who logs certificates."""

    authorities: tuple[Authority, ...]
    logs: tuple[Log, ...]
    certificate_logs: tuple[Log, ...]


def parse(text: str) -> TrustedRoot:
    """The trusted root in a ``trusted_root.json``. Raises ValueError."""
    if len(text) > BYTES_MAX:
        raise ValueError(f"is longer than {BYTES_MAX} bytes")
    known = ("mediaType", "tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities")
    root = fields.record(fields.parsed(text, "the trusted root"), "the trusted root", known)
    if root.get("mediaType") != MEDIA_TYPE:
        raise ValueError(f"mediaType is another than {MEDIA_TYPE}")
    found = fields.array(root, "certificateAuthorities", _AUTHORITIES_MAX)
    result = TrustedRoot(
        tuple(_authority(item) for item in found), _logs(root, "tlogs"), _logs(root, "ctlogs")
    )
    if not (result.authorities and result.logs and result.certificate_logs):
        raise ValueError("an authority, a log of signatures or one of certificates is missing")
    return result


def trusted_roots(table: Table) -> tuple[dict[str, str], list[Finding]]:
    """The trusted roots by name, as text, and every finding."""
    found: dict[str, str] = {}
    findings: list[Finding] = []
    for name, value in table.values.items():
        try:
            if not NAME.match(name):
                raise ValueError("is no name of a trusted root")
            if not isinstance(value, str):
                raise ValueError("is the text of a trusted_root.json")
            parse(value)
            found[name] = value
        except ValueError as error:
            findings.append(table.finding(name, f"{name}: {error}"))
    return found, findings


def missing(document: Document) -> list[Finding]:
    """A finding for each publisher whose trusted root is not there."""
    roots, publishers = document.values.get("trusted_roots"), document.values.get("publishers")
    there = roots if isinstance(roots, dict) else {}
    findings = []
    for name, publisher in publishers.items() if isinstance(publishers, dict) else ():
        wanted = publisher.get("trusted_root") if isinstance(publisher, dict) else None
        if isinstance(wanted, str) and wanted not in there:
            line = document.line(("publishers", name, "trusted_root"))
            findings.append(Finding(document.file, line, f"there is no trusted root {wanted}"))
    return findings


def _authority(value: object) -> Authority:
    known = ("subject", "uri", "certChain", "validFor", "operator")
    authority = fields.record(value, "an authority", known)
    chain = fields.record(authority.get("certChain"), "certChain", ("certificates",))
    found = fields.array(chain, "certificates", _CHAIN_MAX)
    if not found:
        raise ValueError("an authority has no certificates")
    certificates = [fields.record(item, "a certificate", ("rawBytes",)) for item in found]
    return Authority(
        tuple(fields.content(item, "rawBytes", _DER_MAX) for item in certificates),
        _window(authority),
    )


def _logs(root: Json, name: str) -> tuple[Log, ...]:
    found = [_log(item) for item in fields.array(root, name, _LOGS_MAX)]
    return tuple(log for log in found if log is not None)


def _log(value: object) -> Log | None:
    known = ("baseUrl", "hashAlgorithm", "publicKey", "logId", "checkpointKeyId", "operator")
    log = fields.record(value, "a log", known)
    if log.get("hashAlgorithm") != "SHA2_256":
        raise ValueError("hashAlgorithm of a log is another than SHA2_256")
    key = fields.record(log.get("publicKey"), "publicKey", ("rawBytes", "keyDetails", "validFor"))
    found = Log(fields.content(key, "rawBytes", _DER_MAX), _window(key))
    if fields.text(key, "keyDetails") not in _USED:
        return None
    named = fields.record(log.get("logId"), "logId", ("keyId",))
    if fields.content(named, "keyId", len(found.id)) != found.id:
        raise ValueError("logId of a log is not that of its key")
    return found


def _window(value: Json) -> Window:
    window = fields.record(value.get("validFor"), "validFor", ("start", "end"))
    return Window(_time(window, "start"), _time(window, "end") if "end" in window else None)


def _time(window: Json, key: str) -> datetime.datetime:
    value = fields.text(window, key)
    if not _TIME.match(value):
        raise ValueError(f"{key} is a time such as 2021-01-12T11:53:27Z")
    return datetime.datetime.fromisoformat(value)
