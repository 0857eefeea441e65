from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.ota.release import File, Release, newest, order, patterns, target

RELEASE = Release("1.2.0", "base", "x86_64", "1.0", 3, {"root.erofs": File("a" * 64, 7)})


def test_a_description_is_read_as_it_was_written() -> None:
    data = RELEASE.to_bytes()
    assert Release.from_bytes(data) == RELEASE
    assert data == Release.from_bytes(data).to_bytes()


def test_an_image_is_variant_and_architecture() -> None:
    assert RELEASE.image == "base-x86_64"
    assert newest("beta", RELEASE.image) == "beta/base-x86_64/release.json"
    assert target("beta", RELEASE.image, "1.2.0", "a") == "beta/base-x86_64/1.2.0/a"
    assert patterns("beta") == ["beta/*/release.json", "beta/*/*/*"]


@pytest.mark.parametrize(
    ("lower", "higher"),
    [("0", "0.0.1"), ("0.9", "0.10"), ("1.9.9", "2"), ("1.2", "1.2.0.1"), ("1.2.1", "1.10")],
)
def test_versions_are_compared_by_their_numbers(lower: str, higher: str) -> None:
    assert order(lower) < order(higher)


def test_zeros_at_the_end_say_nothing() -> None:
    assert order("1.2") == order("1.2.0.0")


@pytest.mark.parametrize("text", ["", "1.", ".1", "1.02", "1.0rc1", "-1", "1..2", "1\n", "../1"])
def test_only_numbers_and_dots_are_versions(text: str) -> None:
    with pytest.raises(RefusedError, match="no version of a release"):
        order(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2 is not 1"),
        ({"more": 1}, "unknown: more"),
        ({"version": None}, "version is not text"),
        ({"version": "new"}, "'new' is no version"),
        ({"variant": "a/b"}, "variant 'a/b' is no word"),
        ({"architecture": ""}, "architecture '' is no word"),
        ({"version_floor": "1.3"}, "version_floor 1.3 is above 1.2.0"),
        ({"data_format_floor": 0}, "data_format_floor is not a generation"),
        ({"data_format_floor": True}, "data_format_floor is not a generation"),
        ({"files": []}, "object has no attribute"),
        ({"files": {"../x": {"sha256": "a" * 64, "size": 1}}}, "'../x' is no name of a file"),
        ({"files": {"release.json": {"sha256": "a" * 64, "size": 1}}}, "is no name of a file"),
        ({"files": {"x": {"sha256": "A" * 64, "size": 1}}}, "x: sha256 is not 64"),
        ({"files": {"x": {"sha256": "a" * 64, "size": -1}}}, "x: size is not a number"),
        ({"files": {"x": {"sha256": "a" * 64}}}, "'size' is missing"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    record = {**json.loads(RELEASE.to_bytes()), **change}
    with pytest.raises(RefusedError, match=said.replace("[", r"\[")):
        Release.from_bytes(json.dumps(record).encode())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(RefusedError):
        Release.from_bytes(json.dumps(value).encode())


@given(st.binary())
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        Release.from_bytes(data)
