"""python-tuf's client with three things of our own: files come from a Source, what is kept is
flushed, and the time is one that cannot be turned back.

Which metadata is believed, in which order it is read and what is older than what was seen is the
library's business. A repository's timestamp says when it was signed (``signed_at``); whoever has
seen that knows that it is not earlier.

    client = Client("/var/lib/ainos/update/metadata", root, source, time.time)
    client.refresh()
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import ModuleType

from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, Root, Targets, Timestamp

from ..child.source import Source
from ..linux import files
from .release import SIGNED_AT

# The client imports the fetcher that it uses when it is given none, and that one urllib3, which a
# machine does not have.
_DEFAULT = "tuf.ngclient.urllib3_fetcher"
if _DEFAULT not in sys.modules:
    sys.modules[_DEFAULT] = ModuleType(_DEFAULT)
    sys.modules[_DEFAULT].Urllib3Fetcher = type("Urllib3Fetcher", (), {})  # type: ignore[attr-defined]
from tuf.ngclient.fetcher import FetcherInterface  # noqa: E402
from tuf.ngclient.updater import Updater  # noqa: E402

METADATA, TARGETS = "metadata/", "targets/"
_NOT_FOUND = 404
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)


class Fetcher(FetcherInterface):
    """What the client fetches with."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield from self._source.read(url)
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"{url}: {error.strerror}", _NOT_FOUND) from error


class Client(Updater):
    """See tuf.ngclient.Updater. ``now`` gives seconds since 1970. ``signed_at`` is the latest time
    that a trusted timestamp said, None before one did.
    """

    def __init__(
        self, directory: str, root: bytes, source: Source, now: Callable[[], float]
    ) -> None:
        os.makedirs(f"{directory}/root_history", exist_ok=True)
        self._now = now
        self.signed_at: datetime | None = None
        super().__init__(directory, METADATA, None, TARGETS, Fetcher(source), bootstrap=root)

    @property
    def root(self) -> Root:
        """The newest root that is trusted."""
        return self._trusted_set.root

    @property
    def time(self) -> datetime:
        """The time by which expiry is judged."""
        return self._trusted_set.reference_time

    def refresh(self) -> None:
        """Bring all top-level metadata up to date, once. Raises what the library raises."""
        self._load_root()
        self._trusted_set.reference_time = datetime.fromtimestamp(self._now(), UTC)
        self._learn(self._stored())
        self._load_timestamp()
        self._learn(self._trusted_set.timestamp)
        self._load_snapshot()
        self._load_targets(Targets.type, Root.type)

    def role(self, name: str) -> Targets | None:
        """The metadata of a role that was looked into."""
        found = self._trusted_set.get(name)
        return found if isinstance(found, Targets) else None

    def _stored(self) -> Timestamp | None:
        """The timestamp that was trusted last, if it is still: its key may have been replaced."""
        try:
            data = self._load_local_metadata(Timestamp.type)
            found: Metadata[Timestamp] = Metadata.from_bytes(data)
            self.root.verify_delegate(Timestamp.type, found.signed_bytes, found.signatures)
        except (OSError, RepositoryError):
            return None
        signed: object = found.signed
        return signed if isinstance(signed, Timestamp) else None

    def _learn(self, timestamp: Timestamp | None) -> None:
        """Take the time from a trusted timestamp. One after its own end, or after the root's, says
        nothing: whoever has stolen its key would otherwise end every root.
        """
        said = said_at(timestamp) if timestamp else None
        if timestamp is None or said is None or said >= min(timestamp.expires, self.root.expires):
            return
        if self.signed_at is None or said > self.signed_at:
            self.signed_at = said
        self._trusted_set.reference_time = max(self.time, said)

    def _persist_file(self, filename: str, data: bytes) -> None:
        try:
            with open(filename, "rb") as file:
                if file.read() == data:
                    return
        except OSError:
            pass
        files.replace(filename, data)

    def _update_root_symlink(self) -> None:
        link = f"{self._dir}/root.json"
        current = f"root_history/{self.root.version}.root.json"
        if os.path.islink(link) and os.readlink(link) == current:
            return
        temporary = f"{self._dir}/.root.json.new"
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(current, temporary)
        os.rename(temporary, link)
        files.sync_directory(self._dir)


def said_at(timestamp: Timestamp) -> datetime | None:
    """When a timestamp says that it was signed; None when it says nothing that is a time."""
    text = timestamp.unrecognized_fields.get(SIGNED_AT)
    if not isinstance(text, str) or not _TIME.match(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
