"""RAUC itself reads our bundles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from lib import release_bundle, tools
from lib.host import CommandError, run

from ainit.ota.release import Release
from tests.support.release import Publisher


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> release_bundle.Signer:
    return release_bundle.Signer.development(tmp_path_factory.mktemp("key") / "bundle")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release whose root is whole blocks, and whose UKI is not."""
    built = Publisher(tmp_path).build("1.2")
    for name, size in (("root.erofs", 40), ("root.verity", 3)):
        (built / name).write_bytes(os.urandom(4096) * size)
    return built


def rauc(*arguments: str) -> str:
    return run([*tools.command("rauc", "update"), *arguments])


def extracted(path: Path, keyring: str, place: Path) -> Path:
    """What RAUC takes out of a bundle; it finds its unpacker on PATH."""
    (place / "bin").mkdir()
    wrapper = place / "bin/unsquashfs"
    unsquashfs = " ".join(tools.command("unsquashfs", "update"))
    wrapper.write_text(f'#!/bin/sh\nexec {unsquashfs} "$@"\n')
    wrapper.chmod(0o755)
    command = [*tools.command("rauc", "update"), "extract", keyring, str(path), str(place / "out")]
    run(command, env={"PATH": f"{place / 'bin'}:{os.environ['PATH']}"})
    return place / "out"


def bundle(release: Path, signer: release_bundle.Signer) -> Path:
    facts = Release.from_bytes((release / "release.json").read_bytes())
    return release_bundle.write(release, facts, signer)


@pytest.fixture
def keyring(tmp_path: Path, signer: release_bundle.Signer) -> str:
    pem = signer.certificate.public_bytes(Encoding.PEM)
    (tmp_path / "keyring.pem").write_bytes(pem)
    return f"--keyring={tmp_path / 'keyring.pem'}"


def test_rauc_says_what_is_in_it(
    release: Path, signer: release_bundle.Signer, keyring: str
) -> None:
    said = rauc("info", keyring, "--output-format=shell", str(bundle(release, signer)))
    facts = dict(line.partition("=")[::2] for line in said.splitlines())
    assert facts["RAUC_MF_COMPATIBLE"] == "'ainos-base-x86_64'"
    assert facts["RAUC_MF_VERSION"] == "'1.2'"
    assert facts["RAUC_MF_FORMAT"] == "'verity'"
    assert said.count("block-hash-index") == 2


def test_rauc_takes_out_what_was_put_in(
    release: Path, signer: release_bundle.Signer, keyring: str, tmp_path: Path
) -> None:
    out = extracted(bundle(release, signer), keyring, tmp_path)
    for name in release_bundle.IMAGES.values():
        assert (out / name).read_bytes() == (release / name).read_bytes()


@pytest.mark.parametrize("at", [5000, -100, -3000])
def test_rauc_refuses_a_changed_one(
    release: Path, signer: release_bundle.Signer, keyring: str, tmp_path: Path, at: int
) -> None:
    path = bundle(release, signer)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(CommandError, match=r"signature|verity|bundle"):
        extracted(path, keyring, tmp_path)


def test_two_builds_give_equal_bytes(release: Path, signer: release_bundle.Signer) -> None:
    first = bundle(release, signer).read_bytes()
    assert bundle(release, signer).read_bytes() == first
