"""A repository of releases as an outsider sees it: what a machine would believe, and what is said.

Whom to believe is ``ainit.ota.trust``'s business, the same code as on the machine; here the files
of one release are compared with each other, and with who built them.

    with Reader(where, root, state) as reader:
        seen = reader.verify("stable", "base-x86_64")
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import SSlibKey

from ..child.source import Limits, open_source
from ..errors import RefusedError
from ..ota.release import DESCRIPTION, PROVENANCE, Release, newest, target
from ..ota.trust import Trust

MANIFEST, SBOM = "manifest.json", "sbom.cdx.json"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
_SMALL = 64 << 20  # bytes of what is read and compared


@dataclass(frozen=True, slots=True)
class Seen:
    """A release that was verified. ``builder`` signed the provenance only where a key was given."""

    release: Release
    size: int
    pcrs: Mapping[str, str]
    source: str
    builder: str


class Reader:
    """A client of one repository, a directory or an ``http`` address.

    ``root`` is the root that is trusted, from elsewhere; ``state`` a directory that remembers what
    was seen, without which older metadata passes for news; ``timeout`` how many seconds a server
    may be silent. A reader looks once.
    """

    def __init__(self, where: str, root: bytes, state: Path, timeout: float = 30.0) -> None:
        remote = where.startswith(("http://", "https://"))
        address = where if remote else str(Path(where).absolute())
        with ExitStack() as held:
            self._work = held.enter_context(tempfile.TemporaryDirectory(prefix="ainos-release-"))
            source = held.enter_context(open_source(address, Limits(silence_s=timeout)))
            self._trust = Trust(str(state), root, source)
            self._held = held.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def verify(
        self, channel: str, image: str, version: str = "", builder: bytes | None = None
    ) -> Seen:
        """Fetch a release, the newest if no version is named, and compare all that it says.

        ``builder`` is the public key, PEM, that must have signed the provenance. Raises
        RefusedError, and AinosError for what does not answer.
        """
        release: Release | None
        if version:
            release = self._trust.release(channel, image, version)
        else:
            offered = self._trust.newest(channel, image)
            release = offered.release if offered else None
        if release is None:
            path = target(channel, image, version) if version else newest(channel, image)
            raise RefusedError(f"there is no {path} in the repository")
        texts = {name: self._file(release, channel, name) for name in sorted(release.files)}
        return _judge(release, texts, builder)

    def _file(self, release: Release, channel: str, name: str) -> bytes:
        """Fetch a file of a release; only small ones are kept, and returned."""
        path = target(channel, release.image, release.version, name)
        if self._trust.known(path) != release.files[name]:
            raise RefusedError(f"{path} is not what {DESCRIPTION} says")
        if name in (MANIFEST, SBOM, PROVENANCE):
            return self._trust.small(path, _SMALL)
        place = Path(self._work, "file")
        self._trust.fetch(path, str(place), lambda *_: None)
        place.unlink()
        return b""


def _judge(release: Release, texts: Mapping[str, bytes], builder: bytes | None) -> Seen:
    """Compare manifest, bill of materials and provenance with the files. Raises RefusedError."""
    try:
        manifest = json.loads(texts[MANIFEST])
        findings = [
            f"{MANIFEST} says another {name}"
            for name in ("version", "variant", "architecture")
            if manifest[name] != getattr(release, name)
        ]
        findings += [
            f"{name} is not what {MANIFEST} says"
            for name, file in release.files.items()
            if (listed := manifest["files"].get(name)) and listed["sha256"] != file.sha256
        ]
        if json.loads(texts[SBOM])["bomFormat"] != "CycloneDX":
            findings.append(f"{SBOM} is no bill of materials")
        said = _statement(texts[PROVENANCE], builder)
        findings += _provenance(release, said)
        predicate = said["predicate"]
        source = predicate["buildDefinition"]["resolvedDependencies"][0]
        commit = source["digest"]["gitCommit"]
        commit += ", modified" if source.get("annotations", {}).get("modified") else ""
        seen = Seen(
            release,
            sum(file.size for file in release.files.values()),
            manifest["pcrs"],
            commit,
            predicate["runDetails"]["builder"]["id"],
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"{release.image} {release.version} is malformed: {error!r}") from error
    if findings:
        raise RefusedError("; ".join(findings))
    return seen


def _statement(data: bytes, builder: bytes | None) -> Any:
    try:
        envelope = Envelope.from_dict(json.loads(data))
        if builder is not None:
            key = SSlibKey.from_crypto(load_pem_public_key(builder))
            envelope.verify([key], 1)
    except (FormatError, VerificationError) as error:
        raise RefusedError(f"{PROVENANCE}: {error}") from error
    return json.loads(envelope.payload)


def _provenance(release: Release, said: Any) -> list[str]:
    """What is wrong with a statement about these files."""
    findings = []
    if (said["_type"], said["predicateType"]) != (_STATEMENT, _PREDICATE):
        findings.append(f"{PROVENANCE} is no SLSA provenance")
    subjects = {each["name"]: each["digest"]["sha256"] for each in said["subject"]}
    files = {name: file.sha256 for name, file in release.files.items() if name != PROVENANCE}
    differing = sorted({name for name, _ in subjects.items() ^ files.items()})
    if differing:
        findings.append(f"{PROVENANCE} is of another {', '.join(differing)}")
    if said["predicate"]["buildDefinition"]["externalParameters"] != release.facts():
        findings.append(f"{PROVENANCE} is of another release")
    return findings


def digest(data: bytes) -> str:
    """SHA-256, by which people compare a root with what they were told."""
    return hashlib.sha256(data).hexdigest()
