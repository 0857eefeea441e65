"""Publishers who sign by certificate: who is configured, and what the store does with them.

The formats, and what is forged in them, are in the contract suite.
"""

from __future__ import annotations

import base64
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import ConfigError, RefusedError
from ainit.policy.publishers import Publisher as Rights
from ainit.store import signature
from ainit.store.__main__ import certified
from ainit.store.admission import Store
from ainit.store.certified import Certified, load_certified
from tests.support.sigstore import (
    CODE,
    IDENTITY,
    ISSUER,
    MOMENT,
    SIGNATURES,
    Json,
    Sigstore,
    base64_text,
    certificate,
    chain_bundle,
    private_key,
)
from tests.support.store import FakeCover, Publisher, deliver

ANA = Rights("ana", trusted_root="example", identity=IDENTITY, issuer=ISSUER)
SIGSTORE = Sigstore()
ROOT = json.dumps(SIGSTORE.trusted_root())
TODAY = MOMENT.date()


def by_ana(publisher: Rights = ANA, today: datetime.date = TODAY) -> Certified:
    return load_certified({"ana": publisher}, {"example": ROOT}, today)


def payload(directory: Path) -> bytes:
    found: bytes = Publisher.statement(
        "speech", {name: (directory / name).read_bytes() for name in ("model.onnx", "record.json")}
    )
    return found


@pytest.mark.parametrize(
    ("rights", "reason"),
    [
        ({"revoked": True}, "the identity of ana was revoked"),
        ({"not_after": "2025-05-31"}, "the identity of ana expired after 2025-05-31"),
        ({"kinds": ["policy"]}, "ana may not sign a model, only policy"),
        ({"names": ["vision"]}, "ana may not sign speech, only vision"),
        ({}, ""),
    ],
)
def test_an_identity_has_rights_as_a_key_has(
    tmp_path: Path, rights: dict[str, object], reason: str
) -> None:
    """At delivery, and at a boot after it lost them."""
    directory = deliver(tmp_path, None)
    (directory / "model.sig").write_text(json.dumps(SIGSTORE.sign(payload(directory))))
    cover = FakeCover()
    restricted = Rights(**{**vars(ANA), **rights})

    def boot(publisher: Rights) -> tuple[str, str, str]:
        (verdict,) = Store(
            str(tmp_path), cover, {}, publishers={"ana": publisher}, today=TODAY,
            certified=by_ana(publisher),
        ).run()  # fmt: skip
        return str(verdict.state), verdict.signer, verdict.reason

    expected = ("refused", "", reason) if reason else ("admitted", "ana", "")
    assert boot(restricted) == expected
    assert boot(ANA) == ("admitted", "ana", "")
    assert boot(restricted) == expected
    cover.close()


def test_each_authority_is_asked(tmp_path: Path) -> None:
    one, other, key = Sigstore(), Sigstore(), private_key()
    leaf = certificate(
        "bea", key.public_key(), "root", other.authority.root_key,
        extensions=[(SIGNATURES, True), (CODE, False)],
    )  # fmt: skip
    publishers = {
        name: Rights(
            name,
            certificates=found.authority.root.public_bytes(serialization.Encoding.PEM).decode(),
        )
        for name, found in (("one", one), ("other", other))
    }
    directory = deliver(tmp_path, None)
    bundle = json.dumps(chain_bundle(payload(directory), key, [leaf])).encode()
    found = load_certified(publishers, {}, TODAY)
    assert signature.verify(bundle, {}, found).signer == "other"
    del publishers["other"]
    with pytest.raises(RefusedError, match=r"^no trusted authority certified it"):
        signature.verify(bundle, {}, load_certified(publishers, {}, TODAY))
    with pytest.raises(
        RefusedError, match=r"^signed by certificate: no publisher has an authority"
    ):
        signature.verify(bundle, {}, by_ana())
    with pytest.raises(
        RefusedError, match=r"^signed by certificate: only signatures by a publishe"
    ):
        signature.verify(bundle, {})


