"""A repository of releases as an outsider sees it: python-tuf's client, and what a release says.

Whom to believe, rollback, freeze, mixtures and lengths are the library's business; then the files
of one release are compared with each other. python-tuf is on the hosts of operators and not in
the image, and so is this module (docs/adr/0020-releases-are-tuf-targets.md).

    with Reader(where, root, state) as reader:
        seen = reader.verify("stable", "base-x86_64")
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    RepositoryError,
)
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater, Urllib3Fetcher
from urllib3.exceptions import HTTPError

from ..errors import AinosError, RefusedError
from ..ota.release import DESCRIPTION, PROVENANCE, Release, newest, target

MANIFEST, SBOM = "manifest.json", "sbom.cdx.json"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """A release that was verified. ``builder`` signed the provenance only where a key was given."""

    release: Release
    size: int
    pcrs: Mapping[str, str]
    source: str
    builder: str


class Directory(FetcherInterface):
    """Reads a repository that lies on this computer, by ``file:`` addresses."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        if not path.is_file():
            raise DownloadHTTPError(f"{path} is not there", 404)
        return self._read(path)

    def _read(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


class Reader:
    """A client of one repository, a directory or an ``http`` address.

    ``root`` is the root that is trusted, from elsewhere; ``state`` a directory that remembers what
    was seen, without which older metadata passes for news; ``timeout`` how many seconds a server
    may be silent. A reader looks once.
    """

    def __init__(self, where: str, root: bytes, state: Path, timeout: float = 30.0) -> None:
        remote = where.startswith(("http://", "https://"))
        base = where.rstrip("/") if remote else Path(where).absolute().as_uri()
        self._where = where
        state.mkdir(parents=True, exist_ok=True)
        self._work = tempfile.TemporaryDirectory(prefix="ainos-release-")
        fetcher = Urllib3Fetcher(math.ceil(timeout)) if remote else Directory()
        try:
            self._updater = Updater(
                str(state),
                f"{base}/metadata/",
                self._work.name,
                f"{base}/targets/",
                fetcher,
                bootstrap=root,
            )
        except RepositoryError as error:
            self._work.cleanup()
            raise RefusedError(f"the trusted root: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._work.cleanup()

    def verify(
        self, channel: str, image: str, version: str = "", builder: bytes | None = None
    ) -> Seen:
        """Fetch a release, the newest if no version is named, and compare all that it says.

        ``builder`` is the public key, PEM, that must have signed the provenance. Raises
        RefusedError, and AinosError for what does not answer.
        """
        path = target(channel, image, version) if version else newest(channel, image)
        try:
            described, data = self._fetch(path)
            release = Release.from_bytes(data)
            if release.image != image or version not in ("", release.version):
                raise RefusedError(f"{path} describes {release.image} {release.version}")
            if described.custom != release.facts():
                raise RefusedError(f"{path} and its custom metadata differ")
            texts = {name: self._file(release, channel, name) for name in sorted(release.files)}
        except (RepositoryError, DownloadHTTPError, DownloadLengthMismatchError) as error:
            raise RefusedError(str(error)) from error
        except (DownloadError, HTTPError, OSError) as error:
            raise AinosError(f"{self._where}: {error.__cause__ or error}") from error
        return _judge(release, texts, builder)

    def _file(self, release: Release, channel: str, name: str) -> bytes:
        """Fetch a file of a release; only small ones are kept, and returned."""
        path = target(channel, release.image, release.version, name)
        found, data = self._fetch(path, keep=name in (MANIFEST, SBOM, PROVENANCE))
        wanted = release.files[name]
        if (found.hashes.get("sha256"), found.length) != (wanted.sha256, wanted.size):
            raise RefusedError(f"{path} is not what {DESCRIPTION} says")
        if found.custom != release.facts():
            raise RefusedError(f"{path}: its custom metadata differs from {DESCRIPTION}")
        return data

    def _fetch(self, path: str, *, keep: bool = True) -> tuple[TargetFile, bytes]:
        found = self._updater.get_targetinfo(path)
        if found is None:
            raise RefusedError(f"there is no {path} in the repository")
        place = Path(self._updater.download_target(found))
        try:
            return found, place.read_bytes() if keep else b""
        finally:
            place.unlink()


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
