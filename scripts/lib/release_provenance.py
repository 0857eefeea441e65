"""Where a release comes from: an in-toto Statement with a SLSA provenance predicate, signed.

The builder says which checkout, locks and kernel source the files were made from, and signs that
(DSSE, Ed25519). It is the builder's word: an image does not hold the commit it was built from.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from securesystemslib.dsse import Envelope

from ainit.ota.release import Release
from lib import debian_lock, wheels
from lib.architecture import of as architecture_of
from lib.debian_lock import LOCK
from lib.host import REPOSITORY, HostError, run, sha256_file
from lib.release import PRODUCT, epoch
from lib.release_keys import BUILDER, KeyRing

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PAYLOAD = "application/vnd.in-toto+json"
BUILD_TYPE = "urn:ainos:build:image:1"
DEVELOPMENT = "urn:ainos:builder:development"
GIT = ["git", "-c", "safe.directory=*"]


def statement(release: Release, builder: str) -> dict[str, object]:
    """What the builder says of these files. ``builder`` is its URI."""
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": file.sha256}}
            for name, file in sorted(release.files.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": release.facts(),
                "internalParameters": {"SOURCE_DATE_EPOCH": epoch()},
                "resolvedDependencies": materials(release.architecture),
            },
            "runDetails": {"builder": {"id": builder}},
        },
    }


def materials(architecture: str) -> list[dict[str, object]]:
    """What the image was made from: the checkout, the locks, the kernel's source."""
    commit = run([*GIT, "rev-parse", "HEAD"], cwd=REPOSITORY).strip()
    source: dict[str, object] = {"name": PRODUCT, "digest": {"gitCommit": commit}}
    if run([*GIT, "status", "--porcelain"], cwd=REPOSITORY):
        source["annotations"] = {"modified": True}
    scripts = REPOSITORY / "scripts"
    wheel_locks = {
        wheels.lock_of("wheels", architecture_of(architecture), python) for python in wheels.PYTHONS
    }
    locks = [LOCK, scripts / "models.txt", scripts / "requirements-host.txt", *wheel_locks]
    found: list[dict[str, object]] = [
        {"name": str(path.relative_to(REPOSITORY)), "digest": {"sha256": sha256_file(path)}}
        for path in sorted(locks)
    ]
    kernels: list[dict[str, object]] = [
        {"name": entry.filename, "digest": {"sha256": entry.sha256}}
        for entry in debian_lock.read(group="kernel")
    ]
    return [source, *found, *kernels]


def signed(said: Mapping[str, object], ring: KeyRing) -> bytes:
    """The statement in an envelope with the builder's signature. Raises HostError."""
    signers = ring.signers(str(key.keyid) for key in ring.of(BUILDER))
    if not signers:
        raise HostError(f"{ring.place}: no private key of the {BUILDER}")
    payload = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    envelope = Envelope(payload, PAYLOAD, {})
    for signer in signers:
        envelope.sign(signer)
    return (json.dumps(envelope.to_dict(), sort_keys=True) + "\n").encode()