def test_a_key_is_pinned_or_certified_and_not_both(tmp_path: Path) -> None:
    acme = Publisher()
    directory = deliver(tmp_path, acme)
    text = (directory / "model.sig").read_bytes()
    assert signature.verify(text, acme.keys, by_ana()).signer == "acme"
    bundle = SIGSTORE.sign(payload(directory))
    bundle["verificationMaterial"]["x509CertificateChain"] = {"certificates": []}
    with pytest.raises(RefusedError, match="holds two kinds of certificates"):
        signature.verify(json.dumps(bundle).encode(), {}, by_ana())


def test_time_stamps_of_others_may_be_there_and_are_not_read(tmp_path: Path) -> None:
    bundle = SIGSTORE.sign(payload(deliver(tmp_path, None)))
    stamps = {"rfc3161Timestamps": [{"signedTimestamp": base64_text(b"a stamp")}]}
    bundle["verificationMaterial"]["timestampVerificationData"] = stamps
    assert signature.verify(json.dumps(bundle).encode(), {}, by_ana()).signer == "ana"


def test_every_root_that_cannot_be_used_is_named() -> None:
    certificate, key = SIGSTORE.trusted_root(), SIGSTORE.trusted_root()
    authority: Json = certificate["certificateAuthorities"][0]
    authority["certChain"]["certificates"] = [{"rawBytes": base64_text(b"junk")}]
    unknown = bytes.fromhex("300a300406022a0303020000")  # of the algorithm 1.2.3
    key["tlogs"][0]["publicKey"]["rawBytes"] = base64_text(unknown)
    key["tlogs"][0]["logId"]["keyId"] = base64_text(sha256(unknown).digest())
    broken = Rights("broken", certificates="junk")
    with pytest.raises(ConfigError) as caught:
        load_certified(
            {"broken": broken},
            {"certificate": json.dumps(certificate), "key": json.dumps(key)},
            TODAY,
        )
    assert [str(finding).split(" (")[0] for finding in caught.value.findings[:2]] == [
        "[trusted_roots] certificate:1: a certificate cannot be read",
        "[trusted_roots] key:1: not a public key: Unknown key type: 1.2.3",
    ]
    assert [finding.file for finding in caught.value.findings[2:]] == ["[publishers.broken]"]


def test_a_machine_without_such_publishers_loads_nothing_for_them() -> None:
    """It would cost a tenth of a second at every boot."""
    program = (
        "import sys, datetime; from ainit.store.__main__ import certified;"
        "certified({}, {}, datetime.date.min); print('cryptography.x509' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
    assert isinstance(certified({"ana": ANA}, {"example": ROOT}, TODAY), Certified)


CERTIFIED = by_ana()


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


BUNDLE = SIGSTORE.sign(
    Publisher.statement("speech", {"model.onnx": b"weights", "record.json": b"{}"})
)
JUNK = st.one_of(
    st.none(), st.integers(), st.text(max_size=8), st.just({}), st.just([]), st.just([{}]),
    st.binary(max_size=80).map(base64_text), st.sampled_from(["0", "1", "\ud800", "9" * 18]),
)  # fmt: skip


@given(st.sampled_from([path for path in places(BUNDLE) if path]), JUNK)
def test_whatever_is_changed_is_refused_or_says_the_same(
    path: tuple[str | int, ...], junk: object
) -> None:
    changed = json.loads(json.dumps(BUNDLE))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = junk
    try:
        found = signature.verify(json.dumps(changed).encode(), {}, CERTIFIED)
    except RefusedError:
        return
    assert found == signature.verify(json.dumps(BUNDLE).encode(), {}, CERTIFIED)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.integers(0, 1 << 16), st.integers(1, 255))
def test_a_certificate_with_any_byte_changed_is_refused(place: int, change: int) -> None:
    changed = json.loads(json.dumps(BUNDLE))
    held = changed["verificationMaterial"]["certificate"]
    data = bytearray(base64.b64decode(held["rawBytes"]))
    data[place % len(data)] ^= change
    held["rawBytes"] = base64_text(bytes(data))
    with pytest.raises(RefusedError):
        signature.verify(json.dumps(changed).encode(), {}, CERTIFIED)
