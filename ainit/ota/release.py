"""What a release says of itself: what it is for, its floors, and each of its files with its digest.

A release is a set of files, whatever they are: ``release.json`` lists the others. In a repository
they are targets under ``CHANNEL/IMAGE/VERSION/``, and ``CHANNEL/IMAGE/release.json`` is the
description of the newest. An image is a variant and an architecture. Leaves out who may sign what:
that is TUF's (docs/release.md). Pure.

>>> order("0.10") > order("0.9.1")
True
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ..errors import RefusedError
from ..policy import update

CHANNELS = update.CHANNELS
DESCRIPTION = "release.json"
PROVENANCE = "provenance.intoto.json"
ROLLOUT = "rollout"  # in the custom metadata of the newest: for how many machines of a hundred
SIGNED_AT = "signed_at"  # in a repository's timestamp: when it was signed
SCHEMA = 1
_KEYS = {"version", "variant", "architecture", "version_floor", "data_format_floor"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class File:
    """One file of a release. ``size`` is in bytes."""

    sha256: str
    size: int


class Described(Protocol):
    """What is published with a description: a release of an image, or of a model."""

    @property
    def image(self) -> str:
        """What it is for: where it lies in a channel."""

    @property
    def version(self) -> str:
        """See ``order``."""

    @property
    def files(self) -> Mapping[str, File]:
        """All but the description."""

    def facts(self) -> dict[str, object]:
        """The custom metadata of each of its targets."""
        ...


@dataclass(frozen=True, slots=True)
class Release:
    """A release of one image. ``version_floor`` is the lowest version that may be installed once
    this one ran, ``data_format_floor`` the lowest generation that can read the state it leaves.
    """

    version: str
    variant: str
    architecture: str
    version_floor: str
    data_format_floor: int
    files: Mapping[str, File]

    @property
    def image(self) -> str:
        """What the release is for, such as ``base-x86_64``."""
        return f"{self.variant}-{self.architecture}"

    def facts(self) -> dict[str, object]:
        """All but the files: the custom metadata of each of its targets."""
        return {name: getattr(self, name) for name in sorted(_KEYS)}

    def to_bytes(self) -> bytes:
        """The description as it is published: sorted, one form only."""
        return to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Release:
        """Read a description. Raises RefusedError with what is wrong."""
        with described(data, _KEYS) as record:
            files = {name: _checked(name, each) for name, each in record["files"].items()}
            found = cls(**{name: record[name] for name in _KEYS}, files=files)
            _check(found)
        return found

    def with_files(self, files: Mapping[str, File]) -> Release:
        """The same release with these files."""
        return replace(self, files=files)


def to_bytes(release: Described) -> bytes:
    """A description as it is published: sorted, one form only."""
    files = {
        name: {"sha256": file.sha256, "size": file.size} for name, file in release.files.items()
    }
    record = {**release.facts(), "files": files, "schema": SCHEMA}
    return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


@contextmanager
def described(data: bytes, facts: Collection[str]) -> Iterator[Any]:
    """What a description holds, of which ``facts`` are the keys beside the files. What the block
    finds wrong with it is, like what is wrong with its form, a RefusedError.
    """
    try:
        record: Any = json.loads(data)
        if record["schema"] != SCHEMA:
            raise ValueError(f"schema {record['schema']!r} is not {SCHEMA}")
        if unknown := record.keys() - set(facts) - {"files", "schema"}:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        yield record
    except KeyError as error:
        raise RefusedError(f"{DESCRIPTION}: {error} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise RefusedError(f"{DESCRIPTION}: {error}") from error


def order(version: str) -> tuple[int, ...]:
    """What versions are compared by: numbers, of which zeros at the end say nothing.

    Raises RefusedError for anything but numbers and dots.
    """
    if not _VERSION.fullmatch(version):
        raise RefusedError(f"{version!r} is no version of a release: numbers and dots, like 1.2.0")
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def newest(channel: str, image: str) -> str:
    """The target that describes the newest release of an image in a channel."""
    return f"{channel}/{image}/{DESCRIPTION}"


def target(channel: str, image: str, version: str, name: str = DESCRIPTION) -> str:
    """The target that is one file of a release."""
    return f"{channel}/{image}/{version}/{name}"


def patterns(channel: str) -> list[str]:
    """The targets that a channel's key may sign, and no other."""
    return [f"{channel}/*/{DESCRIPTION}", f"{channel}/*/*/*"]


def file_of(name: str, record: Mapping[str, Any]) -> File:
    """What a description says of a file. Raises KeyError, TypeError or ValueError."""
    digest, size = record["sha256"], record["size"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{name}: sha256 is not 64 hexadecimal digits")
    if type(size) is not int or size < 0:
        raise ValueError(f"{name}: size is not a number of bytes")
    return File(digest, size)


def _checked(name: str, record: Mapping[str, Any]) -> File:
    if not _NAME.fullmatch(name) or name == DESCRIPTION:
        raise ValueError(f"{name!r} is no name of a file")
    return file_of(name, record)


def _check(release: Release) -> None:
    for name in ("variant", "architecture"):
        value = getattr(release, name)
        if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9_]+", value):
            raise ValueError(f"{name} {value!r} is no word")
    for name in ("version", "version_floor"):
        value = getattr(release, name)
        if not isinstance(value, str):
            raise ValueError(f"{name} is not text")
        order(value)
    if order(release.version_floor) > order(release.version):
        raise ValueError(f"version_floor {release.version_floor} is above {release.version}")
    floor: Any = release.data_format_floor
    if type(floor) is not int or floor < 1:
        raise ValueError("data_format_floor is not a generation")
