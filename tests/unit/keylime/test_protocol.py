"""Requests of verifiers, challenges of registrars."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from http import HTTPStatus

import pytest

from ainit.attest.tpms import MalformedError
from ainit.keylime import protocol
from ainit.keylime.protocol import Info, PublicKey, QuoteRequest, RequestError, Version

INTEGRITY = "/v2.6/quotes/integrity?"


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        ("/version", Version()),
        ("/v2.5/agent/info", Info()),
        ("/v2.6/keys/pubkey", PublicKey()),
        ("/v2.6/quotes/identity?nonce=Ab1", QuoteRequest(b"Ab1")),
        (
            INTEGRITY + "nonce=Ab1&mask=0x810010&partial=0&ima_ml_entry=0",
            QuoteRequest(b"Ab1", (4, 16, 23)),
        ),
        (INTEGRITY + "nonce=Ab1&mask=0x0&partial=1", QuoteRequest(b"Ab1", (), False)),
    ],
)
def test_requests_are_understood(target: str, request_: object) -> None:
    assert protocol.parse_request("GET", target) == request_


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", HTTPStatus.NOT_FOUND),
        ("/v1.0/quotes/identity?nonce=a", HTTPStatus.NOT_FOUND),
        ("/v2.6", HTTPStatus.NOT_FOUND),
        ("/v2.6/quotes/other?nonce=a", HTTPStatus.NOT_FOUND),
        ("/v2.6/keys/verify?challenge=a", HTTPStatus.NOT_FOUND),
        ("/v2.6/quotes/identity", HTTPStatus.BAD_REQUEST),
        ("/v2.6/quotes/identity?nonce=", HTTPStatus.BAD_REQUEST),
        ("/v2.6/quotes/identity?nonce=a%00", HTTPStatus.BAD_REQUEST),
        ("/v2.6/quotes/identity?nonce=" + "a" * 65, HTTPStatus.BAD_REQUEST),
        ("/v2.6/quotes/identity?nonce=a&nonce=b", HTTPStatus.BAD_REQUEST),
        (INTEGRITY + "nonce=a&partial=0", HTTPStatus.BAD_REQUEST),
        (INTEGRITY + "nonce=a&mask=1&partial=0", HTTPStatus.BAD_REQUEST),
        (INTEGRITY + "nonce=a&mask=0x1000000&partial=0", HTTPStatus.BAD_REQUEST),
        (INTEGRITY + "nonce=a&mask=0x1&partial=2", HTTPStatus.BAD_REQUEST),
        (INTEGRITY + "&".join(f"x{n}=1" for n in range(9)), HTTPStatus.BAD_REQUEST),
    ],
)
def test_anything_else_is_refused(target: str, status: HTTPStatus) -> None:
    with pytest.raises(RequestError) as caught:
        protocol.parse_request("GET", target)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/v2.6/keys/ukey", HTTPStatus.NOT_IMPLEMENTED),
        ("POST", "/", HTTPStatus.METHOD_NOT_ALLOWED),
        ("DELETE", "/v2.6/agent/info", HTTPStatus.METHOD_NOT_ALLOWED),
    ],
)
def test_no_secrets_are_taken(method: str, target: str, status: HTTPStatus) -> None:
    with pytest.raises(RequestError) as caught:
        protocol.parse_request(method, target)
    assert caught.value.status == status


def test_every_quote_covers_the_pcr_of_the_key() -> None:
    assert protocol.selected(()) == (16,)
    assert protocol.selected((14, 4)) == (4, 14, 16)


CHALLENGE = struct.pack(">IIH2sH3s", 0xBADCC0DE, 1, 2, b"id", 3, b"key")


def test_a_challenge_is_split() -> None:
    assert protocol.parse_challenge(base64.b64encode(CHALLENGE).decode()) == (
        b"\0\2id",
        b"\0\3key",
    )


@pytest.mark.parametrize(
    "data", [b"", CHALLENGE[:-1], CHALLENGE + b"x", b"\0" + CHALLENGE[1:]], ids=range(4)
)
def test_another_challenge_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        protocol.parse_challenge(base64.b64encode(data).decode())


@pytest.mark.parametrize("text", [None, 7, "§", "not base64"])
def test_a_challenge_that_is_no_base64_is_malformed(text: object) -> None:
    with pytest.raises(MalformedError):
        protocol.parse_challenge(text)


def test_the_proof_is_over_the_name_of_the_agent() -> None:
    wanted = hmac.new(base64.b64encode(b"secret"), b"name", hashlib.sha384).hexdigest()
    assert protocol.auth_tag(b"secret", "name") == wanted
