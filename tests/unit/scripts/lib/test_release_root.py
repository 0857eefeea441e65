"""Roots are proposed, signed one key at a time, and published when old and new keys agree."""

from __future__ import annotations

import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from lib import release_keys, release_repository, release_root
from lib.host import HostError
from lib.release_keys import Key, KeyRing
from lib.release_root import Change

from ainit.cli.released import Reader
from tests.support.release import IMAGE, Publisher
from tests.unit.scripts.lib.test_release_repository import die_at


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


@pytest.fixture
def published(publisher: Publisher) -> Publisher:
    publisher.begin()
    publisher.publish("1.0")
    return publisher


def key(publisher: Publisher, name: str) -> Key:
    """A key of this name, made on first use, outside the publisher's directory of keys."""
    directory = publisher.place / "more"
    release_keys.development(directory, [name])
    return release_keys.load(directory / f"{name}.pem")


def held(publisher: Publisher, *more: Key, without: str = "") -> KeyRing:
    """The publisher's keys and more; of those for a role the public halves only."""
    keys = [
        Key(each.role, each.public, None if each.role == without else each.signer)
        for each in publisher.ring.keys
    ]
    return KeyRing(publisher.place, (*keys, *more))


def root_key(publisher: Publisher, number: int) -> Key:
    return release_keys.load(publisher.place / f"keys/root-{number}.pem")


def version(publisher: Publisher, state: Path) -> str:
    with Reader(str(publisher.directory), publisher.root(), state) as reader:
        return reader.verify("stable", IMAGE).release.version


def test_the_first_root_needs_two_people(publisher: Publisher) -> None:
    repository = publisher.repository()
    release_root.propose(repository)
    with pytest.raises(HostError, match="signed with 0 of 2 keys"):
        release_root.publish(repository)
    release_root.sign(repository.proposal, [root_key(publisher, 1)])
    with pytest.raises(HostError, match="signed with 1 of 2 keys"):
        release_root.publish(repository)
    release_root.sign(repository.proposal, [root_key(publisher, 1)])
    with pytest.raises(HostError, match="signed with 1 of 2 keys"):
        release_root.publish(repository)
    release_root.sign(repository.proposal, [root_key(publisher, 3)])
    assert release_root.publish(repository) == 1
    assert not repository.proposal.exists()


def test_images_carry_one_root_that_the_repository_goes_on_from(publisher: Publisher) -> None:
    path = publisher.place / "root.json"
    assert release_root.first(publisher.ring, path, publisher.now)
    made = path.read_bytes()
    assert not release_root.first(publisher.ring, path, publisher.now + timedelta(days=1))
    assert path.read_bytes() == made
    assert release_root.begin(publisher.repository(), path)
    assert publisher.root() == made
    publisher.publish("1.0")
    assert not release_root.begin(publisher.repository(), path)
    assert version(publisher, publisher.place / "state") == "1.0"


def test_a_repository_that_began_with_another_root_is_refused(published: Publisher) -> None:
    path = published.place / "root.json"
    stranger = Publisher(published.place / "stranger")
    release_root.first(stranger.ring, path, published.now)
    with pytest.raises(HostError, match="is no root of"):
        release_root.begin(published.repository(), path)


def test_a_timestamp_says_when_it_was_signed(published: Publisher) -> None:
    signed = published.repository().timestamp()
    assert signed.unrecognized_fields == {"signed_at": f"{published.now:%Y-%m-%dT%H:%M:%SZ}"}


def test_a_stranger_signs_in_vain(publisher: Publisher) -> None:
    repository = publisher.repository()
    release_root.propose(repository)
    strangers = [key(publisher, "root-8"), key(publisher, "root-9")]
    release_root.sign(repository.proposal, strangers)
    with pytest.raises(HostError, match="signed with 0 of 2 keys"):
        release_root.publish(repository)


def test_roots_keys_may_all_be_elsewhere(publisher: Publisher) -> None:
    ring = held(publisher, without="root")
    repository = publisher.repository(ring)
    release_root.propose(repository)
    assert not release_root.sign_here(repository).signed
    release_root.sign(repository.proposal, [root_key(publisher, 2), root_key(publisher, 3)])
    release_root.publish(repository)
    built = publisher.build("1.0")
    release_repository.publish(publisher.repository(ring), [built], "stable")
    assert version(publisher, publisher.place / "state") == "1.0"


def test_a_root_without_enough_keys_is_not_proposed(publisher: Publisher) -> None:
    ring = publisher.ring
    one = [each for each in ring.keys if each.role != "root"] + [root_key(publisher, 1)]
    with pytest.raises(HostError, match="root has 1 keys, of which 2 must sign"):
        release_root.propose(publisher.repository(KeyRing(ring.place, tuple(one))))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_root_key_is_replaced_if_old_and_new_agree(
    published: Publisher, tmp_path: Path, number: int
) -> None:
    assert version(published, tmp_path / "state") == "1.0"
    new = key(published, "root-4")
    repository = published.repository(held(published, without="root"))
    change = Change("root", root_key(published, number).id[:12], new)
    assert not release_root.rotate(repository, change)
    kept = [root_key(published, each) for each in (1, 2, 3) if each != number]
    release_root.sign(repository.proposal, [kept[0], new])
    with pytest.raises(HostError, match="1 of 2 keys of the root of now"):
        release_root.publish(repository)
    release_root.sign(repository.proposal, [kept[1]])
    assert release_root.publish(repository) == 2
    assert version(published, tmp_path / "state") == "1.0"
    assert version(published, tmp_path / "fresh") == "1.0"


