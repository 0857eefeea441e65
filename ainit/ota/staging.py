"""From a release in a repository to the other slot: what is fetched, and in which order.

The other slot is made unbootable, filled, and only then held against the UKI that came with it:
`install` reads it back from the disk, whatever wrote it. What an interrupted attempt has written
there and into the directory for downloads is gone on with. Leaves out how little is transferred
(``content``) and the slots themselves (``install``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import __version__, constants
from ..errors import UnavailableError
from ..linux import gpt_disk
from ..linux.files import replace
from . import boot, content, filling, slots, uki
from . import install as slot
from .esp_files import IMAGES
from .flow import APPROVAL, APPROVAL_BYTES_MAX
from .ports import Repository, Tell, Wanted
from .release import Release

REVOCATIONS = "dbx"
LEFT_OUT = "the list of revocations is left out: it changes PCR 7, to which the state is sealed"
RUNNING = "running.efi"
_LOADER = "systemd-boot"
_SMALL_MAX = 4 << 20


def install(
    repository: Repository, wanted: Wanted, tell: Tell, say: Callable[[str], None] = print
) -> None:
    """Fetch a release into the other slot, which boots next then.

    Raises RefusedError, UnavailableError or OSError; the running slot is as it was.
    """
    ground = slot.Ground.find()
    os.makedirs(wanted.staging, mode=0o700, exist_ok=True)
    release = wanted.release
    listed = repository.names(wanted.channel, release.image, release.version)
    named = filling.Wanted(wanted.channel, release.with_files(listed))
    found: list[content.Filled] = []
    with _running(ground, wanted.staging) as running:

        def fill(root: int, tree: int) -> None:
            into = filling.Slot(root, tree)
            found.append(content.fill(repository, named, running, into, wanted.staging, tell))

        slot.retire(ground)
        slot.fill_slot(ground.slots.other, fill)
    (filled,) = found
    for refused in filled.refused:
        say(f"<5>{refused}")
    say(f"{release.version}: {filled.bytes} bytes came, {filled.way}")
    staged = slot.Staged(
        version=release.version,
        root_hash=filled.root_hash,
        uki=filled.uki,
        **small(repository, named, wanted.staging, say),
    )
    slot.install(staged, lambda root, tree: None, say, wanted.pending, ground)


def small(
    repository: Repository, named: filling.Wanted, staging: str, say: Callable[[str], None]
) -> dict[str, str | None]:
    """The paths of approval, loader and revocations, verified; None for what a release lacks, and
    for revocations that would lock the state: it is sealed to PCR 7, whichever slot boots.
    """
    revocations = REVOCATIONS if REVOCATIONS in named.release.files else None
    if revocations and os.path.exists(constants.SEAL):
        say(f"<4>{LEFT_OUT}")
        revocations = None

    def fetched(name: str | None, limit: int) -> str | None:
        if name is None:
            return None
        place = f"{staging}/{name}"
        replace(place, repository.small(named.target(name), limit))
        return place

    return {
        "approval": fetched(APPROVAL, APPROVAL_BYTES_MAX),
        "loader": fetched(loader(named.release), _SMALL_MAX),
        "dbx": fetched(revocations, _SMALL_MAX),
    }


def loader(release: Release) -> str | None:
    """The file that is the boot loader."""
    return next((name for name in sorted(release.files) if name.startswith(_LOADER)), None)


@contextmanager
def _running(ground: slot.Ground, staging: str) -> Iterator[filling.Running]:
    """What runs, to copy from: its root's device, and a copy of its UKI."""
    stem = slots.stem(__version__)
    names = [each.name for each in boot.entries(ground.part) if each.stem == stem]
    if not names:
        raise UnavailableError(f"the entry of {__version__} is not on the boot partition")
    place = f"{staging}/{RUNNING}"
    with ground.part.mounted() as directory:
        shutil.copyfile(f"{directory}/{IMAGES}/{names[0]}", place)
    with open(place, "rb") as file:
        known = uki.read(file.read())
    with gpt_disk.Device(ground.slots.running.root.device) as root:
        yield filling.Running(known.root_hash, root.descriptor, known.geometry.blocks, place)
