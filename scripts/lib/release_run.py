"""The verbs of ``scripts/release``: which part does what, and what people read of it.

run(options)  # the lines to print
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root

from ainit.ota.release import CHANNELS, Described
from lib import (
    release_files,
    release_keys,
    release_models,
    release_provenance,
    release_rollout,
    release_root,
)
from lib import release_repository as repositories
from lib.host import HostError, exclusive
from lib.release_bundle import Signer
from lib.release_keys import KeyRing
from lib.release_repository import ROOT, TIMESTAMP, Repository
from lib.variant import Target

SHOWN = 16  # digits of a key's id that are printed


def run(options: argparse.Namespace) -> Iterator[str]:
    """Do what the command line says. Raises HostError."""
    if options.verb == "root" and options.sign:
        yield from _sign(options)
        return
    ring = KeyRing.read(options.keys) if options.keys else release_keys.development()
    repository = Repository(options.repository.absolute(), ring, options.now)
    verbs = {
        "build": _build,
        "publish": _publish,
        "publish-model": _publish_model,
        "rollout": _rollout,
        "root": _root,
        "rotate": _rotate,
        "timestamp": _renew,
        "renew": _renew,
    }
    try:
        yield from verbs[options.verb](options, repository)
    except RepositoryError as error:
        raise HostError(f"{options.repository}: {error}") from error


def _build(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    target = Target.of(options.variant, options.arch, release=True, extensions=options.extension)
    wanted = release_files.Wanted(
        version=options.version,
        image=(options.image or target.image).absolute(),
        version_floor=options.version_floor,
        extra=tuple(options.extra),
        previous=tuple(options.previous) if options.previous else None,
        bundle=_bundle_signer(options.keys),
        builder=options.builder_id or release_provenance.DEVELOPMENT,
    )
    yield str(release_files.build(wanted, options.out.absolute(), repository.ring))


def _bundle_signer(keys: Path | None) -> Signer | None:
    """What signs bundles for RAUC: a key in ``bundle/`` below the others, if there is one."""
    if keys is None:
        return Signer.development()
    return Signer.read(keys / "bundle") if (keys / "bundle").exists() else None


def _publish(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    for directory in options.directories:
        release_files.read(directory)  # before anything is written
    yield from _begun(options, repository)
    fresh = repositories.publish(repository, options.directories, options.channel, options.rollout)
    yield from _entered(options.channel, fresh)


def _publish_model(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    release = release_models.read(options.directory, options.version)  # before anything is written
    yield from _begun(options, repository)
    fresh = release_models.publish(repository, options.directory, release, options.channel)
    yield from _entered(options.channel, fresh)


def _begun(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    """See that there is a root; with development keys it is the one of the images."""
    if options.keys:
        if not repository.root_version:
            hint = "`scripts/release root --propose --keys DIR` begins with one"
            raise HostError(f"there is no root in {repository.metadata}; {hint}")
    else:
        release_root.first(repository.ring, release_keys.FIRST_ROOT, repository.now)
        if release_root.begin(repository, release_keys.FIRST_ROOT):
            yield f"root {repository.root_version}, as in {release_keys.FIRST_ROOT}"


def _entered(channel: str, fresh: Sequence[Described]) -> Iterator[str]:
    for release in fresh:
        yield f"{channel}: {release.image} {release.version}, {len(release.files)} files"
    if not fresh:
        yield f"{channel} has it already, byte by byte; nothing changed"


def _rollout(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    version = release_rollout.change(repository, options.channel, options.image, options.percent)
    yield f"{options.channel}: {options.image} {version} is for {options.percent} % of the machines"


def _root(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    if options.propose:
        yield from _described(release_root.propose(repository))
        yield f"proposed in {repository.proposal}"
    elif options.publish:
        with exclusive("release"):
            yield f"root {release_root.publish(repository)} is published"
    else:
        yield from _show(repository)


def _sign(options: argparse.Namespace) -> Iterator[str]:
    path = options.file or options.repository / "proposed" / "root.json"
    proposed = release_root.sign(path, [release_keys.load(options.sign)])
    yield from _described(proposed)
    signed = proposed.signed.get_verification_result(
        ROOT, proposed.signed_bytes, proposed.signatures
    )
    yield f"{path} is signed with {len(signed.signed)} of {signed.threshold} keys of its own"


def _rotate(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    new = release_keys.load(options.new)
    with exclusive("release"):
        done = release_root.rotate(repository, release_root.Change(options.role, options.old, new))
    if done:
        yield f"{options.role}: {options.old[:SHOWN]} is replaced by {new.id[:SHOWN]}"
    else:
        yield from _missing(repository)


def _renew(options: argparse.Namespace, repository: Repository) -> Iterator[str]:
    roles = [TIMESTAMP] if options.verb == "timestamp" else options.roles
    known = repositories.DAYS.keys() - {ROOT}
    if unknown := [role for role in roles if role not in known]:
        hint = "; a root is renewed by `scripts/release root --propose`" if ROOT in unknown else ""
        raise HostError(f"not a role to renew: {', '.join(unknown)}{hint}")
    if not repository.begun:
        raise HostError(f"nothing is published in {repository.metadata}")
    with exclusive("release"):
        repository.refresh(roles)
    yield from _show(repository)


def _show(repository: Repository) -> Iterator[str]:
    """What readers see: versions, expiry, keys; and the proposal, if there is one."""
    if repository.root_version:
        metadata = repository.open(ROOT)
        yield _line(ROOT, metadata, metadata.signed, repository)
    if repository.begun:
        for role in ("targets", *CHANNELS, "snapshot", TIMESTAMP):
            yield _line(role, repository.open(role), repository.delegator(role)[0], repository)
    yield from _missing(repository)


def _line(role: str, metadata: Metadata, delegator: object, repository: Repository) -> str:  # type: ignore[type-arg]
    signers = delegator.get_delegated_role(role)  # type: ignore[attr-defined]
    left = (metadata.signed.expires - repository.now).days
    until = f"{metadata.signed.expires:%Y-%m-%d}"
    state = f"{left:4} days" if metadata.signed.expires > repository.now else "EXPIRED  "
    ids = " ".join(each[:SHOWN] for each in sorted(signers.keyids))
    of = f"{signers.threshold} of {len(signers.keyids)}"
    return f"{role:10} {metadata.signed.version:4}  {until} {state}  {of}: {ids}"


def _described(proposed: Metadata[Root]) -> Iterator[str]:
    """What somebody signs who signs this root."""
    yield f"root {proposed.signed.version}, until {proposed.signed.expires:%Y-%m-%d}"
    for role in release_root.ROLES:
        keys = proposed.signed.get_delegated_role(role)
        ids = " ".join(each[:SHOWN] for each in sorted(keys.keyids))
        yield f"  {role:10} {keys.threshold} of {len(keys.keyids)}: {ids}"


def _missing(repository: Repository) -> Iterator[str]:
    if not Path(repository.proposal).exists():
        return
    result = release_root.judge(repository)
    version = release_root.read(repository.proposal).signed.version
    both = {" old": result.first, " new": result.second}
    parts = both if repository.root_version else {"": result.second}
    signed = [f"{len(part.signed)} of {part.threshold}{name}" for name, part in parts.items()]
    yield f"proposed: root {version}, signed with {' and '.join(signed)} keys"
    if not result.verified:
        yield f"may sign: {' '.join(each[:SHOWN] for each in sorted(result.unsigned))}"
