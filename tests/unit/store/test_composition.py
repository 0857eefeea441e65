from __future__ import annotations

import pytest

from ainit.errors import RefusedError
from ainit.store import composition
from ainit.store.onnx import External

INDEX = "model.safetensors.index.json"
TENSORS = {"a.safetensors": {"x", "y"}, "b.safetensors": {"z"}}
PLACES = {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}


def test_shards_with_an_index_that_is_right() -> None:
    composition.sharded({INDEX: {"weight_map": PLACES}}, TENSORS)
    composition.sharded({}, {"one.safetensors": {"x"}})
    composition.sharded({}, {})


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ({**PLACES, "w": "c.safetensors"}, "names c.safetensors, which is no safetensors file"),
        ({**PLACES, "x": "../a.safetensors"}, r"names \.\./a.safetensors, which is no"),
        ({**PLACES, "x": 7}, "names 7, which is no"),
        ({**PLACES, "w": "a.safetensors"}, "looks for w in a.safetensors, which lacks it"),
        ({**PLACES, "x": "b.safetensors"}, "looks for x in b.safetensors, which lacks it"),
        ({"x": "a.safetensors", "z": "b.safetensors"}, "a.safetensors holds y, of which"),
        ({"x": "a.safetensors", "y": "a.safetensors"}, "b.safetensors holds z, of which"),
        (None, "has no weight_map"),
    ],
)
def test_an_index_that_is_wrong(places: object, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        composition.sharded({INDEX: {"weight_map": places}}, TENSORS)


def test_a_tensor_that_lies_in_two_shards() -> None:
    with pytest.raises(RefusedError, match="holds x, of which"):
        composition.sharded(
            {INDEX: {"weight_map": PLACES}}, {**TENSORS, "b.safetensors": {"z", "x"}}
        )


@pytest.mark.parametrize(
    ("indices", "reason"),
    [
        ({}, "2 safetensors files without a .safetensors.index.json"),
        ({INDEX: []}, "has no weight_map"),
        (
            {INDEX: {"weight_map": PLACES}, f"b{INDEX}": {"weight_map": PLACES}},
            "more than one index",
        ),
    ],
)
def test_shards_have_one_index(indices: dict[str, object], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        composition.sharded(indices, TENSORS)


def part(number: int, count: int = 3, prefix: str = "m") -> str:
    return f"{prefix}-{number:05}-of-{count:05}.gguf"


def test_the_parts_of_a_split_file() -> None:
    composition.split([part(number) for number in (3, 1, 2)])
    composition.split(["one.gguf"])
    composition.split([])


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([part(1), part(3)], "part 2 of 3 is missing: m-…"),
        ([part(1), part(2), part(3), part(4)], "there are parts beyond the 3 of m-…"),
        ([part(0), part(1), part(2), part(3)], "there are parts beyond the 3 of m-…"),
        ([part(1, 2), part(2, 2, "n")], "not parts of one"),
        ([part(1, 2), part(2, 3)], "not parts of one"),
        (["a.gguf", "b.gguf"], "not parts of one"),
        ([part(1, 2), "b.gguf"], "not parts of one"),
    ],
)
def test_what_is_no_split_file(files: list[str], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        composition.split(files)


def test_weights_in_files_of_the_model() -> None:
    kept = [External("a", 4), External("b", 0), External("a", 8)]
    assert composition.external(kept, {"a": 8, "b": 0, "c": 1}) == {"a", "b"}


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (External("", 0), "keeps weights in other files, which nobody measured"),
        (External("c", 0), "keeps weights in other files .*c.*, which nobody measured"),
        (External("../a", 0), "which nobody measured"),
        (External("/etc/shadow", 0), "which nobody measured"),
        (External("*/_ORT_MEM_ADDR_/*", 0), "which nobody measured"),  # an address in memory
        (External("a", 9), "keeps weights beyond the end of a"),
    ],
)
def test_weights_anywhere_else(kept: External, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        composition.external([kept], {"a": 8})
