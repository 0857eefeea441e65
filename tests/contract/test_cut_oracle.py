"""The oracle finds each damage to a disk, and none on one that is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lib import cut_log, cut_operations, cut_stand, cut_trial
from lib.cut_oracle import DONE, DONE_SECTOR, LOST, MIXED, UNBOOTABLE, WRONG, Verdict, World
from lib.cut_stand import Stand
from lib.cut_state import State
from lib.cut_trial import Trial

from tests.support.block_log import LoggedDisk


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    return cut_stand.make(tmp_path_factory.mktemp("stand"))


def judged(stand: Stand, disk: LoggedDisk, folder: Path, world: World | None = None) -> Verdict:
    """What is said of a disk with all that was written to it."""
    world = world or cut_operations.unchanged(stand)
    trial = Trial("test", disk.save(folder / "log"), stand.base, world)
    with State() as state:
        return list(cut_trial.verdicts(trial, cut_log.read(trial.log), state))[-1][1]


def damaged(stand: Stand, content: bytes, at: int = 0) -> LoggedDisk:
    """A disk of which one sector that holds this content is another one."""
    disk = LoggedDisk(stand.base)
    start = (place_of(stand.base, content) + at) // 512 * 512
    disk.write(start, bytes(byte ^ 1 for byte in disk.read(start, 512)))
    disk.flush()
    return disk


def place_of(image: Path, content: bytes) -> int:
    """Where an image, most of which is holes, has some content."""
    with image.open("rb") as file:
        end = 0
        while True:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found = os.pread(file.fileno(), end - start, start).find(content)
            if found >= 0:
                return start + found


def test_a_whole_disk_is_fine(stand: Stand, tmp_path: Path) -> None:
    disk = LoggedDisk(stand.base)
    disk.flush()
    assert judged(stand, disk, tmp_path) == Verdict("", stand.old.known.version)


PLACES: dict[str, tuple[Callable[[Stand], bytes], int, str]] = {
    "loader": (lambda stand: stand.loaders[0], 40_000, UNBOOTABLE),
    "image": (lambda stand: stand.old.uki, 100_000, UNBOOTABLE),
    "approval": (lambda stand: stand.old.approval, 0, UNBOOTABLE),
    "boot sector": (lambda _: b"\xeb\x58\x90mkfs.fat", 0, UNBOOTABLE),
    "root": (lambda stand: stand.old.root, 500_000, MIXED),
    "hash tree": (lambda stand: stand.old.verity, 8192, MIXED),
    "the user's file": (lambda stand: stand.files["data/notes"], 3000, LOST),
}


@pytest.mark.parametrize("place", PLACES)
def test_damage_is_found(stand: Stand, tmp_path: Path, place: str) -> None:
    content, at, fault = PLACES[place]
    assert judged(stand, damaged(stand, content(stand), at), tmp_path).fault == fault


def test_another_version_than_may_start_is_wrong(stand: Stand, tmp_path: Path) -> None:
    disk = LoggedDisk(stand.base)
    disk.flush()
    world = replace(cut_operations.unchanged(stand), allowed=frozenset({"0.2.0"}))
    assert judged(stand, disk, tmp_path, world).fault == WRONG


def test_the_old_version_is_wrong_once_the_client_was_done(stand: Stand, tmp_path: Path) -> None:
    disk = LoggedDisk(stand.base)
    disk.write(DONE_SECTOR * 512, DONE.ljust(512, b"\0"))
    disk.flush()
    found = judged(stand, disk, tmp_path, cut_operations.of_update(stand))
    assert (found.fault, found.version) == (WRONG, stand.old.known.version)
