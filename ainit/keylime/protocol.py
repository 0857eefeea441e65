"""Keylime's agent interface, versions 2.5 and 2.6: requests in, JSON out. Pure.

GET  /version                                             which versions there are
GET  /v2.6/agent/info                                     which algorithms are used
GET  /v2.6/keys/pubkey                                    the key that quotes bind in PCR 16
GET  /v2.6/quotes/identity?nonce=N                        a quote of PCR 16
GET  /v2.6/quotes/integrity?nonce=N&mask=0x7bb0&partial=0 a quote of these PCRs and PCR 16

Leaves out what delivers secrets and revocations to an agent (``/keys/ukey``, ``/keys/vkey``,
``/notifications``): they are answered as not implemented.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from http import HTTPStatus

from ..attest.tpms import MalformedError, Reader
from ..constants import PCR_KEYLIME
from ..errors import AinosError

VERSIONS = ("2.5", "2.6")
HASH, ENCRYPTION, SIGNATURE = "sha256", "rsa2048", "ecdsa"
PCRS = 24
_NONCE = re.compile(r"[A-Za-z0-9]{1,64}")  # what fits into a TPM2B_DATA of SHA-512
_MASK = re.compile(r"0x[0-9a-fA-F]{1,6}")
_PARAMETERS = 8
_CREDENTIAL_HEAD = 0xBADCC0DE  # of the files that tpm2_makecredential writes
_CREDENTIAL_VERSION = 1


class RequestError(AinosError):
    """A request that is refused; ``status`` is that of HTTP."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Version:
    """Which versions of the interface are spoken."""


@dataclass(frozen=True, slots=True)
class Info:
    """Which algorithms are used."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The key that quotes bind in PCR 16."""


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """A quote over ``pcrs`` and PCR 16. ``has_key`` asks for the bound key in the answer."""

    nonce: bytes
    pcrs: tuple[int, ...] = ()
    has_key: bool = True


Request = Version | Info | PublicKey | QuoteRequest


def parse_request(method: str, target: str) -> Request:
    """What a request asks for. Raises RequestError."""
    path, _, query = target.partition("?")
    parts = path.strip("/").split("/")
    if method != "GET":
        known = parts[0].removeprefix("v") in VERSIONS and method == "POST"
        status = HTTPStatus.NOT_IMPLEMENTED if known else HTTPStatus.METHOD_NOT_ALLOWED
        raise RequestError(status, f"{method} is not for this agent: it takes no secrets")
    if parts == ["version"]:
        return Version()
    if not parts[0].startswith("v") or parts[0][1:] not in VERSIONS:
        raise RequestError(HTTPStatus.NOT_FOUND, f"there are the versions {', '.join(VERSIONS)}")
    match parts[1:]:
        case ["agent", "info"]:
            return Info()
        case ["keys", "pubkey"]:
            return PublicKey()
        case ["quotes", "identity"]:
            return QuoteRequest(_nonce(_parameters(query)))
        case ["quotes", "integrity"]:
            values = _parameters(query)
            return QuoteRequest(_nonce(values), _pcrs(values), _is_whole(values))
    raise RequestError(HTTPStatus.NOT_FOUND, "there is nothing under this path")


def _parameters(query: str) -> dict[str, str]:
    """Every value is a word of letters and digits, so nothing in a query needs decoding."""
    fields = query.split("&", _PARAMETERS)
    pairs = [field.partition("=")[::2] for field in fields]
    values = dict(pairs)
    if len(fields) > _PARAMETERS or len(values) < len(pairs):
        raise RequestError(HTTPStatus.BAD_REQUEST, "too many parameters, or one of them twice")
    return values


def _nonce(values: dict[str, str]) -> bytes:
    nonce = values.get("nonce", "")
    if not _NONCE.fullmatch(nonce):
        raise RequestError(HTTPStatus.BAD_REQUEST, "nonce must be 1 to 64 letters and digits")
    return nonce.encode("ascii")


def _pcrs(values: dict[str, str]) -> tuple[int, ...]:
    mask = values.get("mask", "")
    if not _MASK.fullmatch(mask):
        raise RequestError(HTTPStatus.BAD_REQUEST, "mask must be 0x and up to six hex digits")
    return tuple(pcr for pcr in range(PCRS) if int(mask, 16) >> pcr & 1)


def _is_whole(values: dict[str, str]) -> bool:
    """Is the key asked for? Verifiers send 0 until they know it."""
    partial = values.get("partial", "")
    if partial not in ("0", "1"):
        raise RequestError(HTTPStatus.BAD_REQUEST, "partial must be 0 or 1")
    return partial == "0"


def answer(results: object, status: HTTPStatus = HTTPStatus.OK, reason: str = "Success") -> bytes:
    """The JSON body that every answer has."""
    return json.dumps({"code": status.value, "status": reason, "results": results}).encode()


def bound_digest(public_pem: str) -> bytes:
    """What PCR 16 is extended with, so that a quote covers the agent's key."""
    return hashlib.sha256(public_pem.encode("ascii")).digest()


def selected(pcrs: tuple[int, ...]) -> tuple[int, ...]:
    """The PCRs of a quote: those asked for, and always the one that binds the key."""
    return tuple(sorted({*pcrs, PCR_KEYLIME}))


def quote_text(message: bytes, signature: bytes, values: bytes) -> str:
    """A quote as one word: TPMS_ATTEST, TPMT_SIGNATURE and the file of tpm2_quote."""
    return "r" + ":".join(map(encoded, (message, signature, values)))


def encoded(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode("ascii")


def parse_challenge(text: object) -> tuple[bytes, bytes]:
    """The TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET of a registrar. Raises MalformedError."""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError as error:
        raise MalformedError("the registrar's challenge is not base64") from error
    reader = Reader(data, "the registrar's challenge")
    reader.expect(4, _CREDENTIAL_HEAD, "magic")
    reader.expect(4, _CREDENTIAL_VERSION, "version")
    parts = [reader.sized(512) for _ in range(2)]
    reader.done()
    credential, secret = (len(part).to_bytes(2, "big") + part for part in parts)
    return credential, secret


def auth_tag(secret: bytes, agent: str) -> str:
    """The proof that the TPM recovered ``secret``: HMAC-SHA-384 over the agent's name."""
    return hmac.digest(base64.b64encode(secret), agent.encode(), "sha384").hex()
