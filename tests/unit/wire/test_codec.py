"""The codec says what the standard ``json`` says, with less."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.wire import codec

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
REPOSITORY = Path(__file__).resolve().parents[3]


@given(values)
def test_says_what_json_says(value: object) -> None:
    assert codec.dumps(value) == json.dumps(value, separators=(",", ":"))
    assert codec.loads(codec.dumps(value)) == value


@given(values)
def test_canonical_form_is_sorted_ascii(value: object) -> None:
    plain = json.dumps(value, separators=(",", ":"), sort_keys=True)
    assert codec.canonical(value) == plain.encode("ascii")


@given(values, st.sampled_from([None, 0, 2]), st.booleans())
def test_reads_what_json_writes(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert codec.loads(f" \n\t{text}\r\n") == value


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=2))
def test_canonical_form_ignores_the_order_of_insertion(value: dict[str, int]) -> None:
    assert codec.canonical(value) == codec.canonical(dict(reversed(value.items())))


BAD = [
    "",
    " ",
    "nul",
    "{",
    "[1,",
    '{"a"}',
    '{"a":}',
    "{a:1}",
    "[1]]",
    "1 2",
    "'a'",
    '"',
    '"a',
    '"\\x"',
    '"\\u12"',
    '"\n"',
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "\ufeff1",
    "[" * 100_000,
    '{"a":' * 100_000,
    "9" * 5000,
]


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:12]))
def test_bad_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.loads(text)


@given(st.binary())
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = codec.loads(data)
    except ValueError:
        return
    assert codec.loads(codec.dumps(value)) == value


def test_bad_text_is_a_value_error_without_the_json_package() -> None:
    """As in PID 1, where the C scanner does not find the exception class it looks for."""
    code = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from ainit.wire import codec
for text in {BAD!r}:
    try:
        codec.loads(text)
    except ValueError:
        continue
    sys.exit("accepted " + text[:20])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=code, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan]])
def test_what_json_cannot_say_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        codec.dumps(value)


@pytest.mark.parametrize("value", [b"", object(), {1}, {b"": 1}, {(): 1}])
def test_what_has_no_json_form_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        codec.canonical(value)


def test_endless_nesting_is_a_value_error() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError, match="nested"):
        codec.dumps(value)
