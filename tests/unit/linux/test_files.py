"""Files that are replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ainit.linux.files import replace


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace(str(path), b"one", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    before = path.stat().st_ino
    replace(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != before
    assert os.listdir(tmp_path) == ["file"]


def test_who_has_the_old_file_open_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    with open(path, "rb") as file:
        replace(str(path), b"two")
        assert file.read() == b"one"


def test_what_an_earlier_attempt_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half of something longer")
    replace(str(tmp_path / "file"), b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / ".file.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        replace(str(tmp_path / "file"), b"x")
    assert victim.read_bytes() == b"untouched"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace(str(path), b"x")
    assert path.is_dir()
