"""Stamps of persistent timers: what cannot be read is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ainit.pid1.stamps import Stamps


def test_what_is_written_is_read(tmp_path: Path) -> None:
    stamps = Stamps(str(tmp_path / "timers"))
    assert stamps.read("a") is None
    stamps.write("a", 5)
    stamps.write("a", 1764547200)
    assert stamps.read("a") == 1764547200
    assert [path.name for path in (tmp_path / "timers").iterdir()] == ["a"]


@pytest.mark.parametrize("text", [b"", b"x", b"-5", b"1.5", b"9" * 400, "¹".encode()])
def test_what_is_no_stamp_is_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a").write_bytes(text)
    assert Stamps(str(tmp_path)).read("a") is None


def test_no_link_pipe_or_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("5")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    stamps = Stamps(str(tmp_path))
    assert [stamps.read(name) for name in ("link", "pipe", "folder")] == [None] * 3
