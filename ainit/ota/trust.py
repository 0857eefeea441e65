"""What a repository of releases offers, and which of it is to be believed.

python-tuf decides (``metadata.Client``); here are the names of releases, what a refusal means for
whoever operates the machine, and the files themselves. A machine that was off for years walks from
the root that it knows to the newest, one by one; those on the way may have expired.

    with open_source(settings.repository, limits) as source:
        trust = Trust(constants.UPDATE + "/metadata", root, source)
        trust.refresh()
        offered = trust.newest("stable", "base-x86_64")

Expiry is judged by the latest of the system's clock, the time of the build, and the time that the
repository signed last; ``signed_time`` is the last of these, for who sets a clock that is behind.
Leaves out whether a release is wanted (``decide``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, TypeVar

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import TargetFile

from .. import constants
from ..child.source import Source
from ..errors import RefusedError, UnavailableError
from . import transfer
from .metadata import TARGETS, Client
from .model_release import ModelRelease, image_of
from .release import DESCRIPTION, ROLLOUT, Described, File, Release, newest, target

_D = TypeVar("_D", bound=Described)
DESCRIPTION_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Offered:
    """The newest release of an image in a channel. ``rollout`` is for how many machines of a
    hundred it is meant.
    """

    release: Release
    rollout: int = 100


class Trust:
    """A client of one repository. ``directory`` keeps what was trusted; ``root`` is the first root
    that is believed, from the image; ``now`` gives seconds since 1970.

    Every method raises RefusedError with the reason in words, and UnavailableError or OSError where
    trying later may help. Raises RefusedError for a root that is none.
    """

    def __init__(
        self,
        directory: str,
        root: bytes,
        source: Source,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._make = partial(Client, directory, root, source, now or clock)
        self._source = source
        self._refreshed = False
        with _told(None):
            self._client = self._make()

    def refresh(self) -> None:
        """Bring the metadata up to date. What was trusted before stays so when that fails."""
        with _told(None):
            self._client = self._make()
        self._refreshed = False
        with _told(self._client):
            self._client.refresh()
        self._refreshed = True

    def signed_time(self) -> float | None:
        """The latest time that the repository signed, in seconds since 1970: it is not earlier.
        None when nothing says so. Known after ``refresh``, even one that failed.
        """
        said = self._client.signed_at
        return None if said is None else said.timestamp()

    def newest(self, channel: str, image: str) -> Offered | None:
        """The newest release of an image in a channel; None when there is none."""
        found = self._described(newest(channel, image), image, Release.from_bytes)
        if found is None:
            return None
        release, custom = found
        rollout = custom.get(ROLLOUT, 100)
        if type(rollout) is not int or not 0 <= rollout <= 100:
            raise RefusedError(f"{newest(channel, image)}: rollout {rollout!r} is no percentage")
        return Offered(release, rollout)

    def release(self, channel: str, image: str, version: str) -> Release | None:
        """A release by its version; None when it is not in the channel."""
        path = target(channel, image, version)
        found = self._described(path, image, Release.from_bytes)
        if found is None:
            return None
        if found[0].version != version:
            raise RefusedError(f"{path} describes {image} {found[0].version}")
        return found[0]

    def model(self, channel: str, name: str, version: str | None = None) -> ModelRelease | None:
        """A release of a model by its version, or the newest; None when it is not in the channel.
        Raises RefusedError for what is no name, too.
        """
        image = image_of(name)
        path = newest(channel, image) if version is None else target(channel, image, version)
        found = self._described(path, image, ModelRelease.from_bytes)
        if found is None:
            return None
        if version not in (None, found[0].version):
            raise RefusedError(f"{path} describes {image} {found[0].version}")
        return found[0]

    def names(self, channel: str, image: str, version: str) -> Mapping[str, File]:
        """The files of one release, those that were added to it later too; none when there is no
        such release.
        """
        prefix = target(channel, image, version, "")
        found = {}
        if self._find(prefix + DESCRIPTION) is not None:
            role = self._client.role(channel)
            for path in role.targets if role is not None else ():
                if path.startswith(prefix) and path != prefix + DESCRIPTION:
                    found[path.removeprefix(prefix)] = self.known(path)
        return found

    def known(self, path: str) -> File:
        """What a target has to be. Raises RefusedError when there is none."""
        return _file(self._known(path))

    def small(self, path: str, limit: int) -> bytes:
        """A target of at most so many bytes, verified."""
        described = self._known(path)
        if described.length > limit:
            raise RefusedError(f"{path} has {described.length} bytes, more than {limit}")
        with self._reading(path):
            content = transfer.small(self._source, self._place(described), described.length)
            described.verify_length_and_hashes(content)
        return content

    def fetch(self, path: str, place: str, tell: Callable[[int, int], None]) -> None:
        """Bring a target to ``place``, verified and flushed; what came so far is in ``place.part``
        and gone on with. ``tell`` is given the bytes so far and in all.
        """
        described = self._known(path)

        def check(file: BinaryIO) -> None:
            try:
                described.verify_length_and_hashes(file)
            except LengthOrHashMismatchError as error:
                raise RefusedError(_words(error, self._client, path)) from error

        with self._reading(path):
            transfer.complete(
                self._source, self._place(described), place, described.length, check, tell
            )

    def parts(self, path: str, wanted: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of each range of a target, offset and size. They are not verified: compare
        them with something that was signed.
        """
        described = self._known(path)

        def inside() -> Iterator[tuple[int, int]]:
            for offset, size in wanted:
                if offset < 0 or size < 1 or offset + size > described.length:
                    raise RefusedError(f"{path} has no bytes {offset} to {offset + size}")
                yield offset, size

        with self._reading(path):
            yield from transfer.ranges(self._source, self._place(described), inside())

    def _described(
        self, path: str, image: str, read: Callable[[bytes], _D]
    ) -> tuple[_D, Mapping[str, Any]] | None:
        found = self._find(path)
        if found is None:
            return None
        release = read(self.small(path, DESCRIPTION_BYTES_MAX))
        if release.image != image:
            raise RefusedError(f"{path} describes {release.image} {release.version}")
        custom = found.custom if isinstance(found.custom, dict) else {}
        if {key: value for key, value in custom.items() if key != ROLLOUT} != release.facts():
            raise RefusedError(f"{path} and its custom metadata differ")
        return release, custom

    def _known(self, path: str) -> TargetFile:
        found = self._find(path)
        if found is None:
            raise RefusedError(f"there is no {path} in the repository")
        return found

    def _find(self, path: str) -> TargetFile | None:
        if not self._refreshed:
            self.refresh()
        with _told(self._client):
            return self._client.get_targetinfo(path)

    def _place(self, described: TargetFile) -> str:
        """Where a target lies: by its digest, so that nothing there ever changes."""
        prefixed = self._client.root.consistent_snapshot
        return TARGETS + (described.get_prefixed_paths()[0] if prefixed else described.path)

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        with _told(self._client, path):
            try:
                yield
            except FileNotFoundError as error:
                raise RefusedError(
                    f"{path} is signed, but the repository lacks it ({error.strerror}): the copy"
                    " that is asked is not whole"
                ) from error


