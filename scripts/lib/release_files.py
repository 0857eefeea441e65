"""A release directory: the files of a finished image, where they come from, and what they are.

Equal images, checkouts and keys give equal bytes: nothing holds the time, JSON is sorted, and
Ed25519 signatures follow from key and text. Leaves out publishing, see `lib.release_repository`.

    directory = build(Wanted("1.2.0", image), BUILD / "release", ring)
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ainit.errors import RefusedError
from ainit.ota.release import DESCRIPTION, PROVENANCE, File, Release, order
from lib import release_bundle, release_prepared, release_provenance
from lib.assembly import APPROVAL, MANIFEST, SBOM
from lib.host import HostError, exclusive, published_tree, sha256_file
from lib.release_keys import KeyRing
from lib.variant import architecture_of

# What an update needs or is judged by; the boot loader's name depends on the architecture.
TAKEN = ("root.erofs", "root.verity", "uki.efi", APPROVAL, MANIFEST, f"{MANIFEST}.sig", SBOM)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make a release of. ``extra`` are files that travel with it, whatever they are;
    ``previous`` are release directories that it prepares the way from, by default the last ones
    beside it; ``bundle`` signs a bundle for RAUC.
    """

    version: str
    image: Path
    version_floor: str = "0"
    extra: tuple[Path, ...] = ()
    builder: str = release_provenance.DEVELOPMENT
    previous: tuple[Path, ...] | None = None
    bundle: release_bundle.Signer | None = None


def build(wanted: Wanted, out: Path, ring: KeyRing) -> Path:
    """Make ``out/VERSION/IMAGE`` and return it. Raises HostError."""
    try:
        order(wanted.version)
    except RefusedError as error:
        raise HostError(str(error)) from error
    architecture = architecture_of(wanted.image)
    manifest = _manifest(wanted)
    loader = Path(architecture.boot_loader).name
    sources = [wanted.image / name for name in (*TAKEN, loader)] + list(wanted.extra)
    named = {path.name: path for path in sources}
    if len(named) != len(sources) or {DESCRIPTION, PROVENANCE} & named.keys():
        raise HostError("two files of a release would have one name")
    if missing := [str(path) for path in sources if not path.is_file()]:
        raise HostError(f"missing: {', '.join(missing)}")
    files = {name: _file(path) for name, path in named.items()}
    _fits(wanted.image, manifest, files)
    release = _described(wanted, manifest)
    place = out / release.version / release.image
    with exclusive("release"), published_tree(place) as directory:
        for name, path in named.items():
            shutil.copyfile(path, directory / name)
        before = wanted.previous
        if before is None:
            before = release_prepared.previous(out, release)
        for path in release_prepared.write(directory, before):
            files[path.name] = _file(path)
        if wanted.bundle:
            path = release_bundle.write(directory, release, wanted.bundle)
            files[path.name] = _file(path)
        statement = release_provenance.statement(release.with_files(files), wanted.builder)
        (directory / PROVENANCE).write_bytes(release_provenance.signed(statement, ring))
        files[PROVENANCE] = _file(directory / PROVENANCE)
        (directory / DESCRIPTION).write_bytes(release.with_files(files).to_bytes())
        read(directory)
    return place


def read(directory: Path) -> Release:
    """Load a release directory, each file checked. Raises HostError with every finding."""
    try:
        release = Release.from_bytes((directory / DESCRIPTION).read_bytes())
    except OSError as error:
        raise HostError(f"{directory} is no release: {error.strerror}: {DESCRIPTION}") from error
    except RefusedError as error:
        raise HostError(f"{directory}: {error}") from error
    found = {path.name for path in directory.iterdir()} - {DESCRIPTION}
    findings = [f"{name} is missing" for name in sorted(release.files.keys() - found)]
    findings += [f"{name} is not in {DESCRIPTION}" for name in sorted(found - release.files.keys())]
    findings += [
        f"{name} differs from {DESCRIPTION}"
        for name in sorted(found & release.files.keys())
        if _file(directory / name) != release.files[name]
    ]
    if findings:
        raise HostError("\n".join([f"{directory} is not right:", *findings]))
    return release


def _manifest(wanted: Wanted) -> Mapping[str, Any]:
    path = wanted.image / MANIFEST
    manifest: dict[str, Any] = json.loads(path.read_text())
    if manifest["version"] != wanted.version:
        raise HostError(
            f"the image in {wanted.image} is version {manifest['version']}, not {wanted.version}; "
            "the version is written in ainit/__init__.py"
        )
    lacking = [name for name in ("pcrs", "seal", "files") if name not in manifest]
    if lacking:
        raise HostError(f"{path}: no {', '.join(lacking)}: the image was not signed")
    return manifest


def _fits(image: Path, manifest: Mapping[str, Any], files: Mapping[str, File]) -> None:
    """Check what is in an image against its manifest: a build may have been interrupted."""
    for name in sorted(files.keys() & manifest["files"].keys()):
        if manifest["files"][name] != {"sha256": files[name].sha256, "size": files[name].size}:
            raise HostError(f"{image / name} is not what {MANIFEST} says; `make image` makes both")


def _described(wanted: Wanted, manifest: Mapping[str, Any]) -> Release:
    release = Release(
        version=wanted.version,
        variant=manifest["variant"],
        architecture=manifest["architecture"],
        version_floor=wanted.version_floor,
        data_format_floor=manifest["seal"]["generation"],
        files={},
    )
    try:
        return Release.from_bytes(release.to_bytes())
    except RefusedError as error:
        raise HostError(re.sub(f"^{DESCRIPTION}: ", "", str(error))) from error


def _file(path: Path) -> File:
    return File(sha256_file(path), path.stat().st_size)
