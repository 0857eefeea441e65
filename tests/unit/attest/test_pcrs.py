from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.attest import pcrs
from ainit.attest.tpms import MalformedError

VALUES = st.dictionaries(st.integers(0, 23), st.binary(min_size=32, max_size=32))


@given(VALUES)
def test_values_survive_the_file(values: dict[int, bytes]) -> None:
    assert pcrs.parse(pcrs.serialise(values)) == values


@given(VALUES.filter(bool), st.data())
def test_every_byte_counts(values: dict[int, bytes], data: st.DataObject) -> None:
    file = bytearray(pcrs.serialise(values))
    file[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert pcrs.parse(bytes(file)) != values
    except MalformedError:
        return


@given(st.binary(max_size=2000))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        pcrs.parse(data)


def test_software_can_reset_none_of_the_quoted_pcrs() -> None:
    assert not {16, 23} & set(pcrs.QUOTED)
    assert {0, 2, 4, 7, 9, 11, 12, 13, 14} <= set(pcrs.QUOTED)


def test_the_composite_is_over_the_values_in_rising_order() -> None:
    values = {14: b"b" * 32, 0: b"a" * 32}
    assert pcrs.composite(values) == hashlib.sha256(b"a" * 32 + b"b" * 32).digest()