def test_the_old_keys_alone_do_not_bring_a_root_in(published: Publisher) -> None:
    """Two keys change at once: of the old ones, one is left in the new root."""
    repository = published.repository()
    changes = [
        Change("root", root_key(published, number).id, key(published, f"root-{number + 3}"))
        for number in (1, 2)
    ]
    release_root.propose(repository, changes)
    release_root.sign_here(repository)
    with pytest.raises(HostError, match="1 of 2 keys of the proposed root"):
        release_root.publish(repository)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp", "stable"])
def test_a_key_is_replaced_under_the_eyes_of_old_readers(
    published: Publisher, tmp_path: Path, role: str
) -> None:
    assert version(published, tmp_path / "state") == "1.0"
    old = next(each for each in published.ring.keys if each.role == role)
    new = key(published, f"{role}-2")
    ring = held(published, new)
    assert release_root.rotate(published.repository(ring), Change(role, old.id, new))
    assert version(published, tmp_path / "state") == "1.0"
    assert version(published, tmp_path / "fresh") == "1.0"
    # From now on the new key signs, and the old one is of no use.
    built = published.build("1.1")
    without = published.repository()
    with pytest.raises(HostError, match=f"{role} was signed by 0/1 keys"):
        without.refresh([role])
    release_repository.publish(published.repository(ring), [built], "stable")
    assert version(published, tmp_path / "state") == "1.1"


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp", "stable"])
def test_a_rotation_that_was_cut_short_is_old_or_new(
    published: Publisher, tmp_path: Path, role: str
) -> None:
    old = next(each for each in published.ring.keys if each.role == role)
    new = key(published, f"{role}-2")
    ring = held(published, new)
    step = 1
    while True:
        trial = Publisher(tmp_path / f"trial-{step}", published.now)
        shutil.copytree(published.place / "keys", trial.place / "keys")
        shutil.copytree(published.directory, trial.directory)
        state = tmp_path / f"state-{step}"
        assert version(trial, state) == "1.0"
        repository, change = trial.repository(ring), Change(role, old.id, new)
        ended = die_at(step, partial(release_root.rotate, repository, change))
        assert version(trial, state) == "1.0"
        assert version(trial, tmp_path / f"fresh-{step}") == "1.0"
        if ended:
            break
        step += 1
    assert step > 6


def test_a_new_root_waits_until_it_can_be_followed(published: Publisher) -> None:
    """Without the new timestamp key at hand, readers of the new root would find nothing."""
    old = next(each for each in published.ring.keys if each.role == "timestamp")
    new = key(published, "timestamp-2")
    public = Key(new.role, new.public, None)
    repository = published.repository(held(published, public))
    with pytest.raises(HostError, match="lacks the new keys of timestamp"):
        release_root.rotate(repository, Change("timestamp", old.id, public))
    assert repository.root_version == 1


def test_a_root_is_renewed_without_a_change(published: Publisher, tmp_path: Path) -> None:
    repository = published.repository(days=100)
    release_root.propose(repository)
    release_root.sign_here(repository)
    assert release_root.publish(repository) == 2
    assert repository.root().roles == published.repository().root().roles
    assert version(published, tmp_path / "state") == "1.0"


def test_a_proposal_of_yesterday_is_said_to_be_one(published: Publisher) -> None:
    repository = published.repository()
    release_root.propose(repository)
    stale = repository.proposal.read_bytes()
    release_root.sign_here(repository)
    release_root.publish(repository)
    repository.proposal.write_bytes(stale)
    with pytest.raises(HostError, match=r"sequential root versions.*propose it anew"):
        release_root.publish(published.repository())


@pytest.mark.parametrize(
    ("role", "old", "said"),
    [
        ("root", "00", "root has no key '00'"),
        ("root", "", "root has no key ''"),
        ("stable", "zz", "stable has no key 'zz'"),
        ("nobody", "00", "there is no role 'nobody'"),
    ],
)
def test_what_cannot_be_replaced_is_named(
    published: Publisher, role: str, old: str, said: str
) -> None:
    with pytest.raises(HostError, match=said):
        release_root.rotate(published.repository(), Change(role, old, key(published, "root-4")))


def test_a_key_is_not_replaced_by_one_that_the_role_has(published: Publisher) -> None:
    change = Change("root", root_key(published, 1).id, root_key(published, 2))
    with pytest.raises(HostError, match="is a key of root already"):
        release_root.rotate(published.repository(), change)


def test_no_proposal_is_no_root(published: Publisher) -> None:
    with pytest.raises(HostError, match="no root is proposed"):
        release_root.publish(published.repository())


def test_a_public_key_signs_nothing(publisher: Publisher) -> None:
    repository = publisher.repository()
    release_root.propose(repository)
    public = release_keys.load(publisher.place / "keys/root-1.pub.pem")
    with pytest.raises(HostError, match="is a public key"):
        release_root.sign(repository.proposal, [public])
