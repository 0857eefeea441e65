from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lib.release_delta import WINDOW, difference

from ainit.errors import RefusedError
from ainit.ota.delta import Delta, Step, encode

OLD = bytes(range(256)) * 8


def decoded(made: bytes, old: bytes) -> bytes:
    return b"".join(Delta(io.BytesIO(made)).pieces(lambda at, size: old[at : at + size]))


@given(st.binary(max_size=600), st.lists(st.tuples(st.binary(max_size=40), st.data()), max_size=8))
def test_steps_come_back(old: bytes, parts: list[tuple[bytes, st.DataObject]]) -> None:
    steps = []
    for new, data in parts:
        start = data.draw(st.integers(0, len(old)))
        steps.append(Step(new, data.draw(st.integers(0, len(old) - start)), start))
    expected = b"".join(each.new + old[each.start : each.start + each.size] for each in steps)
    assert decoded(encode(steps, old), old) == expected


@given(
    st.binary(min_size=1, max_size=3000),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000), st.binary(max_size=50))),
)
def test_a_difference_that_was_found_leads_to_the_new(
    old: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    new = old
    for at, size, put in edits:
        new = new[: at % (len(new) + 1)] + put + new[at % (len(new) + 1) + size % 64 :]
    assert decoded(difference(old, new), old) == new


def test_what_moved_is_copied() -> None:
    blocks = [bytes([n]) * 1000 + bytes(range(n, n + 96)) * 32 for n in range(16)]
    old, new = b"".join(blocks), b"!" + b"".join(reversed(blocks))
    assert len(difference(old, new)) < 400


def test_pieces_are_small_however_much_is_copied() -> None:
    old = bytes(5 << 20)
    made = encode([Step(bytes(3 << 20), len(old), 0)], old)
    sizes = [
        len(piece) for piece in Delta(io.BytesIO(made)).pieces(lambda at, size: old[at : at + size])
    ]
    assert sum(sizes) == 8 << 20
    assert max(sizes) <= 1 << 20


def test_it_says_what_it_is_a_difference_to() -> None:
    delta = Delta(io.BytesIO(encode([Step(b"new", 4, 1)], OLD)))
    assert (delta.old_size, delta.new_size) == (len(OLD), 7)


@pytest.mark.parametrize(
    ("step", "what"),
    [(Step(b"", 10, len(OLD) - 5), "outside"), (Step(b"", 1, -1), "outside")],
)
def test_steps_that_lead_elsewhere_are_refused(step: Step, what: str) -> None:
    with pytest.raises(RefusedError, match=what):
        decoded(encode([step], OLD), OLD)


def test_more_than_it_promises_is_refused() -> None:
    made = bytearray(encode([Step(b"new", 100, 0)], OLD))
    struct.pack_into("<Q", made, 16, 50)
    with pytest.raises(RefusedError, match="outside"):
        decoded(bytes(made), OLD)


def test_steps_that_unpack_without_end_take_no_memory() -> None:
    packed = zlib.compress(bytes(80 << 20), 9)
    made = encode([], OLD)
    head = made[:24] + struct.pack("<Q", len(packed)) + made[32:64]
    with pytest.raises(RefusedError, match="damaged"):
        decoded(head + packed, OLD)


@given(st.data())
def test_damage_raises_nothing_but_refusals(
    data: st.DataObject,
) -> None:
    steps = [Step(b"some new bytes", 300, 7), Step(b"", 20, 900), Step(b"the end", 0, 0)]
    made = bytearray(encode(steps, OLD))
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(made)))
    with suppress(RefusedError):
        decoded(bytes(made[:cut]), OLD)


def test_an_old_release_that_ends_early_is_refused() -> None:
    with pytest.raises(RefusedError, match="old release ends"):
        decoded(encode([Step(b"", len(OLD), 0)], OLD), OLD[:100])


def test_windows_are_found_wherever_they_begin() -> None:
    old = bytes((n * 7919 + n // 251) % 256 for n in range(4 * WINDOW))
    for shift in range(WINDOW):
        new = b"#" + old[shift : shift + 2 * WINDOW]
        assert len(difference(old, new)) < len(difference(b"", new))
