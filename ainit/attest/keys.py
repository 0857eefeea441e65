"""The keys of the evidence, judged: both forms of the AK, what it may sign and did sign, the EK.

Two files may contradict each other when one of them was altered. ``Findings.blame`` settles which:
the list ``SHA256SUMS`` that the AK signed names the file.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from . import certificate
from .evidence import FILES, Evidence
from .templates import AK_ATTRIBUTES, ak_template, ek_template
from .tpms import (
    ATTRIBUTES,
    MalformedError,
    Public,
    Reader,
    parse_public,
    parse_quote,
    parse_signature,
    pem_point,
)
from .verdict import Finding, Scope

_WHY = {
    "restricted": "it would also sign quotes that no TPM made",
    "sign": "it is no signing key",
    "fixedTPM": "it may be copied out of the TPM",
    "fixedParent": "it may be copied out of the TPM",
    "sensitiveDataOrigin": "its private part may have been made outside the TPM",
}


class Findings:
    """Collects findings against the evidence, and settles which of several files to name."""

    def __init__(self) -> None:
        self.items: list[Finding] = []
        self.altered: frozenset[str] = frozenset()

    def evidence(self, code: str, subject: str, message: str) -> None:
        """The evidence does not hold."""
        self.items.append(Finding(Scope.EVIDENCE, code, subject, message))

    def machine(self, code: str, subject: str, message: str) -> None:
        """The evidence holds, and the machine is not as it was built."""
        self.items.append(Finding(Scope.MACHINE, code, subject, message))

    def blame(self, *files: str) -> str:
        """Which of these contradicting files to name: one known to be altered, else the first."""
        return next((file for file in files if file in self.altered), files[0])


@dataclass(frozen=True, slots=True)
class Attester:
    """The key that signs: the points that its two files give, and ``ak.pub`` when it parses."""

    points: tuple[tuple[bytes, bytes], ...]
    public: Public | None

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Is ``signature`` (TPMT_SIGNATURE) over ``message`` by this key? Raises MalformedError."""
        r, s = parse_signature(signature)
        der = utils.encode_dss_signature(r, s)
        for x, y in self.points:
            try:
                _key(x, y).verify(der, message, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return True
        return False


def _key(x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    try:
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        )
        return numbers.public_key()
    except ValueError as error:
        raise MalformedError("the point is not on the curve P-256") from error


def rsa_key(public: Public) -> rsa.RSAPublicKey:
    """The RSA key of a public area. Raises MalformedError when it is no key to encrypt for."""
    try:
        if public.modulus is None:
            raise ValueError("it is no RSA key")
        return rsa.RSAPublicNumbers(65537, int.from_bytes(public.modulus, "big")).public_key()
    except ValueError as error:
        raise MalformedError(f"the EK: {error}") from error


def attester(evidence: Evidence, findings: Findings) -> Attester:
    """Read both forms of the AK; each is reported when it is malformed."""
    points: list[tuple[bytes, bytes]] = []
    public: Public | None = None
    try:
        points.append(pem_point(evidence.ak_pem))
        _key(*points[-1])
    except MalformedError as error:
        points.clear()
        findings.evidence("malformed", "ak.pem", str(error))
    try:
        public = parse_public(evidence.ak_pub)
        if public.point is None:
            raise MalformedError("the AK is no ECC key")
        _key(*public.point)
        points.append(public.point)
    except MalformedError as error:
        public = None
        findings.evidence("malformed", "ak.pub", str(error))
    return Attester(tuple(dict.fromkeys(points)), public)


def check_binding(evidence: Evidence, signer: Attester, findings: Findings) -> None:
    """Find the altered files by the list that the AK signed; fills ``findings.altered``."""
    own = "SHA256SUMS.quote"
    try:
        reader = Reader(evidence.sums_quote, own)
        message = reader.sized()
        signature = evidence.sums_quote[2 + len(message) :]
        if not signer.signed(message, signature):
            raise MalformedError("is not signed by the AK")
        quote = parse_quote(message)
        if quote.selections:
            raise MalformedError("quotes PCRs; it is to cover SHA256SUMS only")
    except MalformedError as error:
        findings.evidence("binding", own, str(error))
        return
    if quote.nonce != hashlib.sha256(evidence.sums).digest():
        findings.evidence("binding", "SHA256SUMS", "is not the list that the AK signed")
        return
    if evidence.listing() == evidence.sums:
        return
    listed, actual = _listed(evidence.sums), _listed(evidence.listing())
    altered = [name for name in actual if listed.get(name) != actual[name]]
    findings.altered = frozenset(altered)
    for name in altered:
        if getattr(evidence, _FIELDS[name]):
            findings.evidence("altered", name, "was altered after the machine signed its digest")
    if not altered:
        findings.evidence("binding", "SHA256SUMS", "lists other files than the evidence has")


def _listed(sums: bytes) -> dict[str, str]:
    """The digests in a list, by file name."""
    lines = sums.decode("ascii", "replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


_FIELDS = {name: field for field, name in FILES.items()}


def check_attester(evidence: Evidence, signer: Attester, findings: Findings) -> None:
    """Both forms of the AK are one key, and that key can sign nothing but what the TPM made."""
    if len(signer.points) > 1:
        subject = findings.blame("ak.pem", "ak.pub")
        findings.evidence("ak", subject, "ak.pem and ak.pub hold different keys")
    public = signer.public
    if public is None or public.point is None:
        return
    before = len(findings.items)
    for name in ATTRIBUTES:
        wanted = name in AK_ATTRIBUTES
        if public.has(name) != wanted:
            why = _WHY.get(name, "") if wanted else ""
            text = f"the AK {'lacks' if wanted else 'has'} the attribute {name}"
            findings.evidence("ak-attributes", "ak.pub", f"{text}: {why}" if why else text)
    if len(findings.items) == before and evidence.ak_pub != ak_template(*public.point):
        findings.evidence("ak-attributes", "ak.pub", "the AK is not made from the AK's template")


def check_endorsement(
    evidence: Evidence, manufacturers: bytes, now: datetime.datetime, findings: Findings
) -> x509.Certificate | None:
    """The EK's certificate is a trusted manufacturer's and certifies the EK in ``ek.pub``."""
    try:
        trusted = certificate.load_trusted(manufacturers)
    except MalformedError as error:
        findings.evidence("manufacturers", "trusted manufacturers", str(error))
        trusted = []
    found: x509.Certificate | None = None
    try:
        found = certificate.load(evidence.ek_crt)
        for problem in certificate.problems(found, trusted, now):
            findings.evidence("ek-certificate", "ek.crt", f"the EK's certificate: {problem}")
    except MalformedError as error:
        findings.evidence("malformed", "ek.crt", str(error))
    try:
        public = parse_public(evidence.ek_pub)
        if public.modulus is None or evidence.ek_pub != ek_template(public.modulus):
            raise MalformedError("the EK is not made from the RSA 2048 template")
    except MalformedError as error:
        findings.evidence("malformed", "ek.pub", str(error))
        return found
    if found is not None and certificate.modulus(found) != public.modulus:
        subject = findings.blame("ek.pub", "ek.crt")
        findings.evidence("ek-certificate", subject, "ek.pub is not the key that ek.crt certifies")
    return found
