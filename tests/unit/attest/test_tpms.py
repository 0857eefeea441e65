from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.attest.enrol import Enrolment
from ainit.attest.templates import ak_template, ek_template
from ainit.attest.tpms import (
    MalformedError,
    lower_signature,
    parse_public,
    parse_quote,
    parse_signature,
    pem_point,
    point_pem,
)

from . import forger
from .machine import Machine

Parser = Callable[[bytes], object]
Honest = tuple[Machine, Enrolment]
PARSERS: dict[str, Parser] = {
    "quote_msg": parse_quote,
    "quote_sig": parse_signature,
    "ak_pub": parse_public,
    "ek_pub": parse_public,
    "ak_pem": pem_point,
}


@pytest.mark.parametrize("field", PARSERS)
def test_every_cut_and_every_extra_byte_is_refused(honest: Honest, field: str) -> None:
    data = getattr(honest[1].evidence, field)
    PARSERS[field](data)
    for size in range(len(data)):
        with pytest.raises(MalformedError):
            PARSERS[field](data[:size])
    with pytest.raises(MalformedError):
        PARSERS[field](data + b"\0")


@pytest.mark.parametrize("parser", set(PARSERS.values()))
@given(data=st.binary(max_size=400))
def test_noise_is_refused_and_nothing_else_happens(parser: Parser, data: bytes) -> None:
    with pytest.raises(MalformedError):
        parser(data)


@given(position=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_quote_is_read_or_refused(honest: Honest, position: int, value: int) -> None:
    data = bytearray(honest[1].evidence.quote_msg)
    data[position % len(data)] = value
    try:
        parse_quote(bytes(data))
    except MalformedError:
        return


def test_a_quote_says_what_was_quoted(honest: Honest) -> None:
    quote = parse_quote(honest[1].evidence.quote_msg)
    assert quote.nonce == honest[1].nonce
    assert quote.selections == ((0x000B, forger.QUOTED),)
    assert quote.signer == parse_public(honest[1].evidence.ak_pub).primary_name


def test_a_key_has_the_attributes_of_its_template(honest: Honest) -> None:
    public = parse_public(honest[1].evidence.ak_pub)
    assert public.point is not None
    assert ak_template(*public.point) == honest[1].evidence.ak_pub
    assert public.has("restricted")
    assert not public.has("decrypt")


def test_the_ek_template_is_the_profiles_own() -> None:
    template = ek_template()
    assert len(template) == 316
    assert template[:10] == bytes.fromhex(
        "013a0001000b000300b2"
    )  # RSA, SHA-256, the attributes of L-1
    assert template[10:12] == b"\0\x20"


def test_the_template_of_the_ak_is_what_a_forger_would_write() -> None:
    public = forger.forger().public
    point = parse_public(public).point
    assert point is not None
    assert ak_template(*point) == public


@pytest.mark.parametrize("high", [False, True])
def test_of_two_signatures_only_the_lower_is_one(high: bool) -> None:
    signature = forger.forger(high_s=high).sign(b"message")
    if high:
        with pytest.raises(MalformedError):
            parse_signature(signature)
    r, s = parse_signature(lower_signature(signature))
    assert r > 0
    assert s <= forger.ORDER // 2


def test_pem_is_what_openssl_writes() -> None:
    key = forger.forger()
    assert point_pem(*pem_point(key.pem)) == key.pem


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: pem.replace(b"PUBLIC", b"PRIVATE"),
        lambda pem: pem.replace(b"\n", b"\r\n"),
        lambda pem: pem + b"\n",
        lambda pem: pem.replace(b"MFkw", b"MFkx"),
    ],
)
def test_other_texts_are_no_pem(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedError):
        pem_point(change(forger.forger().pem))