def _file(described: TargetFile) -> File:
    return File(described.hashes.get("sha256", ""), described.length)


def clock() -> float:
    """The time in seconds since 1970, but never one before this image was built."""
    return max(time.time(), built())


def built() -> float:
    """When this image was built, in seconds since 1970: the time of files on the verified root."""
    try:
        return os.stat(constants.UPDATE_ROOT).st_mtime
    except OSError:
        return 0.0


@contextmanager
def _told(client: Client | None, path: str = "") -> Iterator[None]:
    """Put into words what the library refuses."""
    try:
        yield
    except (RepositoryError, DownloadLengthMismatchError, DownloadHTTPError) as error:
        raise RefusedError(_words(error, client, path)) from error
    except DownloadError as error:
        raise UnavailableError(f"{error}: {error.__cause__ or 'no more is known'}") from error


def _words(error: Exception, client: Client | None, path: str) -> str:
    """What was refused, and what to do about it."""
    said = f"{path}: {error}" if path else str(error)
    if client is None:
        return f"the trusted root: {said}"
    match error:
        case ExpiredMetadataError():
            return f"{said}; {_expired(client.time, str(error))}"
        case BadVersionNumberError():
            return (
                f"{said}: older than what this machine has seen, or of another state. A copy that"
                " lags behind does that, and so does who brings back what was replaced; ask the"
                " repository itself"
            )
        case UnsignedMetadataError():
            return (
                f"{said}: too few of those who may sign it did. If keys were replaced, the roots"
                " that say so are missing; otherwise it was not the repository's keeper"
            )
        case LengthOrHashMismatchError() | DownloadLengthMismatchError():
            return f"{said}: these are not the bytes that were signed; try again, or another copy"
        case DownloadHTTPError():
            return f"{said}: the repository is not there, or not whole; look at its address"
        case _:
            return f"{said}: the metadata is not in order, and nothing of it is used"


def _expired(now: datetime, what: str) -> str:
    todo = (
        "whoever keeps its keys must sign the next root"
        if "root" in what
        else "it must be signed anew where it is published, or a copy of it is stale"
    )
    return f"it is {now:%Y-%m-%d %H:%M} here: if that is right, {todo}; if not, set the clock"
