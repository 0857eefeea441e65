"""A machine's own client against everything that TUF and Uptane list: nothing of it is accepted.

Whoever attacks writes what is served, and holds the keys that a test names. The repository is a
directory, made with the code that makes the real one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lib import release_keys, release_root
from lib.release_root import Change
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, TargetFile, Targets

from ainit import constants
from ainit.child.source import Directory
from ainit.errors import RefusedError
from ainit.ota import trust as trusts
from ainit.ota.trust import Trust
from tests.support.release import IMAGE, Publisher, alter

FAR = 10**6


class Machine:
    """It trusts the first root; ``days`` is how far its clock is from the publisher's."""

    def __init__(self, publisher: Publisher, name: str = "machine") -> None:
        self.publisher = publisher
        self.place = publisher.place / name
        self.root = publisher.root()
        self.days = 0.0

    def trust(self) -> Trust:
        """What it knows, in a new process."""
        now = (self.publisher.now + timedelta(days=self.days)).timestamp()
        source = Directory(str(self.publisher.directory))
        return Trust(str(self.place), self.root, source, lambda: now)

    def accepted(self) -> str:
        """The version of the newest release that it would install."""
        trust = self.trust()
        offered = trust.newest("stable", IMAGE)
        assert offered is not None
        release = offered.release
        for name in release.files:
            trust.fetch(f"stable/{IMAGE}/{release.version}/{name}", str(self.place / name), quiet)
        return release.version


def quiet(*_: object) -> None:
    """Nobody wants to know how far it is."""


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path, datetime.now(UTC).replace(microsecond=0))
    made.begin()
    made.publish("1.0")
    return made


@pytest.fixture
def machine(publisher: Publisher) -> Machine:
    """One that has seen the first release."""
    made = Machine(publisher)
    assert made.accepted() == "1.0"
    return made


def metadata(publisher: Publisher) -> Path:
    return publisher.directory / "metadata"


def rotate(publisher: Publisher, role: str) -> None:
    """Replace the first key of a role, as its owner."""
    held = [path.stem for path in (publisher.place / "keys").glob(f"{role}*.pub.pem")]
    name = f"{role}-{len(held) + 10}"
    new = release_keys.development(publisher.place / "keys", [name]).place / f"{name}.pem"
    repository = publisher.repository()
    old = repository.delegator(role)[1][0]
    assert release_root.rotate(repository, Change(role, old, release_keys.load(new)))


# Rollback.


def test_an_old_timestamp(publisher: Publisher, machine: Machine) -> None:
    path = metadata(publisher) / "timestamp.json"
    old = path.read_bytes()
    publisher.publish("2.0")
    assert machine.accepted() == "2.0"
    path.write_bytes(old)
    with pytest.raises(RefusedError, match=r"timestamp version.*older than what this machine"):
        machine.accepted()


def test_an_old_snapshot(publisher: Publisher, machine: Machine) -> None:
    old = publisher.repository().snapshot().version
    publisher.publish("2.0")
    assert machine.accepted() == "2.0"

    def back(signed: Any) -> None:
        signed.snapshot_meta = MetaFile(old)

    publisher.alter("timestamp", "timestamp", back)
    with pytest.raises(RefusedError, match="snapshot version"):
        machine.accepted()


@pytest.mark.parametrize("role", ["targets", "stable"])
def test_old_targets(publisher: Publisher, machine: Machine, role: str) -> None:
    old = publisher.repository().open(role).signed.version
    publisher.repository().refresh([role])
    publisher.publish("2.0")
    assert machine.accepted() == "2.0"
    publisher.lead_to(role, old)
    with pytest.raises(RefusedError, match=rf"{role}\.json version {old}, got"):
        machine.accepted()


def test_an_old_root(publisher: Publisher, machine: Machine) -> None:
    """The next root's number, and the first root's content."""
    rotate(publisher, "root")
    assert machine.accepted() == "1.0"
    shutil.copy(metadata(publisher) / "1.root.json", metadata(publisher) / "3.root.json")
    with pytest.raises(RefusedError, match=r"root was signed by|root version 3 instead"):
        machine.accepted()


