"""Reading for the fs-verity digest: short reads, early ends, and what is not covered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import MeasurementError, NotCoveredError
from ainit.linux import fsverity


@given(st.binary(max_size=20_000), st.integers(1, 5000))
def test_short_reads_change_nothing(data: bytes, most: int) -> None:
    rest = [data]

    def read(size: int) -> bytes:
        part, rest[0] = rest[0][: min(size, most)], rest[0][min(size, most) :]
        return part

    whole = iter([data[at : at + 4096] for at in range(0, len(data), 4096)])
    expected = fsverity.digest_stream(lambda size: next(whole), len(data))
    assert fsverity.digest_stream(read, len(data)) == expected


@pytest.mark.parametrize("missing", [1, 4096, 5000])
def test_data_that_ends_early_is_no_measurement(missing: int) -> None:
    rest = [bytes(10_000 - missing)]

    def read(size: int) -> bytes:
        part, rest[0] = rest[0][:size], rest[0][size:]
        return part

    with pytest.raises(MeasurementError, match="ended before its size"):
        fsverity.digest_stream(read, 10_000)


def test_a_file_without_fs_verity_is_not_covered(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"plain")
    with open(path, "rb") as file, pytest.raises(NotCoveredError, match="not covered"):
        fsverity.measure(file.fileno())


def test_the_written_form() -> None:
    assert fsverity.text(bytes(32)) == "sha256:" + "00" * 32
