"""The verifier of model signatures against the package that makes them, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing, verifying

from ainit.errors import RefusedError
from ainit.store import signature
from tests.support.store import (
    FakeCover,
    Publisher,
    deliver,
    deliver_several,
    external,
    onnx,
    shards,
    store,
)

CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]


@pytest.fixture(params=CURVES, ids=lambda curve: curve.name)
def publisher(request: pytest.FixtureRequest) -> Publisher:
    return Publisher("acme", request.param)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return deliver(tmp_path, None)


def sign(publisher: Publisher, directory: Path) -> None:
    """As the image builder does."""
    private, _ = publisher.write(directory.parent)
    path = directory / "model.sig"
    ignored = hashing.Config().set_ignored_paths(paths=["model.sig"], ignore_git_paths=False)
    config = signing.Config().use_elliptic_key_signer(private_key=private)
    config.set_hashing_config(ignored).sign(directory, path)


def package_says(publisher: Publisher, directory: Path) -> bool:
    _, public = publisher.write(directory.parent)
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(
            directory, directory / "model.sig"
        )
    except Exception:  # noqa: BLE001 - the package raises whatever its parsers raise
        return False
    return True


def ours_says(publisher: Publisher, directory: Path) -> bool:
    from hashlib import sha256

    try:
        statement = signature.verify((directory / "model.sig").read_bytes(), publisher.keys)
    except RefusedError:
        return False
    return dict(statement.files) == {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.name != "model.sig"
    }


def test_what_the_package_signs_is_verified_here(publisher: Publisher, directory: Path) -> None:
    sign(publisher, directory)
    statement = signature.verify((directory / "model.sig").read_bytes(), publisher.keys)
    assert statement.model == "speech"
    assert package_says(publisher, directory)
    assert ours_says(publisher, directory)


def test_the_signatures_of_the_tests_are_those_of_the_package(tmp_path: Path) -> None:
    """What stands in for the package in the unit tests passes the package's own verifier."""
    publisher = Publisher()
    directory = deliver(tmp_path, publisher)
    bundle = json.loads((directory / "model.sig").read_text())
    payload = publisher.sign(
        "speech",
        {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "model.sig"},
        lambda statement: statement["predicate"]["serialization"].update(  # type: ignore[index]
            {"allow_symlinks": False, "ignore_paths": ["model.sig"]}
        ),
    )
    (directory / "model.sig").write_bytes(payload)
    assert bundle["mediaType"] == signature.BUNDLE_TYPE
    assert package_says(publisher, directory)


def a_byte_of_the_model(directory: Path) -> None:
    (directory / "model.onnx").write_bytes(onnx(b"\x01\x02\x03\x05"))


def the_record(directory: Path) -> None:
    (directory / "record.json").write_text("{}")


def one_file_more(directory: Path) -> None:
    (directory / "more").write_text("")


def one_file_less(directory: Path) -> None:
    (directory / "record.json").unlink()