# Freeze.


def test_a_machine_is_not_kept_from_news_for_ever(machine: Machine) -> None:
    machine.days = 7.1
    with pytest.raises(RefusedError, match=r"timestamp\.json is expired; it is .* here: if that"):
        machine.accepted()


def test_a_clock_that_is_set_back_does_not_make_old_metadata_fresh(
    publisher: Publisher, machine: Machine
) -> None:
    """The machine has seen a timestamp of day 30: whatever its clock says, it is not earlier."""
    publisher.repository(days=30).refresh(["timestamp"])
    machine.days = 30
    assert machine.accepted() == "1.0"
    machine.days = -3000
    trust = machine.trust()
    trust.refresh()
    assert trust.signed_time() == (publisher.now + timedelta(days=30)).timestamp()

    def stale(signed: Any) -> None:
        signed.expires = publisher.now + timedelta(days=29)

    publisher.alter("snapshot", "snapshot", stale)
    publisher.alter("timestamp", "timestamp", forward)
    with pytest.raises(RefusedError, match=r"snapshot\.json is expired"):
        machine.accepted()


def forward(signed: Any) -> None:
    signed.snapshot_meta = MetaFile(signed.snapshot_meta.version + 1)


@pytest.mark.parametrize(("role", "days"), [("snapshot", 91), ("targets", 366), ("stable", 366)])
def test_no_role_is_fresh_for_ever(publisher: Publisher, role: str, days: int) -> None:
    publisher.repository(days=-days).refresh([role])
    publisher.repository().refresh(["timestamp"] if role == "snapshot" else ["snapshot"])
    with pytest.raises(RefusedError, match=rf"{role}(\.json)? is expired"):
        Machine(publisher, "new").accepted()


def test_the_last_root_that_has_expired_is_told_from_the_rest(machine: Machine) -> None:
    machine.days = 731
    with pytest.raises(RefusedError, match=r"root\.json is expired.*must sign the next root"):
        machine.accepted()


def test_no_time_is_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root.json"
    root.touch()
    monkeypatch.setattr(constants, "UPDATE_ROOT", str(root))
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert trusts.clock() == root.stat().st_mtime
    root.unlink()
    assert trusts.clock() == 1.0


# Fast-forward: whoever has keys for an hour makes versions, or the time, that nobody reaches.


def test_versions_without_reach_end_with_the_key(publisher: Publisher, machine: Machine) -> None:
    def far(signed: Any) -> None:
        signed.version = FAR

    shutil.copytree(metadata(publisher), publisher.place / "honest")
    publisher.alter("timestamp", "timestamp", far)
    assert machine.accepted() == "1.0"
    shutil.copy(publisher.place / "honest/timestamp.json", metadata(publisher))
    with pytest.raises(RefusedError, match=f"must be >= {FAR}"):
        machine.accepted()
    rotate(publisher, "timestamp")
    publisher.publish("2.0")
    assert machine.accepted() == "2.0"


def test_a_time_without_reach_ends_with_the_key(publisher: Publisher, machine: Machine) -> None:
    def late(signed: Any) -> None:
        signed.expires = publisher.now + timedelta(days=500)
        signed.unrecognized_fields["signed_at"] = f"{publisher.now + timedelta(days=400):%FT%TZ}"

    publisher.alter("timestamp", "timestamp", late)
    with pytest.raises(RefusedError, match="is expired"):
        machine.accepted()
    rotate(publisher, "timestamp")
    publisher.publish("2.0")
    assert machine.accepted() == "2.0"


