"""The verifier's policy file: everything arrives, every mistake is found with its line."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ainit.attest.golden import Artefact
from ainit.attest.policy_file import PolicyFile, load
from ainit.errors import ConfigError

from .machine import digest, manifest

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
BUILD = json.dumps(manifest()).encode()
BEGIN = 'manufacturers = ["makers.pem"]\n'
IMAGES = '[images]\nmanifests = ["a.json"]\n'


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


FILES = {
    "makers.pem": b"certificates",
    "a.json": BUILD,
    "a.json.sig": KEY.sign(BUILD, ec.ECDSA(hashes.SHA256())),
    "bad.json": b"{}",
    "release.pem": pem(KEY),
    "other.pem": pem(OTHER),
    "rsa.pem": pem(rsa.generate_private_key(65537, 2048)),
    "junk.pem": b"junk",
}


def read(name: str) -> bytes:
    try:
        return FILES[name]
    except KeyError:
        raise FileNotFoundError(2, "No such file or directory", name) from None


def parse(text: str) -> PolicyFile:
    return load(text, "p.toml", read)


def findings(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(finding) for finding in caught.value.findings]


def test_everything_arrives() -> None:
    found = parse(
        BEGIN
        + IMAGES
        + 'signers = ["other.pem", "release.pem"]\nfloor = "0.1"\n'
        + f'[[artefact]]\nkind = "model"\nname = "minilm"\ndigest = "{digest("8")}"\n'
        + f'[pcrs]\n0 = ["{"ab" * 32}", "{"cd" * 32}"]\n'
    )
    assert found.manufacturers == b"certificates"
    assert [image.version for image in found.policy.images] == ["0.1"]
    assert found.policy.floor == "0.1"
    assert found.policy.artefacts == {Artefact("model", "minilm", digest("8"))}
    assert found.policy.pins == {0: {b"\xab" * 32, b"\xcd" * 32}}


def test_the_least_that_a_policy_needs() -> None:
    assert parse(BEGIN + IMAGES).policy.artefacts == frozenset()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (IMAGES, "p.toml:1: manufacturers is missing: no TPM is believed"),
        (BEGIN, "p.toml:1: images.manifests is missing: no image is accepted"),
        ("manufacturers = []\n" + IMAGES, "p.toml:1: manufacturers "),
        ('manufacturers = ["gone.pem"]\n' + IMAGES, "p.toml:1: gone.pem: No such file"),
        (BEGIN + '[images]\nmanifests = ["gone.json"]\n', "p.toml:3: gone.json: No such file"),
        (BEGIN + '[images]\nmanifests = ["bad.json"]\n', "bad.json:1: not a build manifest"),
        (BEGIN + IMAGES + 'floor = "new"\n', "p.toml:4: floor is a version"),
        (BEGIN + IMAGES + "colour = 1\n", "p.toml:4: unknown key colour"),
        (BEGIN + "colour = 1\n" + IMAGES, "p.toml:2: unknown key colour"),
        (BEGIN + "images = 1\n", "p.toml:2: images is a table"),
        (BEGIN + IMAGES + "[[artefact]]\n", "p.toml:4: an artefact needs digest and kind and name"),
        (
            BEGIN + IMAGES + '[[artefact]]\nkind = "shell"\nname = "x"\ndigest = "sha256:00"\n',
            "p.toml:5: kind ",
        ),
        (BEGIN + IMAGES + "[artefact]\n", "p.toml:4: artefact is an array of tables"),
        (BEGIN + IMAGES + '[pcrs]\n0 = ["00"]\n', "p.toml:5: 0 "),
        (BEGIN + IMAGES + f'[pcrs]\n11 = ["{"00" * 32}"]\n', "p.toml:5: unknown key 11"),
        (BEGIN + "pcrs = 1\n" + IMAGES, "p.toml:2: pcrs is a table"),
    ],
)
def test_a_mistake_is_found_with_its_line(text: str, wanted: str) -> None:
    assert any(found.startswith(wanted) for found in findings(text)), findings(text)


def test_every_mistake_comes_at_once() -> None:
    found = findings("colour = 1\n[images]\nfloor = 1\n[pcrs]\n9 = 1\n")
    assert len(found) == 5


@pytest.mark.parametrize("signer", ["other.pem", "rsa.pem", "junk.pem"])
def test_a_manifest_that_no_signer_signed_is_refused(signer: str) -> None:
    text = BEGIN + IMAGES + f'signers = ["{signer}"]\n'
    assert findings(text) == ["p.toml:3: a.json is not signed by a signer"]


def test_a_manifest_without_a_signature_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FILES, "a.json.sig")
    found = findings(BEGIN + IMAGES + 'signers = ["release.pem"]\n')
    assert "p.toml:3: a.json.sig: No such file or directory" in found


def test_a_manifest_that_was_altered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "a.json", BUILD.replace(b"magika", b"magiko"))
    found = findings(BEGIN + IMAGES + 'signers = ["release.pem"]\n')
    assert found == ["p.toml:3: a.json is not signed by a signer"]
