"""The approval of an image: made, written, read, and refused when it is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from ainit.errors import ConfigError
from ainit.seal import policies
from ainit.seal.approval import BYTES_MAX, Approval, approve, parse
from ainit.wire.codec import dumps
from tests.support.sealing import Approver

PCRS = {4: b"4" * 32, 9: b"9" * 32, 11: b"b" * 32, 12: bytes(32)}
APPROVER = Approver()


def made(generation: int = 2) -> Approval:
    return APPROVER.approve(generation, PCRS, "0.1.0")


def test_an_image_is_signed_for_every_floor_up_to_its_generation() -> None:
    assert set(made(3).signatures) == {1, 2, 3}


def test_the_signature_is_over_policy_and_floor() -> None:
    word = made()
    public = ec.EllipticCurvePublicNumbers(*word.key, ec.SECP256R1()).public_key()
    reached = policies.after_pcrs(policies.EMPTY, {pcr: PCRS[pcr] for pcr in (9, 11, 12)})
    for floor, pair in word.signatures.items():
        signature = utils.encode_dss_signature(*pair)
        public.verify(signature, reached + b"ainos floor %d" % floor, ec.ECDSA(hashes.SHA256()))


def test_the_boot_path_is_not_part_of_it() -> None:
    """PCR 4 changes with the loader, and when the firmware tried another disk first."""
    assert set(made().pcrs) == {9, 11, 12}


def test_the_file_holds_it() -> None:
    word = made()
    assert parse(word.to_bytes(), "a file") == word


@pytest.mark.parametrize("generation", [0, -1, 257])
def test_a_generation_has_its_bounds(generation: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 256"):
        approve("1", generation, (1, 1), PCRS, lambda _: (1, 1))


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": 2},
        {"key": ["1"]},
        {"key": ["1", "g"]},
        {"key": ["1", "1" * 65]},
        {"pcrs": {"9": "00" * 32}},
        {"pcrs": {"9": "00", "11": "00", "12": "00"}},
        {"pcrs": []},
        {"signatures": {"0": ["1", "1"]}},
        {"signatures": {"one": ["1", "1"]}},
        {"generation": "two"},
    ],
)
def test_what_is_none_is_refused_and_the_file_named(changed: dict[str, object]) -> None:
    data = dumps({**made().to_record(), **changed}).encode()
    with pytest.raises(ConfigError, match=r"^x\.seal\.json:1: is no approval of an image: "):
        parse(data, "x.seal.json")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{", b" " * (BYTES_MAX + 1)])
def test_so_is_what_is_no_json_of_that_kind(data: bytes) -> None:
    with pytest.raises(ConfigError):
        parse(data, "x.seal.json")


def test_an_approval_without_signatures_is_one() -> None:
    word = replace(made(), signatures={})
    assert parse(word.to_bytes(), "a file") == word