@pytest.mark.parametrize("text", ["9999-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "soon", 7, None])
def test_a_time_that_is_none_is_not_learned(
    publisher: Publisher, machine: Machine, text: object
) -> None:
    """One after the timestamp's own end is none either: it would end every root."""

    def late(signed: Any) -> None:
        signed.unrecognized_fields["signed_at"] = text

    publisher.alter("timestamp", "timestamp", late)
    trust = machine.trust()
    trust.refresh()
    assert trust.signed_time() == publisher.now.timestamp()  # from the one before
    fresh = Machine(publisher, "new").trust()
    fresh.refresh()
    assert fresh.signed_time() is None


# Mixtures.


def test_metadata_of_two_states(publisher: Publisher, machine: Machine) -> None:
    repository = publisher.repository()
    old = repository.path("stable", repository.targets("stable").version)
    publisher.publish("2.0")
    new = publisher.repository()
    shutil.copy(old, new.path("stable", new.targets("stable").version))
    with pytest.raises(RefusedError, match=r"Expected stable v3, got v2"):
        machine.accepted()


def test_a_snapshot_that_lacks_a_role(publisher: Publisher, machine: Machine) -> None:
    def drop(signed: Any) -> None:
        del signed.meta["stable.json"]

    publisher.alter("snapshot", "snapshot", drop)
    publisher.alter("timestamp", "timestamp", forward)
    with pytest.raises(RefusedError, match=r"missing info for 'stable\.json'"):
        machine.accepted()
    with pytest.raises(RefusedError, match="stable was delegated but is not part of snapshot"):
        Machine(publisher, "new").accepted()


def test_a_snapshot_that_is_not_there(publisher: Publisher) -> None:
    for path in metadata(publisher).glob("*.snapshot.json"):
        path.unlink()
    with pytest.raises(RefusedError, match="the repository is not there, or not whole"):
        Machine(publisher, "new").accepted()


# Arbitrary and wrong software.


def served(publisher: Publisher, name: str) -> Path:
    (found,) = publisher.directory.glob(f"targets/stable/{IMAGE}/2.0/*.{name}")
    return found


def served_newest(publisher: Publisher) -> Path:
    (found,) = publisher.directory.glob(f"targets/stable/{IMAGE}/*.release.json")
    return found


@pytest.mark.parametrize(
    "change", [lambda data: b"x" + data[1:], lambda data: data[:-1], lambda data: b""]
)
def test_other_bytes(
    publisher: Publisher, machine: Machine, change: Callable[[bytes], bytes]
) -> None:
    publisher.publish("2.0")
    path = served(publisher, "root.erofs")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RefusedError, match="not the bytes that were signed"):
        machine.accepted()
    assert (machine.place / "root.erofs").read_text().startswith("root 1.0")
    assert not (machine.place / "root.erofs.part").exists()


def test_other_bytes_of_a_description(publisher: Publisher, machine: Machine) -> None:
    path = served_newest(publisher)
    path.write_bytes(path.read_bytes().replace(b'"version_floor": "0"', b'"version_floor": "1"'))
    with pytest.raises(RefusedError, match="not the bytes that were signed"):
        machine.trust().newest("stable", IMAGE)


def test_a_description_and_metadata_that_differ(publisher: Publisher, machine: Machine) -> None:
    def differ(signed: Any) -> None:
        signed.targets[f"stable/{IMAGE}/release.json"].custom["version_floor"] = "1"

    version = publisher.repository().targets("stable").version
    publisher.alter("stable", "stable", differ)
    publisher.lead_to("stable", version + 1)
    with pytest.raises(RefusedError, match="its custom metadata differ"):
        machine.trust().newest("stable", IMAGE)


def test_a_file_that_is_missing(publisher: Publisher, machine: Machine) -> None:
    publisher.publish("2.0")
    served(publisher, "uki.efi").unlink()
    with pytest.raises(RefusedError, match="the copy that is asked is not whole"):
        machine.accepted()


def test_a_release_of_another_image(publisher: Publisher, machine: Machine) -> None:
    """By whoever has the channel's key: what is signed for one image says that it is another's."""
    path = f"stable/{IMAGE}/release.json"

    def mislead(signed: Any) -> None:
        signed.targets["stable/server-x86_64/release.json"] = TargetFile.from_dict(
            signed.targets[path].to_dict(), "stable/server-x86_64/release.json"
        )

    version = publisher.repository().targets("stable").version
    publisher.alter("stable", "stable", mislead)
    publisher.lead_to("stable", version + 1)
    place = publisher.directory / "targets/stable"
    shutil.copytree(place / IMAGE, place / "server-x86_64")
    with pytest.raises(RefusedError, match=r"describes base-x86_64 1\.0"):
        machine.trust().newest("stable", "server-x86_64")
    assert machine.trust().newest("beta", IMAGE) is None


def forge(publisher: Publisher, path: str) -> TargetFile:
    """Lay a file of the attacker's where a target of this name is looked for."""
    data = b"evil"
    described = TargetFile.from_data(path, data, ["sha256"])
    place = publisher.directory / "targets" / described.get_prefixed_paths()[0]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return described


@pytest.mark.parametrize("thief", ["beta", "targets"])
def test_an_extraneous_delegation(publisher: Publisher, machine: Machine, thief: str) -> None:
    """A role delegates what was not given to it, or what was given to another before."""
    path = f"stable/{IMAGE}/9.0/uki.efi"
    evil = Targets(expires=publisher.now + timedelta(days=300))
    evil.targets[path] = forge(publisher, path)
    signer = next(key for key in publisher.ring.keys if key.role == "edge" and key.signer)

    def delegate(signed: Any) -> None:
        role = DelegatedRole("evil", [signer.id], 1, False, ["*/*/*/*", "*"])
        known = signed.delegations or Delegations({}, {})
        known.keys[signer.id] = signer.public
        signed.delegations = Delegations(known.keys, {**(known.roles or {}), "evil": role})

    signed = Metadata(evil)
    assert signer.signer is not None
    signed.sign(signer.signer)
    (metadata(publisher) / "1.evil.json").write_bytes(signed.to_bytes())
    version = publisher.repository().open(thief).signed.version
    publisher.alter(thief, thief, delegate)
    publisher.lead_to(thief, version + 1)
    publisher.lead_to("evil", 1)
    with pytest.raises(RefusedError, match=f"there is no {path}"):
        machine.trust().small(path, 100)
    assert machine.accepted() == "1.0"


# Keys below their threshold.


def test_one_root_key(publisher: Publisher, machine: Machine) -> None:
    path = metadata(publisher) / "2.root.json"
    shutil.copy(metadata(publisher) / "1.root.json", path)

    def second(signed: Any) -> None:
        signed.version = 2

    alter(path, publisher.ring, ["root"], second)
    forged: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    for each in sorted(forged.signatures)[1:]:
        del forged.signatures[each]
    path.write_bytes(forged.to_bytes())
    with pytest.raises(RefusedError, match=r"root was signed by 1/2 keys: too few"):
        machine.accepted()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "stable"])
