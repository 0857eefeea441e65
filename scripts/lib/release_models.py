"""A release of a model: its delivery as it is, with a description of it beside.

A delivery is what `ainitctl models add` takes. The publisher signed it already; the version is not
in it, and is given here. Leaves out whether that signature holds: the machine's store judges it.

    publish(repository, directory, read(directory, "2.0"), "edge")
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ainit.errors import RefusedError
from ainit.ota.model_release import RECORD, SMALL, ModelRelease
from ainit.ota.release import DESCRIPTION, File
from ainit.store.records import Record
from lib import release_repository
from lib.host import HostError, sha256_file
from lib.release_repository import Repository


def read(directory: Path, version: str) -> ModelRelease:
    """Describe a delivery. Raises HostError with what is wrong."""
    if missing := [name for name in SMALL if not (directory / name).is_file()]:
        raise HostError(f"{directory} is no delivery of a model: no {', '.join(missing)}")
    try:
        text = (directory / RECORD).read_bytes()
        record = Record.parse(text, Record.name_in(text))
        wanted = {*SMALL, *record.files}
        found = {path.name for path in directory.iterdir()}
        if missing := sorted(wanted - found):
            raise HostError(f"{directory}: {RECORD} lists {', '.join(missing)}: not there")
        if more := sorted(found - wanted):
            raise HostError(f"{directory}: {RECORD} does not list {', '.join(more)}")
        files = {name: _file(directory / name) for name in wanted}
        return ModelRelease.from_bytes(ModelRelease(record.name, version, files).to_bytes())
    except RefusedError as error:
        raise HostError(f"{directory}: {error}") from error


def publish(
    repository: Repository, directory: Path, release: ModelRelease, channel: str
) -> list[ModelRelease]:
    """Publish a delivery that was read in a channel; what is new there. Raises HostError."""
    with tempfile.TemporaryDirectory() as made:
        beside = Path(made)
        (beside / DESCRIPTION).write_bytes(release.to_bytes())
        for name in release.files:
            (beside / name).symlink_to((directory / name).absolute())
        return release_repository.enter(repository, [(beside, release)], channel)


def _file(path: Path) -> File:
    return File(sha256_file(path), path.stat().st_size)
