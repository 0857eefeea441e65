"""The root of a repository: which keys sign what, signed by two of three people's keys.

A new root is a *proposal* first, a file that goes from one offline computer to the next and gets a
signature at each. It is published when enough keys of the old root and enough of the new one have
signed. Before it goes up, metadata that readers of the new root will look at is signed with the new
keys as well as with the old: at no moment does a reader of either find something it cannot verify.

    propose(repository); sign(repository.proposal, load(key)); publish(repository)
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, RootVerificationResult

from ainit.ota.release import CHANNELS
from lib.host import HostError, exclusive, published
from lib.release_keys import Key, KeyRing
from lib.release_repository import DAYS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Repository

ROLES = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
THRESHOLDS = {ROOT: 2, TARGETS: 1, SNAPSHOT: 1, TIMESTAMP: 1}


@dataclass(frozen=True, slots=True)
class Change:
    """One key of a role for another."""

    role: str
    old: str
    new: Key


def propose(repository: Repository, changes: Sequence[Change] = ()) -> Metadata[Root]:
    """Write the next root: the first one with the keys of the ring; else the last one's successor,
    with these changes and a later expiry. Raises HostError.
    """
    if repository.root_version:
        root = deepcopy(repository.root())
        root.version += 1
        for change in changes:
            _replace(root, change)
    else:
        root = Root(consistent_snapshot=True)
        for role in ROLES:
            root.roles[role].threshold = THRESHOLDS[role]
            for key in repository.ring.of(role):
                root.add_key(key, role)
    for role in ROLES:
        known, needed = len(root.roles[role].keyids), root.roles[role].threshold
        if known < needed:
            raise HostError(f"{role} has {known} keys, of which {needed} must sign")
    root.expires = repository.now + timedelta(days=DAYS[ROOT])
    proposed = Metadata(root)
    _write(repository.proposal, proposed)
    return proposed


def first(ring: KeyRing, path: Path, now: datetime) -> bool:
    """Make the root that images carry, of a ring that has all root keys; whether it was missing.
    One that is there stays: images trust it. Raises HostError.
    """
    with exclusive("update-root"), tempfile.TemporaryDirectory() as folder:
        if path.exists():
            return False
        repository = Repository(Path(folder), ring, now)
        propose(repository)
        sign_here(repository)
        made = repository.path(ROOT, publish(repository)).read_bytes()
        with published(path) as file:
            file.write_bytes(made)
    return True


def begin(repository: Repository, path: Path) -> bool:
    """Have a repository go on from the root that images carry; whether it has just begun. Raises
    HostError when it began with another.
    """
    data = path.read_bytes()
    try:
        carried: Metadata[Any] = Metadata.from_bytes(data)
        place = repository.path(ROOT, carried.signed.version)
        if not repository.root_version:
            repository.write(ROOT, carried)
    except RepositoryError as error:
        raise HostError(f"{path}: {error}") from error
    if not place.exists() or place.read_bytes() != data:
        raise HostError(
            f"{path}, which images carry, is no root of {repository.metadata}: machines would"
            " refuse what is published there. Copy the newest root from there, or publish elsewhere"
        )
    return repository.root_version == carried.signed.version and not repository.begun


def read(path: Path) -> Metadata[Root]:
    """Read a proposal. Raises HostError."""
    try:
        found: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    except OSError as error:
        hint = "`scripts/release root --propose` and `rotate` write one"
        raise HostError(f"no root is proposed: {path}: {error.strerror}; {hint}") from error
    except RepositoryError as error:
        raise HostError(f"{path}: {error}") from error
    if not isinstance(found.signed, Root):
        raise HostError(f"{path}: not a root")
    return found


def sign(path: Path, keys: Sequence[Key]) -> Metadata[Root]:
    """Add the signatures of these keys to a proposal, and keep those that it has."""
    proposed = read(path)
    for key in keys:
        if key.signer is None:
            raise HostError(f"{key.id[:16]} is a public key; the private one signs")
        proposed.sign(key.signer, append=True)
    _write(path, proposed)
    return proposed


def sign_here(repository: Repository) -> RootVerificationResult:
    """Add the signatures of all root keys that the ring has."""
    wanted = judge(repository).unsigned
    keys = [key for key in repository.ring.keys if key.signer and key.id in wanted]
    sign(repository.proposal, sorted(keys, key=lambda key: key.id))
    return judge(repository)


def judge(repository: Repository) -> RootVerificationResult:
    """Who has signed the proposal, and who may, by the root of now and by the proposed one."""
    proposed = read(repository.proposal)
    previous = repository.root() if repository.root_version else None
    try:
        return proposed.signed.get_root_verification_result(
            previous, proposed.signed_bytes, proposed.signatures
        )
    except ValueError as error:
        raise HostError(f"{repository.proposal}: {error}; propose it anew") from error


def publish(repository: Repository) -> int:
    """Publish the proposal, if it is signed as the old root and the new one ask; return its
    version. Raises HostError.
    """
    result = judge(repository)
    parts = {"the root of now": result.first} if repository.root_version else {}
    for whose, part in {**parts, "the proposed root": result.second}.items():
        if not part.verified:
            missing = ", ".join(each[:16] for each in sorted(part.unsigned))
            said = f"signed with {len(part.signed)} of {part.threshold} keys of {whose}"
            raise HostError(f"{repository.proposal}: {said}; missing: {missing}")
    proposed = read(repository.proposal)
    if repository.begun:
        for role in (TARGETS, SNAPSHOT, TIMESTAMP):
            _sign_for(repository, proposed.signed, role)
    repository.write(ROOT, proposed)
    repository.proposal.unlink()
    return proposed.signed.version


def rotate(repository: Repository, change: Change) -> bool:
    """Replace a key. A channel's takes effect at once; any other is proposed, and published if the
    ring has enough root keys. Whether it has taken effect. Raises HostError.
    """
    repository.root()
    if change.role in CHANNELS:
        if not repository.begun:
            raise HostError(f"nothing is published in {repository.metadata}")
        with repository.edit_targets() as targets:
            _replace(targets, change)
        repository.refresh([change.role])
        return True
    if change.role not in ROLES:
        raise HostError(f"there is no role {change.role!r}: {', '.join((*ROLES, *CHANNELS))}")
    propose(repository, [change])
    if sign_here(repository).verified:
        publish(repository)
        return True
    return False


def _replace(delegator: Any, change: Change) -> None:
    ids = delegator.get_delegated_role(change.role).keyids
    found = [each for each in ids if each.startswith(change.old)]
    if len(found) != 1 or not change.old:
        raise HostError(f"{change.role} has no key {change.old!r}: {', '.join(ids)}")
    if change.new.id in ids:
        raise HostError(f"{change.new.id[:16]} is a key of {change.role} already")
    delegator.revoke_key(found[0], change.role)
    delegator.add_key(change.new.public, change.role)


def _sign_for(repository: Repository, root: Root, role: str) -> None:
    """Have what readers see of a role verify under the proposed root, too."""
    metadata = repository.open(role)

    def verified() -> bool:
        return root.get_verification_result(
            role, metadata.signed_bytes, metadata.signatures
        ).verified

    if verified():
        return
    ids = root.get_delegated_role(role).keyids
    for signer in repository.ring.signers(ids):
        metadata.sign(signer, append=True)
    if not verified():
        wanted = ", ".join(each[:16] for each in ids)
        raise HostError(f"{repository.ring.place} lacks the new keys of {role}: {wanted}")
    repository.write(role, metadata)


def _write(path: Path, proposed: Metadata[Root]) -> None:
    with published(path) as file:
        file.write_bytes(proposed.to_bytes())
