"""The mark of a boot that is not over."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.crash.marker import Marker, read, remove, write

MARKER = Marker("8f2a1c3e-0000", 1700000000.5, "6.12.1-ainos")


def test_there_and_back(tmp_path: Path) -> None:
    path = str(tmp_path / "running")
    assert read(path) is None
    write(path, MARKER)
    assert read(path) == MARKER
    remove(path)
    assert read(path) is None
    remove(path)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\x00", b"[" * 4000, b"{}", b'{"boot_id":7,"time":1,"kernel":""}']
)
def test_a_damaged_mark_is_still_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "running"
    path.write_bytes(data)
    found = read(str(path))
    assert found is not None
    assert (found.boot_id, found.kernel) == ("", "")
    assert found.time == path.stat().st_mtime
