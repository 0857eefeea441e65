"""Keys are made once, for their owner only, and certificates follow from them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from lib.host import HostError

from ainit.seal import policies
from secureboot.lib.keys import ROLES, KeySet, approve, generate


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    """A complete set."""
    keys = KeySet(tmp_path_factory.mktemp("set") / "keys")
    generate(keys, "test")
    return keys


def contents(keys: KeySet) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in keys.directory.iterdir()}


def test_a_set_is_complete_and_private(keys: KeySet) -> None:
    keys.require()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in keys.directory.iterdir()}
    assert (modes, stat.S_IMODE(keys.directory.stat().st_mode)) == ({0o600}, 0o700)


def test_nothing_is_made_twice(keys: KeySet) -> None:
    before = contents(keys)
    assert generate(keys, "other") == []
    assert contents(keys) == before


def test_what_is_missing_is_added_and_a_lost_certificate_comes_back_as_it_was(
    keys: KeySet,
) -> None:
    before = contents(keys)
    keys.certificate("db").unlink()
    keys.publisher_public.unlink()
    with pytest.raises(HostError, match=r"publisher\.pub\.pem, db\.pem missing"):
        keys.require()
    assert generate(keys, "test") == [keys.certificate("db"), keys.publisher_public]
    assert contents(keys) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_certificate_is_self_signed_and_says_what_it_is_for(keys: KeySet, role: str) -> None:
    certificate = x509.load_pem_x509_certificate(keys.certificate(role).read_bytes())
    private = serialization.load_pem_private_key(keys.private(role).read_bytes(), None)
    public = certificate.public_key()
    assert isinstance(private, rsa.RSAPrivateKey)
    assert isinstance(public, rsa.RSAPublicKey)
    assert public == private.public_key()
    public.verify(
        certificate.signature,
        certificate.tbs_certificate_bytes,
        padding.PKCS1v15(),
        certificate.signature_hash_algorithm,  # type: ignore[arg-type]
    )
    assert certificate.subject.rfc4514_string() == f"CN=AINOS test {role}"


def test_the_publisher_signs_with_p_256(keys: KeySet) -> None:
    private = serialization.load_pem_private_key(keys.publisher.read_bytes(), None)
    public = serialization.load_pem_public_key(keys.publisher_public.read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(private.curve, ec.SECP256R1)
    assert public == private.public_key()


def test_a_malformed_owner_is_named(tmp_path: Path) -> None:
    keys = KeySet(tmp_path)
    keys.owner_file.write_text("nobody")
    with pytest.raises(HostError, match=r"owner\.guid"):
        keys.owner()


def test_an_image_is_approved_by_the_approval_key(keys: KeySet) -> None:
    word = approve(keys, "0.2.0", 2, {4: b"4" * 32, 9: b"9" * 32, 11: b"b" * 32, 12: bytes(32)})
    private = serialization.load_pem_private_key(keys.approval.read_bytes(), password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    public = private.public_key()
    numbers = public.public_numbers()
    assert word.key == (numbers.x, numbers.y)
    assert (word.version, word.generation, set(word.signatures)) == ("0.2.0", 2, {1, 2})
    reached = policies.after_pcrs(policies.EMPTY, word.pcrs)
    for floor, pair in word.signatures.items():
        data = policies.approval(reached, floor)
        public.verify(utils.encode_dss_signature(*pair), data, ec.ECDSA(hashes.SHA256()))
