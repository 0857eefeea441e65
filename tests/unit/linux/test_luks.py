"""LUKS2 headers in files, by the real library; a device is made of them only on a machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.linux.luks import LuksError, Volume

FIRST, SECOND = b"\1" * 32, b"\2" * 32
KIND = "ainos-test"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A header with two slots and a token; making one takes a second."""
    path = tmp_path_factory.mktemp("luks") / "volume"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    with Volume(str(path)) as volume:
        volume.format("a label")
        slot = volume.add_first(FIRST)
        assert volume.add(FIRST, SECOND) == 1
        volume.add_token(KIND, slot, {"number": 7})
    return path.read_bytes()[: 16 << 20]


@pytest.fixture
def path(pristine: bytes, tmp_path: Path) -> str:
    """A file with that header."""
    place = tmp_path / "volume"
    place.write_bytes(pristine)
    with place.open("ab") as file:
        file.truncate(32 << 20)
    return str(place)


@pytest.fixture
def volume(path: str) -> Iterator[Volume]:
    """The volume, its header read."""
    with Volume(path) as opened:
        opened.load()
        yield opened


def test_each_secret_opens_its_slot(volume: Volume) -> None:
    assert (volume.slot_of(FIRST), volume.slot_of(SECOND)) == (0, 1)


def test_another_secret_opens_none(volume: Volume) -> None:
    with pytest.raises(RefusedError, match="opens nothing"):
        volume.slot_of(b"a guess")


def test_a_slot_that_was_dropped_opens_no_more(volume: Volume) -> None:
    volume.drop(1)
    with pytest.raises(RefusedError):
        volume.slot_of(SECOND)
    assert volume.slot_of(FIRST) == 0


def test_the_label_is_kept(path: str, volume: Volume) -> None:
    assert volume.label == "a label"
    volume.name("another")
    with Volume(path) as again:
        again.load()
        assert again.label == "another"


def test_tokens_are_kept_by_type(path: str, volume: Volume) -> None:
    number = volume.add_token("ainos-other", 1, {"number": 8})
    with Volume(path) as again:
        again.load()
        ((_, known),) = again.tokens(KIND)
        assert (known["number"], known["keyslots"]) == (7, ["0"])
        assert [found for found, _ in again.tokens("ainos-other")] == [number]
        again.drop_token(number)
        assert not list(again.tokens("ainos-other"))


def test_the_data_begins_behind_the_header(volume: Volume) -> None:
    assert volume.data_offset == 16 << 20


def test_what_is_no_volume_is_not_loaded(tmp_path: Path) -> None:
    place = tmp_path / "nothing"
    place.write_bytes(bytes(1 << 20))
    with Volume(str(place)) as volume, pytest.raises(LuksError, match=r"nothing: crypt_load"):
        volume.load()


def test_what_is_not_there_is_no_volume(tmp_path: Path) -> None:
    with pytest.raises(LuksError, match="crypt_init"):
        Volume(str(tmp_path / "missing"))
