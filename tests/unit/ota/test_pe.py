"""The Authenticode hash covers what the firmware runs, and nothing that signing changes."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.ota.pe import Image, ImageError
from tests.support import pe

SECTIONS = {".text": b"code" * 200, ".cmdline": b"quiet"}
PLAIN = pe.build(SECTIONS)
START = struct.unpack_from("<I", PLAIN, 60)[0]
CHECKSUM = START + 24 + 64
SECURITY = START + 24 + 112 + 32


def test_it_is_the_hash_of_the_file_without_checksum_and_security_directory() -> None:
    covered = PLAIN[:CHECKSUM] + PLAIN[CHECKSUM + 4 : SECURITY] + PLAIN[SECURITY + 8 :]
    assert Image(PLAIN).authenticode() == hashlib.sha256(covered).digest()


def test_signing_changes_nothing_and_is_seen() -> None:
    signed = pe.attach(PLAIN, b"certificate")
    assert Image(signed).authenticode() == Image(PLAIN).authenticode()
    assert (Image(PLAIN).is_signed, Image(signed).is_signed) == (False, True)
    assert Image(signed).certificates == b"certificate"


def test_a_checksum_changes_nothing() -> None:
    other = PLAIN[:CHECKSUM] + b"\xff\xff\xff\xff" + PLAIN[CHECKSUM + 4 :]
    assert Image(other).authenticode() == Image(PLAIN).authenticode()


@given(st.integers(0, len(PLAIN) - 1))
def test_every_other_byte_counts(offset: int) -> None:
    if CHECKSUM <= offset < CHECKSUM + 4 or SECURITY <= offset < SECURITY + 8:
        return
    changed = PLAIN[:offset] + bytes([PLAIN[offset] ^ 1]) + PLAIN[offset + 1 :]
    try:
        assert Image(changed).authenticode() != Image(PLAIN).authenticode()
    except ImageError:
        pass  # it is not even a PE image any more


def test_what_lies_behind_the_sections_counts() -> None:
    assert Image(pe.build(SECTIONS, b"tail")).authenticode() != Image(PLAIN).authenticode()


def test_sections_are_hashed_in_the_order_of_the_file() -> None:
    """The section table may list them in any order; here the two headers change places."""
    first = START + 24 + 240
    swapped = PLAIN[:first] + PLAIN[first + 40 : first + 80] + PLAIN[first : first + 40]
    swapped += PLAIN[first + 80 :]
    headers = len(PLAIN) - sum(pe._aligned(len(data), 512) for data in SECTIONS.values())
    covered = swapped[:CHECKSUM] + swapped[CHECKSUM + 4 : SECURITY]
    covered += swapped[SECURITY + 8 : headers] + PLAIN[headers:]
    assert Image(swapped).authenticode() == hashlib.sha256(covered).digest()


def test_a_section_is_as_long_as_it_is_once_loaded() -> None:
    assert Image(PLAIN).sections == SECTIONS


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no MZ"),
        (b"MZ", "within its headers"),
        (PLAIN[:60] + struct.pack("<I", 8) + PLAIN[64:], "no PE signature"),
        (PLAIN[: START + 24] + b"\x0b\x01" + PLAIN[START + 26 :], r"not a PE32\+"),
        (PLAIN[: START + 100], "within its headers"),
        (PLAIN[:-600], "outside the image"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        Image(data)
