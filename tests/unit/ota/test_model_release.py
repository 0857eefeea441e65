"""A model's release says what it is, and can never be taken for an image's, nor the reverse."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import DelegatedRole

from ainit.errors import RefusedError
from ainit.ota.model_release import ModelRelease, image_of, is_model, named
from ainit.ota.release import File, Release, newest, patterns, target

FILES = {name: File("a" * 64, 7) for name in ("record.json", "model.sig", "model.onnx")}
RELEASE = ModelRelease("speech", "2.0", FILES)


def test_a_description_is_read_as_it_was_written() -> None:
    data = RELEASE.to_bytes()
    assert ModelRelease.from_bytes(data) == RELEASE
    assert (RELEASE.image, RELEASE.size) == ("model.speech", 21)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2 is not 1"),
        ({"more": 1}, "unknown: more"),
        ({"model": "../x"}, "is no name of a model"),
        ({"model": 5}, "is no name of a model"),
        ({"version": None}, "version is not text"),
        ({"version": "new"}, "'new' is no version"),
        ({"files": {}}, "it has no model.sig, record.json"),
        ({"files": {"../x": {"sha256": "a" * 64, "size": 1}}}, "no name of a model's file"),
        ({"files": {"release.json": {"sha256": "a" * 64, "size": 1}}}, "no name of a model's file"),
        ({"files": {"record.json": {"sha256": "a" * 64, "size": 1 << 20}}}, "more than 65536"),
        ({"files": []}, "object has no attribute"),
    ],
)
def test_what_is_not_in_order_is_refused(change: dict[str, object], said: str) -> None:
    record = {**json.loads(RELEASE.to_bytes()), **change}
    with pytest.raises(RefusedError, match=said):
        ModelRelease.from_bytes(json.dumps(record).encode())


words = st.from_regex(r"\A[a-z0-9_]+\Z")


@given(words, words, st.from_regex(r"\A[a-z][a-z0-9-]{0,31}\Z"))
def test_no_image_is_a_model(variant: str, architecture: str, name: str) -> None:
    release = Release("1", variant, architecture, "0", 1, {})
    assert Release.from_bytes(release.to_bytes()) == release
    assert not is_model(release.image)
    assert is_model(image_of(name))
    assert release.image != image_of(name)


def test_one_is_not_read_as_the_other() -> None:
    image = Release("1", "base", "x86_64", "0", 1, FILES)
    with pytest.raises(RefusedError):
        ModelRelease.from_bytes(image.to_bytes())
    with pytest.raises(RefusedError):
        Release.from_bytes(RELEASE.to_bytes())


def test_a_channels_role_covers_models_as_it_is() -> None:
    role = DelegatedRole("beta", [], 1, True, patterns("beta"))
    for path in (newest("beta", RELEASE.image), target("beta", RELEASE.image, "2.0", "model.onnx")):
        assert role.is_delegated_path(path)
        assert not role.is_delegated_path(path.replace("beta", "stable", 1))


def test_other_facts_are_another_description() -> None:
    assert RELEASE.facts() == {"model": "speech", "version": "2.0"}
    assert replace(RELEASE, version="2.1").to_bytes() != RELEASE.to_bytes()


@pytest.mark.parametrize(
    ("record", "name"),
    [(b'{"name": "a"}', "a"), (b"", ""), (b"[]", ""), (b'{"name": 5}', ""), (b"\xff", "")],
)
def test_what_a_record_calls_its_model(record: bytes, name: str) -> None:
    assert named(record) == name
