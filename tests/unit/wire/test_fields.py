from __future__ import annotations

import pytest

from ainit.wire import fields

SOURCE: fields.Json = {
    "name": "a", "none": "", "count": "7", "minus": "-7", "odd": "\u0661", "long": "1" * 20,
    "number": 7, "bytes": "AAE=", "junk": "A", "list": [1, 2],
}  # fmt: skip


def test_fields_that_are_what_they_should_be() -> None:
    assert fields.record(fields.parsed(b'{"a": 1}', "it"), "it", {"a"}) == {"a": 1}
    assert fields.text(SOURCE, "name") == "a"
    assert fields.number(SOURCE, "count") == 7
    assert fields.content(SOURCE, "bytes", 2) == b"\0\1"
    assert fields.array(SOURCE, "list", 2) == [1, 2]
    assert fields.array(SOURCE, "missing", 0) == []


@pytest.mark.parametrize("key", ["none", "missing", "number"])
def test_what_is_no_text(key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key} is missing or no text$"):
        fields.text(SOURCE, key)


@pytest.mark.parametrize("key", ["name", "minus", "odd", "long"])
def test_what_is_no_number(key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key} is no number$"):
        fields.number(SOURCE, key)


def test_bytes_that_are_none_or_too_many() -> None:
    with pytest.raises(ValueError, match=r"^junk is not base64$"):
        fields.content(SOURCE, "junk", 9)
    with pytest.raises(ValueError, match=r"^missing is missing or no text$"):
        fields.content(SOURCE, "missing", 9)
    with pytest.raises(ValueError, match=r"^bytes is longer than 1 bytes$"):
        fields.content(SOURCE, "bytes", 1)


def test_lists_that_are_none_or_too_long() -> None:
    with pytest.raises(ValueError, match=r"^name is no list$"):
        fields.array(SOURCE, "name", 9)
    with pytest.raises(ValueError, match=r"^list holds more than 1 items$"):
        fields.array(SOURCE, "list", 1)


def test_objects_that_are_none_or_hold_more() -> None:
    with pytest.raises(ValueError, match=r"^it is missing or no object$"):
        fields.record(None, "it")
    with pytest.raises(ValueError, match=r"^it has an unknown field b$"):
        fields.record({"a": 1, "b": 2}, "it", {"a"})
    with pytest.raises(ValueError, match=r"^it is not JSON"):
        fields.parsed("{", "it")


def test_what_is_shown_is_one_short_line() -> None:
    assert fields.shown("a\nb\x1b[31m\u00e9") == "a\\nb\\x1b[31m\\xe9"
    assert fields.shown(None) == "None"
    assert len(fields.shown("a" * 1000)) == 128
    with pytest.raises(ValueError, match=r"^it has an unknown field a\\nb$"):
        fields.record({"a\nb": 1}, "it", ())
