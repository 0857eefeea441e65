"""The recovery key: how it is written, and what is taken for it."""

from __future__ import annotations

import os

import pytest

from ainit.errors import RefusedError
from ainit.seal import recovery


def test_every_key_has_a_text_of_its_own() -> None:
    texts = {recovery.text(os.urandom(32)) for _ in range(50)}
    assert len(texts) == 50
    assert {len(text) for text in texts} == {71}


@pytest.mark.parametrize("change", [str.upper, str.strip, lambda text: f" {text}\n"])
def test_it_is_taken_however_it_was_typed(change: object) -> None:
    assert callable(change)
    text = recovery.text(bytes(range(32)))
    assert recovery.normalised(change(text)) == text.encode()
    assert recovery.normalised(text.replace("-", "")) == text.encode()
    assert recovery.normalised(text.replace("-", " ")) == text.encode()


@pytest.mark.parametrize("typed", ["", "cccc", "a" * 64, "c" * 63, "c" * 65])
def test_what_is_none_is_refused(typed: str) -> None:
    with pytest.raises(RefusedError, match="8 groups of 8 letters"):
        recovery.normalised(typed)
