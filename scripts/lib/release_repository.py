"""The TUF repository that releases are published in: target files, and the metadata about them.

    metadata/N.root.json  N.targets.json  N.CHANNEL.json  N.snapshot.json  timestamp.json
    targets/CHANNEL/IMAGE/VERSION/DIGEST.FILE

A file is written whole and flushed, and nothing refers to it yet: first target files, then the
channel, the snapshot, and last the timestamp, whose replacement is the one step that readers see.
What an interrupted publication leaves is written again by the next. Versions are those that the
timestamp leads to, and only grow. Leaves out the root and who holds keys: see `lib.release_root`.

    publish(Repository(BUILD / "repository", ring, now), [directory], "edge")
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository import Repository as TufRepository

from ainit.ota.release import (
    CHANNELS,
    DESCRIPTION,
    SIGNED_AT,
    Described,
    Release,
    newest,
    order,
    patterns,
    target,
)
from lib import release_files, release_rollout
from lib.host import HostError, exclusive, published, sha256_file, sync
from lib.release_keys import KeyRing

_D = TypeVar("_D", bound=Described)
ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
# For how many days metadata is fresh. The timestamp's is how long a reader can be kept from news.
DAYS = {ROOT: 730, TARGETS: 365, **dict.fromkeys(CHANNELS, 365), SNAPSHOT: 90, TIMESTAMP: 7}
_FIRST: dict[str, type[Snapshot | Timestamp]] = {SNAPSHOT: Snapshot, TIMESTAMP: Timestamp}


class Repository(TufRepository):
    """A repository in a directory. ``now`` is what expiry is counted from."""

    def __init__(self, directory: Path, ring: KeyRing, now: datetime) -> None:
        self.metadata = directory / "metadata"
        self.files = directory / "targets"
        self.proposal = directory / "proposed" / "root.json"
        self.ring = ring
        self.now = now.replace(microsecond=0)
        self._written: dict[str, bytes] = {}

    @property
    def root_version(self) -> int:
        """The newest root's version; 0 when there is none."""
        found = (path.name.partition(".")[0] for path in self.metadata.glob("*.root.json"))
        return max((int(version) for version in found if version.isdigit()), default=0)

    def open(self, role: str) -> Metadata[Any]:
        """A role's metadata as readers see it, or as it was written since; else an empty one."""
        if role in self._written:
            return Metadata.from_bytes(self._written[role])
        path = self._current(role)
        if path is None:
            empty: Metadata[Any] = Metadata(_FIRST.get(role, Targets)())
            empty.signed.version = 0
            return empty
        try:
            return Metadata.from_bytes(path.read_bytes())
        except (OSError, RepositoryError) as error:
            raise HostError(f"{path}: {error}") from error

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Sign a role's next version with every key of its that is at hand, and write it."""
        md.signed.version += 1
        md.signed.expires = self.now + timedelta(days=DAYS[role])
        if role == TIMESTAMP:
            md.signed.unrecognized_fields[SIGNED_AT] = f"{self.now:%Y-%m-%dT%H:%M:%SZ}"
        delegator, ids = self.delegator(role)
        md.signatures.clear()
        for signer in self.ring.signers(ids):
            md.sign(signer, append=True)
        try:
            delegator.verify_delegate(role, md.signed_bytes, md.signatures)
        except UnsignedMetadataError as error:
            wanted = ", ".join(each[:16] for each in ids)
            raise HostError(f"{error}: {self.ring.place} lacks keys of {wanted}") from error
        self.write(role, md)

    def write(self, role: str, metadata: Metadata[Any]) -> None:
        """Write what is signed, whole and flushed."""
        data = metadata.to_bytes()
        _make(self.metadata)
        with published(self.path(role, metadata.signed.version)) as file:
            file.write_bytes(data)
        self._written[role] = data

    def path(self, role: str, version: int) -> Path:
        """Where a version of a role's metadata lies; of the timestamp there is only one."""
        return self.metadata / (f"{role}.json" if role == TIMESTAMP else f"{version}.{role}.json")

    def delegator(self, role: str) -> tuple[Root | Targets, list[str]]:
        """Who says which keys sign a role, and the ids of these."""
        delegator = self.targets() if role in CHANNELS else self.root()
        return delegator, list(delegator.get_delegated_role(role).keyids)

    @property
    def begun(self) -> bool:
        """Whether readers find anything."""
        return self._current(TIMESTAMP) is not None

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """The versions that the next snapshot names."""
        versions = {role: self.open(role).signed.version for role in (TARGETS, *CHANNELS)}
        return {f"{role}.json": MetaFile(version) for role, version in versions.items() if version}

    @property
    def snapshot_info(self) -> MetaFile:
        """The version that the next timestamp names."""
        return MetaFile(self.open(SNAPSHOT).signed.version)

    def begin(self) -> None:
        """Write the first metadata below the root: every channel is delegated, and empty."""
        with self.edit_targets() as targets:
            roles = {name: DelegatedRole(name, [], 1, True, patterns(name)) for name in CHANNELS}
            targets.delegations = Delegations({}, roles)
            for name in CHANNELS:
                for key in self.ring.of(name):
                    targets.add_key(key, name)
        for name in CHANNELS:
            with self.edit_targets(name):
                pass
        self.do_snapshot()
        self.do_timestamp()

    def refresh(self, roles: Sequence[str]) -> None:
        """Sign roles anew, with a later expiry and else as they are; then what leads to them."""
        for role in roles:
            if role not in (SNAPSHOT, TIMESTAMP):
                with self.edit_targets(role):
                    pass
        self.do_snapshot(force=SNAPSHOT in roles)
        self.do_timestamp(force=TIMESTAMP in roles)

    def _current(self, role: str) -> Path | None:
        """Where a role's metadata lies that readers are led to."""
        if role == ROOT:
            if not self.root_version:
                raise HostError(f"there is no root in {self.metadata}")
            return self.path(ROOT, self.root_version)
        if role == TIMESTAMP:
            path = self.path(TIMESTAMP, 0)
            return path if path.exists() else None
        if not self.begun:
            return None
        if role == SNAPSHOT:
            return self.path(SNAPSHOT, self.timestamp().snapshot_meta.version)
        entry = self.snapshot().meta.get(f"{role}.json")
        return self.path(role, entry.version) if entry else None