def test_every_key_but_the_right_one(publisher: Publisher, machine: Machine, role: str) -> None:
    others = {"root", "targets", "snapshot", "timestamp", "stable", "beta", "edge"} - {role}
    version = publisher.repository().open(role).signed.version
    publisher.alter(role, " ".join(others), lambda signed: None)
    if role in ("targets", "stable"):
        publisher.lead_to(role, version + 1)
    elif role == "snapshot":
        publisher.alter("timestamp", "timestamp", forward)
    with pytest.raises(RefusedError, match=f"{role} was signed by 0/1 keys"):
        machine.accepted()


# Data without end, and at no speed: tests/unit/child/test_web.py has the second.


class Endless(Directory):
    """A source whose files with this end never end."""

    def __init__(self, path: str, end: str) -> None:
        super().__init__(path)
        self.end = end
        self.sent = 0

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See Source."""
        if not name.endswith(self.end):
            yield from super().read(name, start, end)
            return
        while self.sent < 100 << 20:  # for a test, that is without end
            self.sent += 1 << 16
            yield b"x" * (1 << 16)


@pytest.mark.parametrize(
    ("name", "most"),
    [("2.root.json", 512_000), ("timestamp.json", 16_384), ("2.stable.json", 5_000_000)],
)
def test_metadata_without_end(publisher: Publisher, name: str, most: int) -> None:
    source = Endless(str(publisher.directory), name)
    trust = Trust(str(publisher.place / "new"), publisher.root(), source)
    with pytest.raises(RefusedError, match="exceeding the maximum allowed length"):
        trust.newest("stable", IMAGE)
    assert source.sent <= most + (1 << 16)


def test_targets_without_end(publisher: Publisher) -> None:
    """A server is asked for so many bytes and no more; one that sends more is cut off."""
    source = Endless(str(publisher.directory), "uki.efi")
    trust = Trust(str(publisher.place / "new"), publisher.root(), source)
    place = publisher.place / "uki.efi"
    path = f"stable/{IMAGE}/1.0/uki.efi"
    with pytest.raises(RefusedError, match="more than"):
        trust.fetch(path, str(place), quiet)
    assert not place.exists()
    with pytest.raises(RefusedError, match="more than"):
        trust.small(path, 1000)
    assert source.sent <= 2 << 16


# What it is for.


def test_a_machine_that_was_off_for_years(tmp_path: Path) -> None:
    then = Publisher(tmp_path, datetime.now(UTC) - timedelta(days=1500))
    then.begin()
    then.publish("1.0")
    machine = Machine(then)
    for days in (500, 1000):
        repository = then.repository(days=days)
        release_root.propose(repository)
        release_root.sign_here(repository)
        release_root.publish(repository)
    then.now = datetime.now(UTC)
    then.repository().refresh(["targets", "stable", "snapshot", "timestamp"])
    assert machine.accepted() == "1.0"


def test_the_files_of_a_release_and_their_parts(publisher: Publisher, machine: Machine) -> None:
    trust = machine.trust()
    release = trust.release("stable", IMAGE, "1.0")
    assert release is not None
    assert trust.names("stable", IMAGE, "1.0") == release.files
    assert trust.names("stable", IMAGE, "1.1") == {}
    assert trust.release("stable", IMAGE, "1.1") is None
    path = f"stable/{IMAGE}/1.0/uki.efi"
    content = trust.small(path, 1000)
    assert content == b"kernel 1.0"
    wanted = [(0, 3), (3, 1), (7, 3), (2, 2)]
    assert list(trust.parts(path, wanted)) == [content[at : at + size] for at, size in wanted]
    with pytest.raises(RefusedError, match="has no bytes 5 to 11"):
        list(trust.parts(path, [(5, 6)]))
    with pytest.raises(RefusedError, match="more than 9"):
        trust.small(path, 9)


@pytest.mark.parametrize("rollout", [100, 0, 101, "all", True])
def test_a_release_is_offered_to_a_part_of_all_machines(
    publisher: Publisher, machine: Machine, rollout: object
) -> None:
    def some(signed: Any) -> None:
        signed.targets[f"stable/{IMAGE}/release.json"].custom["rollout"] = rollout

    version = publisher.repository().targets("stable").version
    publisher.alter("stable", "stable", some)
    publisher.lead_to("stable", version + 1)
    if rollout in (100, 0) and rollout is not True:
        offered = machine.trust().newest("stable", IMAGE)
        assert offered is not None
        assert offered.rollout == rollout
    else:
        with pytest.raises(RefusedError, match="is no percentage"):
            machine.trust().newest("stable", IMAGE)


def test_what_came_so_far_is_gone_on_with(publisher: Publisher, machine: Machine) -> None:
    trust = machine.trust()
    path, place = f"stable/{IMAGE}/1.0/uki.efi", publisher.place / "uki.efi"
    told: list[tuple[int, int]] = []
    place.with_name("uki.efi.part").write_bytes(b"kern")
    trust.fetch(path, str(place), lambda *now: told.append(now))
    assert (told[0], told[-1]) == ((4, 10), (10, 10))
    assert place.read_bytes() == b"kernel 1.0"
    place.unlink()
    place.with_name("uki.efi.part").write_bytes(b"of another")
    trust.fetch(path, str(place), quiet)
    assert place.read_bytes() == b"kernel 1.0"


def test_a_root_that_is_none(publisher: Publisher) -> None:
    with pytest.raises(RefusedError, match="the trusted root: "):
        Trust(str(publisher.place / "x"), b"{}", Directory("/"))
