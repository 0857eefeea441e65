from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ainit.errors import ConfigError
from ainit.policy.publishers import Publisher as Rights
from ainit.store.keys import load_keys
from tests.support.store import Publisher


def test_keys_are_known_by_the_hash_of_their_pem_form(tmp_path: Path) -> None:
    acme, other = Publisher("acme"), Publisher("other", ec.SECP384R1())
    acme.write(tmp_path)
    other.write(tmp_path)
    keys = load_keys(tmp_path)
    assert {hint: key.name for hint, key in keys.items()} == {
        acme.key.hint: "acme",
        other.key.hint: "other",
    }


def test_a_folder_without_keys_trusts_nobody(tmp_path: Path) -> None:
    assert load_keys(tmp_path / "missing") == {}


def test_every_bad_key_is_named(tmp_path: Path) -> None:
    Publisher("acme").write(tmp_path)
    odd = ec.generate_private_key(ec.SECP256K1()).public_key()
    (tmp_path / "odd.pem").write_bytes(
        odd.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    (tmp_path / "junk.pem").write_text("junk")
    private, public = Publisher("private").write(tmp_path)
    private.rename(public)
    with pytest.raises(ConfigError) as caught:
        load_keys(tmp_path)
    assert [Path(finding.file).name for finding in caught.value.findings] == [
        "junk.pem",
        "odd.pem",
        "private.pem",
    ]


def test_a_signature_by_another_key_does_not_verify() -> None:
    acme, other = Publisher("acme"), Publisher("other")
    signature = acme.private.sign(b"data", ec.ECDSA(acme.key._algorithm.algorithm))
    assert acme.key.verifies(signature, b"data")
    assert not acme.key.verifies(signature, b"date")
    assert not other.key.verifies(signature, b"data")
    assert not acme.key.verifies(b"", b"data")


def test_a_publisher_of_the_machine_configuration_brings_a_key(tmp_path: Path) -> None:
    acme, own = Publisher("acme"), Publisher("own")
    acme.write(tmp_path)
    _, public = own.write(tmp_path.parent)
    rights = [Rights("own", key=public.read_text()), Rights("acme", revoked=True)]
    keys = load_keys(tmp_path, rights)
    assert {key.name for key in keys.values()} == {"acme", "own"}


def test_a_bad_key_of_a_publisher_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_keys(tmp_path, [Rights("own", key="junk")])
    assert str(caught.value.findings[0]).startswith("[publishers.own]:1: not a public key")