def bundle(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(directory: Path) -> None:
        path = directory / "model.sig"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return edit


def the_payload(document: Any) -> None:
    payload = document["dsseEnvelope"]["payload"]
    document["dsseEnvelope"]["payload"] = payload[:40] + payload[40:].swapcase()


def the_signature(document: Any) -> None:
    found = document["dsseEnvelope"]["signatures"][0]
    found["sig"] = found["sig"][:12] + ("A" if found["sig"][12] != "A" else "B") + found["sig"][13:]


def the_hint(document: Any) -> None:
    document["verificationMaterial"]["publicKey"]["hint"] = "0" * 64


def the_media_type(document: Any) -> None:
    document["mediaType"] = "application/json"


@pytest.mark.parametrize(
    "spoil",
    [
        a_byte_of_the_model,
        the_record,
        one_file_more,
        one_file_less,
        bundle(the_payload),
        bundle(the_signature),
        bundle(the_hint),
        bundle(the_media_type),
    ],
)
def test_both_refuse_what_was_changed(directory: Path, spoil: Callable[[Path], None]) -> None:
    publisher = Publisher()
    sign(publisher, directory)
    spoil(directory)
    assert not package_says(publisher, directory)
    assert not ours_says(publisher, directory)


def test_both_refuse_another_key(directory: Path) -> None:
    sign(Publisher("stranger"), directory)
    assert not package_says(Publisher("acme"), directory)
    assert not ours_says(Publisher("acme"), directory)


# Models of several files, as the whole store judges them.

FIRST, SECOND = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"
DATA = {"model.onnx": external("model.onnx.data"), "model.onnx.data": b"weights"}
PARTS = {f"m-{n:05}-of-00002.gguf": b"GGUF\3" + bytes(19) + bytes([n]) for n in (1, 2)}


def store_says(publisher: Publisher, directory: Path) -> str:
    """``admitted``, or why not. It takes what is delivered, so it comes last."""
    cover = FakeCover()
    try:
        (verdict,) = store(directory.parents[1], cover, publisher).run()
        return verdict.reason or str(verdict.state)
    finally:
        cover.close()


@pytest.mark.parametrize("contents", [shards(), DATA, PARTS], ids=["shards", "onnx", "gguf"])
def test_what_the_package_signs_over_several_files_is_admitted(
    publisher: Publisher, tmp_path: Path, contents: dict[str, bytes]
) -> None:
    directory = deliver_several(tmp_path / "models", None, contents)
    sign(publisher, directory)
    assert package_says(publisher, directory)
    assert ours_says(publisher, directory)
    assert store_says(publisher, directory) == "admitted"


def a_byte_of_a_shard(directory: Path) -> None:
    with (directory / SECOND).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")


def two_shards(directory: Path) -> None:
    first, second = (directory / name for name in (FIRST, SECOND))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def a_shard_of_another_model(directory: Path) -> None:
    (directory / FIRST).write_bytes(shards(b"of another")[FIRST])


def one_shard_fewer(directory: Path) -> None:
    (directory / SECOND).unlink()


def one_file_more_that_is_listed(directory: Path) -> None:
    (directory / "tokenizer.json").write_text("{}")
    record = json.loads((directory / "record.json").read_text())
    record["files"].append("tokenizer.json")
    (directory / "record.json").write_text(json.dumps(record))


def a_shard_under_another_name(directory: Path) -> None:
    (directory / FIRST).rename(directory / "model-00004-of-00003.safetensors")


def a_file_in_a_directory(directory: Path) -> None:
    (directory / "more").mkdir()
    (directory / "more/config.json").write_text("{}")


def a_link_to_the_same_bytes(directory: Path) -> None:
    (directory / SECOND).rename(directory.parents[1] / "elsewhere")
    (directory / SECOND).symlink_to(directory.parents[1] / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (a_byte_of_a_shard, f"altered: {SECOND} is not what acme signed"),
        (two_shards, "looks for layer1"),
        (a_shard_of_another_model, f"altered: {FIRST} is not what acme signed"),
        (one_shard_fewer, f"altered: {SECOND} is missing"),
        (one_file_more, "more is there, and record.json does not list it"),
        (one_file_more_that_is_listed, "the signature does not cover tokenizer.json"),
        (a_shard_under_another_name, f"altered: {FIRST} is missing"),
        (a_file_in_a_directory, "more is there, and record.json does not list it"),
        (a_link_to_the_same_bytes, f"{SECOND} cannot be used: Too many levels of symbolic links"),
        (bundle(the_payload), "altered: "),
        (bundle(the_signature), "altered: the signature by acme does not hold"),
    ],
)
def test_both_refuse_several_files_of_which_one_was_changed(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    publisher = Publisher()
    directory = deliver_several(tmp_path / "models", None, shards())
    sign(publisher, directory)
    spoil(directory)
    assert not package_says(publisher, directory)
    assert reason in store_says(publisher, directory)


def test_what_the_record_does_not_list_is_refused_though_it_is_signed(tmp_path: Path) -> None:
    """The package would take it: what a unit gets is the record's to say."""
    publisher = Publisher()
    directory = deliver_several(tmp_path / "models", None, {**shards(), "tokenizer.json": b"{}"})
    record = json.loads((directory / "record.json").read_text())
    record["files"].remove("tokenizer.json")
    (directory / "record.json").write_text(json.dumps(record))
    sign(publisher, directory)
    assert package_says(publisher, directory)
    reason = "tokenizer.json is there, and record.json does not list it"
    assert store_says(publisher, directory) == reason
