"""A list of revocations, and whether a machine could still start with it."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.ota import revocation
from ainit.ota.pe import Image
from tests.support import dbx, pe

IMAGE = pe.attach(pe.build({".text": b"code"}), b"..a certificate in a signature..")
OTHER = pe.build({".text": b"other"})
LIST = dbx.update([dbx.digest(OTHER), bytes(32)], [b"a certificate"])


def test_what_is_in_a_list() -> None:
    found = revocation.parse(LIST)
    assert found.digests == {dbx.digest(OTHER), bytes(32)}
    assert found.certificates == {b"a certificate"}
    assert not found.others


@pytest.mark.parametrize(
    ("data", "image", "reason"),
    [
        (dbx.update([bytes(32)]), IMAGE, ""),
        (dbx.update([bytes(32), dbx.digest(IMAGE)]), IMAGE, "it revokes the loader"),
        (LIST, IMAGE, "it revokes who signed the loader"),
        (LIST, OTHER, "it revokes the loader"),
        (dbx.update(certificates=[b"another"]), IMAGE, ""),
        (
            dbx.update() + dbx.signature_list(uuid.UUID(int=7), [bytes(48)]),
            IMAGE,
            "in ways that are not known here: 00000000-0000-0000-0000-000000000007",
        ),
    ],
)
def test_what_is_refused(data: bytes, image: bytes, reason: str) -> None:
    said = revocation.refusal(revocation.parse(data), {"the loader": Image(image)})
    assert said == reason if not reason else reason in said


@given(st.integers(0, len(LIST) - 1))
def test_a_list_that_ends_early(length: int) -> None:
    whole = revocation.parse(LIST)
    try:
        found = revocation.parse(LIST[:length])
    except RefusedError:
        return
    assert found.digests < whole.digests or found.certificates < whole.certificates


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        revocation.parse(data)
    except RefusedError:
        pass
