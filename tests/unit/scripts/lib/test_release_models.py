"""A model's delivery is published as it is, and a machine's own client finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib import release_models, release_rollout
from lib.host import HostError

from ainit.child.source import open_source
from ainit.errors import RefusedError
from ainit.ota.trust import Trust
from tests.support.release import IMAGE, Publisher


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path)
    made.begin()
    return made


def test_a_machine_finds_it_beside_the_images(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish("9.0.0")
    version = publisher.repository().open("targets").signed.version
    first, second = publisher.deliver(), publisher.deliver(text="better")
    publisher.publish_model("1.0", first)
    publisher.publish_model("1.1", second)
    assert publisher.repository().open("targets").signed.version == version  # not signed anew
    with open_source(str(publisher.directory)) as source:
        trust = Trust(str(tmp_path / "state"), publisher.root(), source)
        newest, old = trust.model("stable", "speech"), trust.model("stable", "speech", "1.0")
        assert newest is not None
        assert old is not None
        assert (newest.version, old.version) == ("1.1", "1.0")
        for release, directory in ((newest, second), (old, first)):
            for name in release.files:
                place = tmp_path / release.version / name
                path = f"stable/model.speech/{release.version}/{name}"
                trust.fetch(path, str(place), lambda done, total: None)
                assert place.read_bytes() == (directory / name).read_bytes()
        offered = trust.newest("stable", IMAGE)
        assert offered is not None
        assert offered.release.version == "9.0.0"
        assert trust.model("stable", "vision") is None
        assert trust.model("edge", "speech") is None
        with pytest.raises(RefusedError, match="is no name of a model"):
            trust.model("stable", IMAGE + "/..")
        with pytest.raises(RefusedError, match=r"release\.json"):
            trust.newest("stable", "model.speech")


def test_versions_only_grow_and_never_mean_two_things(publisher: Publisher) -> None:
    publisher.publish_model("1.1", publisher.deliver())
    publisher.publish_model("1.1", publisher.deliver())  # the same bytes: nothing new
    publisher.publish_model("1.1", publisher.deliver(), channel="beta")
    with pytest.raises(HostError, match=r"1\.0 is not above it"):
        publisher.publish_model("1.0", publisher.deliver())
    with pytest.raises(HostError, match=r"with other bytes: .*model\.onnx"):
        publisher.publish_model("1.1", publisher.deliver(text="other"), channel="edge")


@pytest.mark.parametrize("name", ["record.json", "model.sig", "model.onnx"])
def test_a_delivery_that_is_not_whole(publisher: Publisher, name: str) -> None:
    directory = publisher.deliver()
    (directory / name).unlink()
    with pytest.raises(HostError, match=name):
        release_models.read(directory, "1.0")


def test_a_delivery_with_more_than_it_lists(publisher: Publisher) -> None:
    directory = publisher.deliver()
    (directory / "notes.txt").write_text("x")
    with pytest.raises(HostError, match=r"does not list notes\.txt"):
        release_models.read(directory, "1.0")


@pytest.mark.parametrize("version", ["", "new", "1..0"])
def test_what_is_no_version(publisher: Publisher, version: str) -> None:
    with pytest.raises(HostError, match="is no version"):
        release_models.read(publisher.deliver(), version)


def test_a_model_has_no_share_of_the_machines(publisher: Publisher) -> None:
    publisher.publish_model("1.0", publisher.deliver())
    with pytest.raises(HostError, match="is asked for by name"):
        release_rollout.change(publisher.repository(), "stable", "model.speech", 50)
