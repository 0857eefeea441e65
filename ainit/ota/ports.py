"""What the steps of an update need of the machine around them: repository, slots, other services.

``ainit.ota.world`` is the real one; tests have one of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..policy.update import Settings
from .decide import Slot
from .gate import Answers
from .model_release import ModelRelease
from .release import File, Release

Tell = Callable[[int, int], None]


class Offered(Protocol):
    """A release, and the percentage of machines that it is given to so far."""

    @property
    def release(self) -> Release:
        """What it is."""

    @property
    def rollout(self) -> int:
        """From 0 to 100."""


class Files(Protocol):
    """The files of a repository, as ``ainit.ota.trust.Trust`` gives them."""

    def small(self, path: str, limit: int, /) -> bytes:
        """A small target, verified."""

    def fetch(self, path: str, place: str, tell: Tell, /) -> None:
        """A target into a file, verified; goes on with what is there."""

    def parts(self, path: str, wanted: Iterable[tuple[int, int]], /) -> Iterator[bytes]:
        """Ranges of a target, offset and size; not verified."""


class Repository(Files, Protocol):
    """What is needed of ``ainit.ota.trust.Trust``."""

    def refresh(self) -> None:
        """Bring the metadata up to date."""

    def signed_time(self) -> float | None:
        """The newest time that somebody signed, in seconds since 1970; None when nobody did."""

    def newest(self, channel: str, image: str, /) -> Offered | None:
        """The newest release."""

    def release(self, channel: str, image: str, version: str, /) -> Release | None:
        """One by its version."""

    def model(self, channel: str, name: str, version: str | None, /) -> ModelRelease | None:
        """A release of a model by its version, or the newest."""

    def names(self, channel: str, image: str, version: str, /) -> Mapping[str, File]:
        """The files of a release."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to install: a release of a channel, by way of a directory for downloads. ``pending`` is
    called when all is written, and the loader is about to see it.
    """

    release: Release
    channel: str
    staging: str
    pending: Callable[[], None]


class World(Protocol):
    """The machine around. Methods raise AinosError or OSError."""

    def repository(self, settings: Settings) -> AbstractContextManager[Repository]:
        """Where releases come from."""

    def install(self, repository: Repository, wanted: Wanted, tell: Tell) -> None:
        """Write a release into the other slot, so that it boots next."""

    def slots(self) -> list[Slot]:
        """The releases on the boot partition."""

    def approval(self, version: str) -> bytes:
        """The approval that lies there beside one; empty when it has none."""

    def confirm(self) -> None:
        """Give the entry that runs its tries back."""

    def rearm(self, version: str) -> None:
        """Give another one its tries back."""

    def condemn(self, version: str) -> None:
        """Take the tries of one away."""

    def retire(self) -> None:
        """Make the slot beside the running one unbootable."""

    def answers(self, required: Collection[str], *, evidence: bool) -> Answers:
        """What the services say of the machine; with a quote of the TPM, perhaps."""

    def seal_refusal(self, approval: bytes) -> str:
        """Why the image of an approval would not open the state; empty when it would."""

    def raise_seal(self) -> None:
        """Raise the floor of a sealed state as far as every image can follow."""

    def crashes(self, since: float) -> list[str]:
        """Causes of crashes since then, the newest first; empty when nobody knows."""

    def set_clock(self, seconds: float) -> None:
        """Set the clock forward to this time since 1970."""

    def admit(self, directory: str, hold_s: float | None) -> None:
        """Have the store add a model from a directory, and wait until it did. Raises RefusedError
        with the store's reason, UnavailableError when the store does not say.
        """

    def reboot(self) -> None:
        """Begin an orderly, cold reboot."""

    def now(self) -> float:
        """Seconds since 1970."""

    def steady(self) -> float:
        """Seconds of a clock that does not jump."""
