"""Releases without images: a directory that looks like one, a repository, and who attacks it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lib import release_files, release_keys, release_models, release_repository, release_root
from lib.host import sha256_file
from lib.release_keys import KeyRing
from lib.release_repository import Repository
from tuf.api.metadata import Metadata, MetaFile

IMAGE = "base-x86_64"
PCRS = {str(pcr): f"{pcr:064x}" for pcr in (4, 7, 9, 11, 12, 13, 14)}


def image(directory: Path, version: str, text: str = "") -> Path:
    """Make a finished image's files, of a few bytes each; ``text`` is what the root holds."""
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        "root.erofs": f"root {version} {text}",
        "root.verity": f"hashes {version} {text}",
        "uki.efi": f"kernel {version}",
        "uki.seal.json": "{}",
        "systemd-bootx64.efi": "loader",
        "sbom.cdx.json": json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6"}),
        "manifest.json.sig": "signature",
    }
    for name, content in contents.items():
        (directory / name).write_text(content)
    manifest = {
        "version": version,
        "variant": "base",
        "architecture": "x86_64",
        "root": {"hash": hashlib.sha256(f"{version} {text}".encode()).hexdigest()},
        "pcrs": PCRS,
        "seal": {"generation": 2},
        "files": {
            name: {
                "sha256": sha256_file(directory / name),
                "size": (directory / name).stat().st_size,
            }
            for name in ("root.erofs", "root.verity", "uki.efi", "sbom.cdx.json")
        },
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


@dataclass
class Publisher:
    """Who publishes: keys, a repository, and releases in a directory."""

    place: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def directory(self) -> Path:
        """The repository, as it is served."""
        return self.place / "repository"

    @property
    def ring(self) -> KeyRing:
        """All its keys, in one place, as in development."""
        return release_keys.development(self.place / "keys")

    def repository(self, ring: KeyRing | None = None, days: float = 0) -> Repository:
        """The repository as a new process opens it; ``days`` from now."""
        return Repository(self.directory, ring or self.ring, self.now + timedelta(days=days))

    def begin(self) -> None:
        """Publish the first root."""
        repository = self.repository()
        release_root.propose(repository)
        release_root.sign_here(repository)
        release_root.publish(repository)

    def build(self, version: str, text: str = "", **wanted: Any) -> Path:
        """Make a release directory of a small image."""
        source = image(self.place / f"image-{version}-{text}", version, text)
        choice = release_files.Wanted(version, source, **wanted)
        return release_files.build(choice, self.place / f"release-{text}", self.ring)

    def publish(self, *versions: str, channel: str = "stable", days: float = 0) -> None:
        """Build and publish releases, one after the other."""
        for version in versions:
            built = self.build(version)
            release_repository.publish(self.repository(days=days), [built], channel)

    def deliver(self, name: str = "speech", text: str = "weights") -> Path:
        """Make a model's delivery, signed by nobody."""
        directory = self.place / f"model-{name}-{text}"
        directory.mkdir(parents=True, exist_ok=True)
        record = {"name": name, "kind": "model", "file": "model.onnx"}
        (directory / "record.json").write_text(json.dumps(record))
        (directory / "model.sig").write_text("signature")
        (directory / "model.onnx").write_text(text)
        return directory

    def publish_model(self, version: str, directory: Path, channel: str = "stable") -> None:
        """Publish a delivery as a release."""
        release = release_models.read(directory, version)
        release_models.publish(self.repository(), directory, release, channel)

    def root(self) -> bytes:
        """The first root, which a machine comes with."""
        return (self.directory / "metadata/1.root.json").read_bytes()

    def alter(self, role: str, keys: str, change: Callable[[Any], None]) -> None:
        """Write a role's next version over what is served, signed with these keys."""
        repository = self.repository()
        version = repository.open(role).signed.version
        path = repository.path(role, version)
        after = repository.path(role, version + 1)
        if path != after:
            shutil.copy(path, after)

        def later(signed: Any) -> None:
            signed.version += 1
            change(signed)

        alter(after, self.ring, keys.split(), later)

    def lead_to(self, role: str, version: int) -> None:
        """Have a new snapshot and a new timestamp lead to a version of a role."""

        def snapshot(signed: Any) -> None:
            signed.meta[f"{role}.json"] = MetaFile(version)

        def timestamp(signed: Any) -> None:
            signed.snapshot_meta = MetaFile(signed.snapshot_meta.version + 1)

        self.alter("snapshot", "snapshot", snapshot)
        self.alter("timestamp", "timestamp", timestamp)


def alter(path: Path, ring: KeyRing, names: Sequence[str], change: Callable[[Any], None]) -> None:
    """Change metadata in place, and sign it with the keys of these roles only."""
    metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    change(metadata.signed)
    metadata.signatures.clear()
    for key in ring.keys:
        if key.role in names and key.signer:
            metadata.sign(key.signer, append=True)
    path.write_bytes(metadata.to_bytes())
