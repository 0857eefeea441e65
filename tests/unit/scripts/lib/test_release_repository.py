"""What is published, what is refused, and what a reader finds when publishing was cut short."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lib import release_repository, release_rollout
from lib.host import HostError
from lib.release_keys import Key, KeyRing

from ainit.child.source import open_source
from ainit.cli.released import Reader, Seen
from ainit.ota.trust import Offered, Trust
from tests.support.release import IMAGE, Publisher


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path)
    made.begin()
    return made


def look(publisher: Publisher, state: Path, channel: str = "stable", version: str = "") -> Seen:
    with Reader(str(publisher.directory), publisher.root(), state) as reader:
        return reader.verify(channel, IMAGE, version)


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def die_at(step: int, work: Callable[[], object]) -> bool:
    """Do this in a process that is killed when it has put its ``step``-th file in place; counted
    from 1, and halves are the moments before. Whether it came to its end.
    """
    child = os.fork()
    if child == 0:
        seen, rename = 0, Path.rename

        def counted(path: Path, target: Path) -> Path:
            nonlocal seen
            seen += 1
            if 2 * seen - 1 == step:
                os.kill(os.getpid(), signal.SIGKILL)
            moved = rename(path, target)
            if 2 * seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return moved

        Path.rename = counted  # type: ignore[method-assign, assignment]
        try:
            work()
        except BaseException:  # noqa: BLE001 - a fork must not return into pytest
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def test_a_reader_finds_what_was_published(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish("1.0")
    assert look(publisher, tmp_path / "state").release.version == "1.0"
    publisher.publish("1.1")
    assert look(publisher, tmp_path / "state").release.version == "1.1"
    assert look(publisher, tmp_path / "state", version="1.0").release.version == "1.0"


def test_channels_are_apart(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish("1.0")
    publisher.publish("1.1", channel="edge")
    assert look(publisher, tmp_path / "state").release.version == "1.0"
    assert look(publisher, tmp_path / "state", "edge").release.version == "1.1"


def test_the_newest_is_for_a_share_of_the_machines(publisher: Publisher, tmp_path: Path) -> None:
    def offered() -> Offered | None:
        with open_source(str(publisher.directory)) as source:
            trust = Trust(str(tmp_path / "state"), publisher.root(), source)
            return trust.newest("stable", IMAGE)

    built = publisher.build("1.0")
    release_repository.publish(publisher.repository(), [built], "stable", rollout=10)
    found = offered()
    assert found
    assert (found.release.version, found.rollout) == ("1.0", 10)
    for percent in (50, 0, 100):
        named = release_rollout.change(publisher.repository(), "stable", IMAGE, percent)
        found = offered()
        assert found
        assert (named, found.rollout) == ("1.0", percent)
    with pytest.raises(HostError, match="stable has no release of base-riscv64"):
        release_rollout.change(publisher.repository(), "stable", "base-riscv64", 5)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_share_is_a_percentage(publisher: Publisher, percent: int) -> None:
    built = publisher.build("1.0")
    with pytest.raises(HostError, match="between 0 and 100"):
        release_repository.publish(publisher.repository(), [built], "stable", rollout=percent)
    assert not publisher.repository().begun


def test_what_is_there_already_changes_nothing(publisher: Publisher) -> None:
    publisher.publish("1.0")
    before = tree(publisher.directory)
    publisher.publish("1.0")
    assert tree(publisher.directory) == before


def test_an_old_version_with_the_same_bytes_changes_nothing(publisher: Publisher) -> None:
    publisher.publish("1.0", "1.1")
    before = tree(publisher.directory)
    built = publisher.place / "release-/1.0" / IMAGE
    assert release_repository.publish(publisher.repository(), [built], "stable") == []
    assert tree(publisher.directory) == before


@pytest.mark.parametrize("channel", ["stable", "beta"])
def test_a_version_never_means_two_things(publisher: Publisher, channel: str) -> None:
    publisher.publish("1.0")
    before = tree(publisher.directory)
    other = publisher.build("1.0", "other")
    said = r"1\.0 is published in stable with other bytes: .*root\.erofs.*needs a new version"
    with pytest.raises(HostError, match=said):
        release_repository.publish(publisher.repository(), [other], channel)
    assert tree(publisher.directory) == before


@pytest.mark.parametrize("version", ["0.9", "1.1.0"])
def test_versions_only_grow(publisher: Publisher, version: str) -> None:
    publisher.publish("1.1")
    built = publisher.build(version)
    with pytest.raises(HostError, match=r"stable has base-x86_64 1\.1; .* is not above it"):
        release_repository.publish(publisher.repository(), [built], "stable")


def test_a_damaged_release_is_not_published(publisher: Publisher) -> None:
    built = publisher.build("1.0")
    (built / "uki.efi").write_text("changed")
    with pytest.raises(HostError, match=r"uki\.efi differs"):
        release_repository.publish(publisher.repository(), [built], "stable")
    assert not publisher.repository().begun


def test_there_is_no_other_channel(publisher: Publisher) -> None:
    built = publisher.build("1.0")
    with pytest.raises(HostError, match="there is no channel 'nightly'; there are: stable"):
        release_repository.publish(publisher.repository(), [built], "nightly")


def test_without_a_channels_key_nothing_is_published(publisher: Publisher) -> None:
    publisher.publish("1.0")
    before = tree(publisher.directory / "metadata")
    ring = KeyRing(
        publisher.place,
        tuple(
            Key(key.role, key.public, None if key.role == "stable" else key.signer)
            for key in publisher.ring.keys
        ),
    )
    built = publisher.build("1.1")
    with pytest.raises(HostError, match=r"stable was signed by 0/1 keys: .* lacks keys of"):
        release_repository.publish(publisher.repository(ring), [built], "stable")
    assert tree(publisher.directory / "metadata") == before


def test_equal_steps_give_equal_bytes(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish("1.0", "1.1")
    other = Publisher(tmp_path / "other", publisher.now)
    shutil.copytree(publisher.place / "keys", other.place / "keys")
    other.begin()
    other.publish("1.0", "1.1")
    assert tree(other.directory) == tree(publisher.directory)


def test_a_timestamp_is_refreshed_alone(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish("1.0")
    before, old = tree(publisher.directory), publisher.repository().timestamp()
    publisher.repository(days=3).refresh(["timestamp"])
    after = tree(publisher.directory)
    assert {name for name in after if before.get(name) != after[name]} == {
        "metadata/timestamp.json"
    }
    found = publisher.repository().timestamp()
    assert found.version == old.version + 1
    assert found.expires == publisher.now.replace(microsecond=0) + timedelta(days=10)
    assert look(publisher, tmp_path / "state").release.version == "1.0"


def test_a_timestamps_key_is_all_that_refreshing_needs(publisher: Publisher) -> None:
    publisher.publish("1.0")
    only = KeyRing(
        publisher.place, tuple(key for key in publisher.ring.keys if key.role == "timestamp")
    )
    old = publisher.repository().timestamp().expires
    publisher.repository(only, days=3).refresh(["timestamp"])
    assert publisher.repository().timestamp().expires == old + timedelta(days=3)


@pytest.mark.parametrize("role", ["targets", "stable", "snapshot"])
def test_other_roles_are_renewed_by_name(publisher: Publisher, tmp_path: Path, role: str) -> None:
    publisher.publish("1.0")
    assert look(publisher, tmp_path / "state").release.version == "1.0"
    old = publisher.repository().open(role).signed
    publisher.repository(days=3).refresh([role])
    new = publisher.repository().open(role).signed
    assert (new.version, new.expires - old.expires) == (old.version + 1, timedelta(days=3))
    assert look(publisher, tmp_path / "state").release.version == "1.0"


def test_a_reader_never_sees_a_mixture(publisher: Publisher, tmp_path: Path) -> None:
    """The publisher is killed before and after every file that it puts in place."""
    publisher.publish("1.0")
    built = publisher.build("1.1")
    step, versions = 1, []
    while True:
        trial = Publisher(tmp_path / f"trial-{step}", publisher.now)
        shutil.copytree(publisher.place / "keys", trial.place / "keys")
        shutil.copytree(publisher.directory, trial.directory)
        state = tmp_path / f"state-{step}"
        assert look(trial, state).release.version == "1.0"
        work = trial.repository()
        ended = die_at(step, partial(release_repository.publish, work, [built], "stable"))
        versions.append(look(trial, state).release.version)
        assert look(trial, tmp_path / f"fresh-{step}").release.version == versions[-1]
        # The next publication mends what this one left, and leaves nothing over.
        release_repository.publish(trial.repository(), [built], "stable")
        assert look(trial, state).release.version == "1.1"
        assert list(trial.directory.rglob(".*")) == []
        if ended:
            break
        step += 1
    # 14 targets, then the channel, the snapshot, the timestamp: two moments each, and the end.
    assert versions == ["1.0"] * (2 * 17 - 1) + ["1.1"] * 2


def test_all_that_a_timestamp_leads_to_is_on_the_disk_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may lose what was not flushed, in any order: files, and names in directories."""
    publisher = Publisher(tmp_path)
    built = publisher.build("1.0")
    flush, rename, mkdir = os.fsync, Path.rename, Path.mkdir
    flushed: set[int] = set()
    unflushed: dict[int, Path] = {}

    def flushing(descriptor: int) -> None:
        flush(descriptor)
        flushed.add(os.fstat(descriptor).st_ino)
        unflushed.pop(os.fstat(descriptor).st_ino, None)

    def renaming(path: Path, target: Path) -> Path:
        assert path.stat().st_ino in flushed, f"{target} was not flushed"
        if target.name == "timestamp.json":
            assert unflushed == {}
        unflushed[target.parent.stat().st_ino] = target.parent
        return rename(path, target)

    def making(path: Path, *arguments: Any, **options: Any) -> None:
        fresh = not path.exists()
        mkdir(path, *arguments, **options)
        if fresh and path.is_relative_to(publisher.directory) and path != publisher.directory:
            unflushed[path.parent.stat().st_ino] = path.parent

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "rename", renaming)
    monkeypatch.setattr(Path, "mkdir", making)
    publisher.begin()
    release_repository.publish(publisher.repository(), [built], "stable")
    assert unflushed == {}
    assert len(flushed) > 14


def test_a_first_publication_that_was_cut_short_is_done_again(
    publisher: Publisher, tmp_path: Path
) -> None:
    built = publisher.build("1.0")
    untouched = publisher.directory
    step = 1
    while True:
        trial = Publisher(tmp_path / f"trial-{step}", publisher.now)
        shutil.copytree(publisher.place / "keys", trial.place / "keys")
        shutil.copytree(untouched, trial.directory)
        work = trial.repository()
        ended = die_at(step, partial(release_repository.publish, work, [built], "stable"))
        release_repository.publish(trial.repository(), [built], "stable")
        assert look(trial, tmp_path / f"state-{step}").release.version == "1.0"
        if ended:
            break
        step += 1


def test_a_time_counts_from_now(publisher: Publisher) -> None:
    publisher.now = datetime(2031, 1, 1, tzinfo=UTC)
    publisher.publish("1.0")
    assert publisher.repository().timestamp().expires == datetime(2031, 1, 8, tzinfo=UTC)
