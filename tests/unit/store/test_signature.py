from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.store.signature import verify
from tests.support.store import Publisher

PUBLISHER = Publisher()
CONTENTS = {"model.onnx": b"weights", "record.json": b"{}"}


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_good_signature_gives_the_statement(curve: ec.EllipticCurve) -> None:
    publisher = Publisher("acme", curve)
    statement = verify(publisher.sign("speech", CONTENTS), publisher.keys)
    assert (statement.model, statement.signer) == ("speech", "acme")
    assert sorted(statement.files) == ["model.onnx", "record.json"]


def edit(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit("mediaType", value="application/x"), "signature of an unknown type"),
        (edit("verificationMaterial", value={"certificate": {}}), "signed by certificate"),
        (edit("verificationMaterial", "publicKey", value={}), "signed by an unknown key"),
        (edit("verificationMaterial", "publicKey", "hint", value="00"), "signed by an unknown key"),
        (edit("dsseEnvelope", value=None), "altered: dsseEnvelope is missing"),
        (edit("dsseEnvelope", "payloadType", value="text"), "signature over an unknown payload"),
        (edit("dsseEnvelope", "payload", value="é"), "altered: payload is not base64"),
        (edit("dsseEnvelope", "payload", value="e30="), "altered: the signature by acme"),
        (edit("dsseEnvelope", "signatures", value=[]), "altered: the signature file holds"),
        (edit("dsseEnvelope", "signatures", value=[{"sig": "AA=="}]), "altered: the signature by"),
    ],
)
def test_a_bundle_that_is_not_right_is_refused(
    change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    bundle = json.loads(PUBLISHER.sign("speech", CONTENTS))
    change(bundle)
    with pytest.raises(RefusedError, match=f"^{reason}"):
        verify(json.dumps(bundle).encode(), PUBLISHER.keys)


RESOURCE = {"name": "model.onnx", "algorithm": "sha256", "digest": "00" * 32}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (edit("_type", value="x"), "signed statement of an unknown type"),
        (edit("predicateType", value="x"), "signed statement of an unknown type"),
        (edit("subject", value=[]), "altered: the signed statement names another number"),
        (edit("predicate", "serialization", "method", value="shards"), "signed in a way that"),
        (edit("predicate", "serialization", "hash_type", value="blake3"), "signed in a way that"),
        (edit("predicate", "resources", value=None), "altered: the signed statement lists no"),
        (edit("predicate", "resources", value=[RESOURCE, RESOURCE]), "altered: the signed stat"),
        (edit("predicate", "resources", value=[RESOURCE]), "altered: .* contradicts itself"),
        (
            edit("predicate", "resources", value=[{**RESOURCE, "digest": "x" * 64}]),
            "altered: the digest of model.onnx is not one",
        ),
        (
            edit("predicate", "resources", value=[{**RESOURCE, "algorithm": "md5"}]),
            "signed with a digest that is not sha256",
        ),
    ],
)
def test_a_statement_that_is_not_right_is_refused_though_it_is_signed(
    change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    with pytest.raises(RefusedError, match=f"^{reason}"):
        verify(PUBLISHER.sign("speech", CONTENTS, change), PUBLISHER.keys)


def test_no_signature_is_called_unsigned() -> None:
    with pytest.raises(RefusedError, match=r"^unsigned$"):
        verify(b"", PUBLISHER.keys)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(statement=JSON)
def test_whatever_is_signed_is_taken_or_refused(statement: object) -> None:
    bundle = json.loads(PUBLISHER.sign("speech", CONTENTS))
    payload = json.dumps(statement).encode()
    framed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    signature = PUBLISHER.private.sign(framed, ec.ECDSA(PUBLISHER.key._algorithm.algorithm))
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    with pytest.raises(RefusedError):
        verify(json.dumps(bundle).encode(), PUBLISHER.keys)


@given(bundle=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_and_nothing_else_happens(bundle: bytes) -> None:
    with pytest.raises(RefusedError):
        verify(bundle, PUBLISHER.keys)