def publish(
    repository: Repository, directories: Sequence[Path], channel: str, rollout: int = 100
) -> list[Release]:
    """Publish release directories in a channel, and return what is new there. Raises HostError.

    What a channel has already is left as it is, if every byte is the same. ``rollout`` is for how
    many machines of a hundred the newest is.
    """
    release_rollout.check(rollout)
    releases = [(directory, release_files.read(directory)) for directory in directories]
    return enter(repository, releases, channel, rollout)


def enter(
    repository: Repository, releases: Sequence[tuple[Path, _D]], channel: str, rollout: int = 100
) -> list[_D]:
    """Publish what was read of directories, whatever it describes; see ``publish``."""
    if channel not in CHANNELS:
        raise HostError(f"there is no channel {channel!r}; there are: {', '.join(CHANNELS)}")
    with exclusive("release"):
        _tidy(repository)
        if not repository.begun:
            repository.begin()
        fresh = [
            (directory, release)
            for directory, release in releases
            if not _published(repository, channel, directory, release)
        ]
        found: dict[str, TargetFile] = {}
        for directory, release in fresh:
            for name, path in _named(directory, release, channel).items():
                found[name] = TargetFile.from_file(name, str(path), ["sha256"])
                share = rollout if name == newest(channel, release.image) else 100
                found[name].unrecognized_fields["custom"] = release_rollout.custom(
                    release.facts(), share
                )
                _store(repository, found[name], path)
        if fresh:
            with repository.edit_targets(channel) as role:
                role.targets.update(found)
            repository.do_snapshot()
            repository.do_timestamp()
    return [release for _, release in fresh]


def _named(directory: Path, release: Described, channel: str) -> dict[str, Path]:
    """The targets of a release, and what file each is."""
    found = {
        target(channel, release.image, release.version, name): directory / name
        for name in (*release.files, DESCRIPTION)
    }
    return {**found, newest(channel, release.image): directory / DESCRIPTION}


def _published(repository: Repository, channel: str, directory: Path, release: Described) -> bool:
    """Whether a channel has this very release. Raises HostError when a version would not grow, or
    would mean two things.
    """
    digests = {name: file.sha256 for name, file in release.files.items()}
    digests[DESCRIPTION] = sha256_file(directory / DESCRIPTION)
    for each in CHANNELS:
        prefix = target(each, release.image, release.version, "")
        held = {
            name.removeprefix(prefix): file.hashes["sha256"]
            for name, file in repository.targets(each).targets.items()
            if name.startswith(prefix)
        }
        if held and held != digests:
            changed = sorted(name for name, _ in held.items() ^ digests.items())
            raise HostError(
                f"{release.image} {release.version} is published in {each} with other bytes: "
                f"{', '.join(dict.fromkeys(changed))}; what has changed needs a new version"
            )
        if held and each == channel:
            return True
    pointer = repository.targets(channel).targets.get(newest(channel, release.image))
    custom: Mapping[str, Any] = pointer.custom if pointer else {"version": "0"}
    if pointer and order(release.version) <= order(custom["version"]):
        raise HostError(
            f"{channel} has {release.image} {custom['version']}; {release.version} is not above it"
        )
    return False


def _store(repository: Repository, described: TargetFile, source: Path) -> None:
    """Put a file where readers look for it: under its digest, so nothing there is ever changed."""
    folder = repository.files / Path(described.path).parent
    _make(folder)
    place = folder / f"{described.hashes['sha256']}.{Path(described.path).name}"
    with published(place) as file:
        shutil.copyfile(source, file)


def _make(folder: Path) -> None:
    """Make a directory so that it is still there after a power cut."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir()
        sync(folder.parent)


def _tidy(repository: Repository) -> None:
    """Remove temporary files of a publication that was interrupted."""
    for folder in (repository.metadata, repository.files):
        for path in folder.rglob(".*.*"):
            path.unlink()
