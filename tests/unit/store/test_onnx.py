"""What an ONNX file says of others; what is none is in test_formats."""

from __future__ import annotations

import tempfile

import pytest

from ainit.errors import RefusedError
from ainit.store import onnx
from ainit.store.onnx import External
from tests.support import store as support
from tests.support.store import field


def check(content: bytes) -> list[External]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return onnx.check(file.fileno(), len(content))


def model(*entries: bytes) -> bytes:
    return field(1, 10) + field(7, field(5, b"".join(entries))) + field(8, b"")


def entry(*parts: bytes) -> bytes:
    return field(13, b"".join(parts))


def test_a_model_with_all_its_weights_names_nothing() -> None:
    assert check(support.onnx()) == []


def test_weights_elsewhere_are_told() -> None:
    assert check(support.external("a", "b")) == [External("a", 0), External("b", 0)]
    assert check(support.external("a", offset=4096, length=16)) == [External("a", 4112)]


def test_a_tensor_that_only_says_so_names_no_file() -> None:
    assert check(model(field(14, 1))) == [External("", 0)]
    assert check(model(field(13, 1))) == [External("", 0)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (model(entry(field(1, b"location"), field(2, b"a"), field(2, b"b"))), "says twice where"),
        (model(*2 * [entry(field(1, b"location"), field(2, b"a"))]), "twice what its location is"),
        (support.external("a", offset=-1), "the offset of weights .* is no number"),
        (support.external("a" * 5000), "names another file with more than 4096 bytes"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        check(content)
