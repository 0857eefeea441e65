"""Several open files as one; what they mean to the store is in test_admission_of_several."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.linux import fsverity
from ainit.policy import model_files
from ainit.store.contents import link_over, opened_all
from tests.support import descriptors
from tests.support.store import FakeCover

FILES = {"a.json": b"first", "b.json": b"second"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    for name, content in FILES.items():
        (tmp_path / "folder" / name).write_bytes(content)
    return tmp_path / "folder"


@pytest.fixture
def cover() -> Iterator[FakeCover]:
    cover = FakeCover()
    yield cover
    cover.close()


def test_what_is_said_of_all(folder: Path, cover: FakeCover) -> None:
    with opened_all(str(folder), FILES, cover) as contents:
        contents.enable()
        digests = {
            name: (len(FILES[name]), fsverity.text(fsverity.digest_file(str(folder / name))))
            for name in FILES
        }
        assert f"sha256:{contents.digest()}" == model_files.digest(digests)
        assert contents.size() == 11
        signed = {name: sha256(content).hexdigest() for name, content in FILES.items()}
        assert contents.altered(signed) == ""
        assert contents.altered({**signed, "b.json": "0" * 64}) == "b.json"


def test_a_file_that_cannot_be_opened_leaves_none_open(folder: Path, cover: FakeCover) -> None:
    before = descriptors.at_first()
    with pytest.raises(FileNotFoundError), opened_all(str(folder), ["a.json", "x"], cover):
        pass
    assert descriptors.now() == before


@pytest.mark.parametrize("name", FILES)
def test_errors_name_the_file_that_they_are_about(
    folder: Path, cover: FakeCover, name: str
) -> None:
    """Not the one that was opened last."""
    with opened_all(str(folder), FILES, cover) as contents:
        with pytest.raises(RefusedError, match=r"a\.json: not covered"):
            contents.digest()
        contents.enable()
        (folder / name).write_bytes(b"other")
        signed = {file: sha256(content).hexdigest() for file, content in FILES.items()}
        with pytest.raises(OSError, match="error") as caught:
            contents.altered(signed)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, name)


def test_of_one_file_the_reason_says_all(folder: Path, cover: FakeCover) -> None:
    with (
        opened_all(str(folder), ["a.json"], cover) as contents,
        pytest.raises(RefusedError, match=r"^not covered"),
    ):
        contents.digest()


def test_a_link_takes_the_place_of_what_is_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")
    (folder / "a.json").chmod(0o600)
    with open(folder / "a.json") as file:
        for _ in range(2):
            link_over("a.json", file.fileno(), str(folder), str(tmp_path))
            assert sorted(os.listdir(tmp_path)) == ["a.json", "folder"]
            assert (tmp_path / "a.json").read_bytes() == b"first"
            assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o444


def test_another_file_of_the_name_is_not_linked(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")
    with (
        open(folder / "b.json") as file,
        pytest.raises(RefusedError, match=r"a\.json was exchanged while it was verified"),
    ):
        link_over("a.json", file.fileno(), str(folder), str(tmp_path))
    assert (tmp_path / "a.json").read_text() == "old"
