from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import model_files

NAMES = st.text(st.sampled_from("ab.-_1"), min_size=1, max_size=4)
DIGESTS = st.sampled_from(["sha256:" + each * 64 for each in "012"])
MODELS = st.dictionaries(NAMES, st.tuples(st.integers(0, 3), DIGESTS), min_size=2, max_size=4)
ONE, OTHER = ("sha256:" + each * 64 for each in "01")


def test_the_text_that_is_hashed_is_this() -> None:
    """Written out once more, for whoever computes it elsewhere."""
    text = f'{{"files":[["a.gguf",7,"{ONE}"],["b.gguf",8,"{OTHER}"]],"type":"ainos-model-files-1"}}'
    digest = model_files.digest({"b.gguf": (8, OTHER), "a.gguf": (7, ONE)})
    assert digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_one_file_keeps_its_own_digest() -> None:
    assert model_files.digest({"model.onnx": (7, ONE)}) == ONE


@given(MODELS, MODELS)
def test_equal_digests_mean_equal_files(
    one: dict[str, tuple[int, str]], other: dict[str, tuple[int, str]]
) -> None:
    assert (model_files.digest(one) == model_files.digest(other)) == (one == other)


@given(MODELS, st.randoms())
def test_the_order_in_which_files_are_told_does_not_count(
    model: dict[str, tuple[int, str]], random: object
) -> None:
    items = list(model.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert model_files.digest(dict(items)) == model_files.digest(model)


def test_two_files_that_change_places_give_another_digest() -> None:
    one = {"a": (1, ONE), "b": (1, OTHER)}
    assert model_files.digest(one) != model_files.digest({"a": (1, OTHER), "b": (1, ONE)})


@pytest.mark.parametrize(
    "name", ["model-00001-of-00003.safetensors", "model.onnx_data", "a", "A+b.1", "x" * 255]
)
def test_names_of_files(name: str) -> None:
    assert model_files.is_file(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-rf", "a/b", "/etc/passwd", "../x", "a b", "a\n", "ä", "x" * 256,
     "a\0", "a\\b", "a:b"],
)  # fmt: skip
def test_what_is_no_plain_name(name: str) -> None:
    assert not model_files.is_file(name)
