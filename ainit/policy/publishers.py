"""The ``[publishers]`` part of the machine configuration: who may sign which models, until when.

    [publishers.acme]
    key = '''
    -----BEGIN PUBLIC KEY-----
    ...
    -----END PUBLIC KEY-----
    '''
    kinds = ["model"]
    names = ["speech", "acme-*"]
    not_after = 2027-12-31

    [publishers.ainos]                  # a key of the image: rights and revocation alone
    revoked = true

    [publishers.branch]                 # whoever has a certificate of these authorities
    certificates = '''
    -----BEGIN CERTIFICATE-----
    ...
    '''

    [publishers.ana]                    # who signs without a key of her own, by Sigstore
    trusted_root = "sigstore"           # of [trusted_roots]
    identity = "ana@example.org"
    issuer = "https://accounts.example.org"

A key of the image that no table names may sign everything. Leaves out: whether ``key`` and
``certificates`` are such (``ainit.store``), and what a trusted root is (``trusted_roots``).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from ..errors import ConfigError, Finding
from . import values
from .phases import STORED
from .toml import Table

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_PATTERN = re.compile(r"[a-z0-9*?-]{1,32}\Z")
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+-----END PUBLIC KEY-----\s*\Z")
_CERTIFICATES = re.compile(
    r"\s*(-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\s*){1,32}\Z"
)
_IDENTITY = re.compile(r"[!-~]{1,512}\Z")
_ISSUER = re.compile(r"https?://[!-~]{1,512}\Z")
_KEYLESS = ("trusted_root", "identity", "issuer")


def _date(value: object) -> str:
    """A date without a time, as TOML has it; kept as text."""
    if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
        raise ValueError("is a date, like 2027-12-31")
    return value.isoformat()


_KEYS: Mapping[str, values.Check] = {
    "key": values.matching(_PEM, "a public key in PEM form"),
    "certificates": values.matching(_CERTIFICATES, "certificates in PEM form"),
    "trusted_root": values.matching(values.NAME, "the name of a trusted root"),
    "identity": values.matching(_IDENTITY, "a URI or an e-mail address"),
    "issuer": values.matching(_ISSUER, "the URL of an OpenID Connect issuer"),
    "kinds": values.list_of(values.one_of(STORED), least=1),
    "names": values.list_of(values.matching(_PATTERN, "a name or a pattern like acme-*"), least=1),
    "not_after": _date,
    "revoked": values.flag,
}


@dataclass(frozen=True)
class Publisher:
    """A publisher's rights. ``key`` or ``certificates`` are PEM, or the next three say who signs by
    Sigstore; all are empty for a key of the image. ``not_after`` is the last day, ``YYYY-MM-DD``,
    or empty.
    """

    name: str
    key: str = ""
    certificates: str = ""
    trusted_root: str = ""
    identity: str = ""
    issuer: str = ""
    kinds: Sequence[str] = STORED
    names: Sequence[str] = ("*",)
    not_after: str = ""
    revoked: bool = False

    def objection(self, model: str, kind: str, today: datetime.date) -> str:
        """Why this publisher's signature over a model does not count; empty when it does."""
        if self.revoked:
            return f"the {self._means} of {self.name} was revoked"
        if self.not_after and today > datetime.date.fromisoformat(self.not_after):
            return f"the {self._means} of {self.name} expired after {self.not_after}"
        if kind not in self.kinds:
            return f"{self.name} may not sign a {kind}, only {', '.join(self.kinds)}"
        if not any(fnmatchcase(model, pattern) for pattern in self.names):
            return f"{self.name} may not sign {model}, only {', '.join(self.names)}"
        return ""

    @property
    def _means(self) -> str:
        return "identity" if self.identity else "authority" if self.certificates else "key"


def publishers(table: Table) -> tuple[list[dict[str, object]], list[Finding]]:
    """The publishers of ``[publishers]`` as records, by name, and every finding."""
    found: list[dict[str, object]] = []
    findings: list[Finding] = []
    for name in table.values:
        if not _NAME.match(name):
            findings.append(table.finding(name, f"{name} is no name of a publisher"))
            continue
        try:
            checked = table.table(name).checked(_KEYS, findings)
            findings += _means(table.table(name))
        except ConfigError as error:
            findings += error.findings
            continue
        found.append(asdict(Publisher(name, **checked)))  # type: ignore[arg-type]
    findings += _shared(table)
    return sorted(found, key=lambda record: str(record["name"])), findings


def _shared(table: Table) -> list[Finding]:
    """A finding for each publisher whose identity another one has: whose rights would count?"""
    findings: list[Finding] = []
    owners: dict[tuple[str, str], str] = {}
    for name, publisher in table.values.items():
        if isinstance(publisher, dict) and "identity" in publisher:
            identity = (str(publisher["identity"]), str(publisher.get("issuer")))
            owner = owners.setdefault(identity, name)
            if owner != name:
                found = table.table(name).finding("identity", f"identity is that of {owner}, too")
                findings.append(found)
    return findings


def _means(table: Table) -> list[Finding]:
    """What is wrong about how a publisher signs: in one way, which is whole."""
    ways = [way for way in ("key", "certificates", "identity") if way in table.values]
    findings = [table.finding(way, f"{way} and {ways[0]} exclude each other") for way in ways[1:]]
    given = [key for key in _KEYLESS if key in table.values]
    missing = [key for key in _KEYLESS if key not in given]
    if given and missing:
        message = f"{given[0]} goes together with {' and '.join(missing)}"
        findings.append(table.finding(given[0], message))
    return findings


def from_records(records: object) -> dict[str, Publisher]:
    """The publishers by name, from what ``publishers`` returned and JSON carried."""
    found = {}
    for record in records if isinstance(records, list) else []:
        publisher = Publisher(**record)
        found[publisher.name] = publisher
    return found
