"""A model from a release in the repository to the store.

Its delivery is fetched into the directory for downloads, every file as it was signed, and then the
store is asked to add it from there. The store judges it as any other delivery: this says only that
it is what the channel has, and not an old state of it. What came before an interruption is gone on
with; when the store has answered, nothing of it is kept here.

    add(flow, Asked("speech", "2.0", hold_s=30.0), tell)

Leaves out a release that lies between (the newest is whole) and when to look by itself: somebody
asks.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial

from ..errors import RefusedError
from ..linux.files import replace
from .flow import DeclinedError, Flow
from .model_release import RECORD, SMALL, ModelRelease, image_of, is_model, named
from .ports import Repository, Tell
from .release import order, target

HOLD_S_MAX = 3600.0  # as the store has it


@dataclass(frozen=True, slots=True)
class Asked:
    """A model by its name; the newest version, or this one. ``hold_s`` is for how long the units
    that use its predecessor have to hold with it; None: without a trial.
    """

    name: str
    version: str | None = None
    hold_s: float | None = None

    def __post_init__(self) -> None:
        """Raises RefusedError for what can be no name, no version, or no time of a trial."""
        image_of(self.name)
        if self.version is not None:
            order(self.version)
        if self.hold_s is not None and not 0 <= self.hold_s <= HOLD_S_MAX:
            raise RefusedError(f"{self.hold_s} is no time of a trial: 0 to {HOLD_S_MAX:.0f} s")

    def __str__(self) -> str:
        """As people write it."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


def add(flow: Flow, asked: Asked, tell: Tell) -> ModelRelease:
    """Bring a model from the repository into the store; returns which release it is.

    Raises RefusedError with the reason, and then nothing is kept of it; UnavailableError or OSError
    where trying later may help, and then what came is kept.
    """
    if flow.trial is not None and not flow.trial.is_over:
        raise DeclinedError(f"{flow.host.version} is on trial: a model would disturb that")
    kept = f"{flow.records.staging}/{image_of(asked.name)}"
    try:
        with flow.opened() as (settings, repository):
            release = repository.model(settings.channel, asked.name, asked.version)
            if release is None:
                raise DeclinedError(f"{settings.channel} has no model {asked}")
            _begin(flow.records.staging, release)
            place = f"{kept}/{release.version}"
            _bring(repository, settings.channel, release, place, tell)
        flow.world.admit(place, asked.hold_s)
    except RefusedError:
        shutil.rmtree(kept, ignore_errors=True)
        raise
    shutil.rmtree(kept, ignore_errors=True)
    return release


def _begin(staging: str, release: ModelRelease) -> None:
    """Make room: what is there of other models, and of other versions, goes."""
    os.makedirs(f"{staging}/{release.image}/{release.version}", mode=0o700, exist_ok=True)
    for name in os.listdir(staging):
        if is_model(name) and name != release.image:
            shutil.rmtree(f"{staging}/{name}", ignore_errors=True)
    for version in os.listdir(f"{staging}/{release.image}"):
        if version != release.version:
            shutil.rmtree(f"{staging}/{release.image}/{version}", ignore_errors=True)


def _bring(
    repository: Repository, channel: str, release: ModelRelease, place: str, tell: Tell
) -> None:
    """Fetch all files, the small ones first."""

    def path(name: str) -> str:
        return target(channel, release.image, release.version, name)

    for name, limit in SMALL.items():
        content = repository.small(path(name), limit)
        if name == RECORD and named(content) != release.model:
            raise RefusedError(
                f"{path(name)} is that of {named(content)!r}, not of {release.model}"
            )
        replace(f"{place}/{name}", content)
    done = 0
    for name in sorted(release.files.keys() - SMALL.keys()):
        further = partial(_further, tell, done, release.size)
        repository.fetch(path(name), f"{place}/{name}", further)
        done += release.files[name].size


def _further(tell: Tell, before: int, total: int, came: int, _: int) -> None:
    tell(before + came, total)
