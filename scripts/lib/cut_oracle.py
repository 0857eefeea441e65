"""Judge what a disk holds after a power cut: which release would start, and whether it is whole.

The oracle reads the disk as firmware, loader and kernel do (`cut_boot`, `cut_fat`), never with what
the update client uses, and it is stricter than they are: a slot that dm-verity would stop, and the
loader fall back from, counts as a mixture; an entry that sorts first and is no release's image is
a machine that does not start.

    Oracle(World(releases, allowed={"1", "2"})).judge(disk)

===============  ==========================================================================
`UNBOOTABLE`     no table, no ESP, no loader, no entry, one that is no release's image, or one
                 without the approval that opens a sealed state
`MIXED`          the root or the hash tree that the image names is not there, or reads otherwise
`WRONG`          another version than may start here, or one is claimed that is not there
`LOST`           a file on the state partition is gone, or is neither the old nor the new one
===============  ==========================================================================
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lib import cut_boot, cut_fat
from lib.cut_boot import Entry, Partition
from lib.cut_points import Disk

UNBOOTABLE, MIXED, WRONG, LOST = "unbootable", "mixed slots", "wrong version", "data lost"
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
IMAGES, LOADERS = "EFI/Linux", "EFI/BOOT"
# What the client's machine writes when it is done (`guest/cut_client.py`), and where.
DONE_SECTOR, DONE = 1000, b"AINOS: the update client is done"
_KEPT = 64  # answers that are kept
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Part:
    """Content by digest and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Part:
        """Of these bytes."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


@dataclass(frozen=True, slots=True)
class Known:
    """What a release puts on the disk. ``root_hash`` names its slot; ``approval`` may be none."""

    version: str
    root_hash: str
    uki: Part
    root: Part
    verity: Part
    approval: Part | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``fault`` is empty for a disk that is fine; ``version`` is what would start."""

    fault: str
    version: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the machine's own record says: versions that may start next, and one that is whole."""

    starts: frozenset[str]
    whole: str = ""


Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class World:
    """What may be there: releases; versions that may start; digests of loaders; files of the state
    partition, each with the digests that it may have, None among them when it may be missing.
    ``claimed`` says of the state's files which version they say starts next, if they do.
    """

    releases: tuple[Known, ...]
    allowed: frozenset[str]
    loaders: frozenset[str] = frozenset()
    loader: str = "BOOTX64.EFI"
    files: Mapping[str, frozenset[str | None]] = field(default_factory=dict)
    claimed: Callable[[Files], Claim | None] = lambda _: None
    lost: Callable[[Files, bool], str] = lambda files, done: ""
    done: frozenset[str] = frozenset()


class Oracle:
    """Judges one disk after another; ``state`` reads a state partition, its start and length."""

    def __init__(
        self,
        world: World,
        state: Callable[[Disk, int, int], Files] | None = None,
    ) -> None:
        self.world = world
        self._state = state
        self._answers: dict[Hashable, object] = {}

    def judge(self, disk: Disk) -> Verdict:
        """What would happen when a machine with this disk is switched on."""
        table = cut_boot.table(disk.read, disk.size)
        if table is None:
            return Verdict(UNBOOTABLE, "", "no partition table")
        esp = [each for each in table if each.kind == ESP]
        if len(esp) != 1:
            return Verdict(UNBOOTABLE, "", f"{len(esp)} EFI system partitions")
        key = disk.key(esp[0].start, esp[0].length)
        chosen = self._kept(("esp", key), lambda: self._chosen(disk, esp[0]))
        if isinstance(chosen, Verdict):
            return chosen
        if why := self._missing(table, chosen) or self._mixtures(disk, table):
            return Verdict(MIXED, chosen.version, why)
        is_done = disk.read(DONE_SECTOR * 512, len(DONE)) == DONE
        allowed = (self.world.done if is_done else None) or self.world.allowed
        if chosen.version not in allowed:
            when = " after all was done" if is_done else ""
            return Verdict(WRONG, chosen.version, f"{chosen.version} starts{when}")
        return self._of_state(disk, table, chosen, is_done)

    def _chosen(self, disk: Disk, esp: Partition) -> Known | Verdict:
        """The release whose image the loader starts."""
        try:
            volume = cut_fat.Fat(lambda offset, length: disk.read(esp.start + offset, length))
            self._check_loader(volume)
            found = {
                Entry(file.name, self._version(volume, file)): file
                for file in volume.files(IMAGES)
                if file.name.lower().endswith(".efi") and not file.is_directory
            }
            ordered = cut_boot.order(found)
            if not ordered:
                return Verdict(UNBOOTABLE, "", "no entry")
            first = found[ordered[0]]
            known = self._release(volume.content(first))
            if known is not None:
                self._check_approval(volume, known)
        except cut_fat.FatError as error:
            return Verdict(UNBOOTABLE, "", str(error))
        return known or Verdict(UNBOOTABLE, "", f"{first.name} is no release's image")

    def _check_loader(self, volume: cut_fat.Fat) -> None:
        named = [each for each in volume.files(LOADERS) if _same(each.name, self.world.loader)]
        if not named:
            raise cut_fat.FatError("no loader")
        for each in named:
            digest = hashlib.sha256(volume.content(each)).hexdigest()
            if digest not in self.world.loaders:
                raise cut_fat.FatError("the loader is torn")

    def _check_approval(self, volume: cut_fat.Fat, known: Known) -> None:
        """A state that is sealed does not open without it."""
        if known.approval is not None:
            held = volume.content(volume.find(f"{IMAGES}/ainos_{known.version}.seal.json"))
            if Part.of(held) != known.approval:
                raise cut_fat.FatError(f"the approval of {known.version} is torn")

    def _version(self, volume: cut_fat.Fat, file: cut_fat.File) -> str:
        """What sorts an entry: the release's version; of no release's image, a higher one."""
        try:
            known = self._release(volume.content(file))
        except cut_fat.FatError:
            known = None
        return known.version if known else "999999999"

    def _release(self, image: bytes) -> Known | None:
        part = Part.of(image)
        return next((each for each in self.world.releases if each.uki == part), None)

    def _missing(self, table: list[Partition], known: Known) -> str:
        """Which half of a release's slot no partition is; empty when there are both."""
        there = {each.uuid for each in table}
        missing = [half for half, _ in _halves(known) if half not in there]
        return f"no partition has the UUID {missing[0]} of {known.version}" if missing else ""

    def _mixtures(self, disk: Disk, table: list[Partition]) -> str:
        """Which partition has the UUID of a release and does not hold it, started or not."""
        for known in self.world.releases:
            for half, part in _halves(known):
                for each in table:
                    if each.uuid == half and not self._holds(disk, each, part):
                        return f"{each.name} does not hold {known.version}"
        return ""

    def _holds(self, disk: Disk, partition: Partition, part: Part) -> bool:
        if partition.length < part.size:
            return False
        key = ("part", partition.start, part.size, disk.key(partition.start, part.size))
        return self._kept(key, lambda: _digest(disk, partition, part.size)) == part.sha256

    def _of_state(
        self, disk: Disk, table: list[Partition], chosen: Known, is_done: bool
    ) -> Verdict:
        state = [each for each in table if each.name == "state"]
        if self._state is None:
            return Verdict("", chosen.version)
        if len(state) != 1:
            return Verdict(LOST, chosen.version, "no state partition")
        read, start, length = self._state, state[0].start, state[0].length
        key = ("state", disk.key(start, length))
        files = self._kept(key, lambda: _files(read, disk, start, length))
        if isinstance(files, str):
            return Verdict(LOST, chosen.version, files)
        for path, digests in self.world.files.items():
            held = hashlib.sha256(files[path]).hexdigest() if path in files else None
            if held not in digests:
                why = f"{path} {'reads otherwise' if held else 'is gone'}"
                return Verdict(LOST, chosen.version, why)
        if why := self.world.lost(files, is_done):
            return Verdict(LOST, chosen.version, why)
        claim = self.world.claimed(files)
        if claim is not None and (why := self._untrue(disk, table, chosen, claim)):
            return Verdict(WRONG, chosen.version, why)
        return Verdict("", chosen.version)

    def _untrue(self, disk: Disk, table: list[Partition], chosen: Known, claim: Claim) -> str:
        if chosen.version not in claim.starts:
            return f"{' or '.join(sorted(claim.starts))} is claimed, {chosen.version} starts"
        for known in self.world.releases:
            if known.version == claim.whole and self._missing(table, known):
                return f"{known.version} is claimed to be whole, and has no slot"
        return ""

    def _kept(self, key: Hashable, ask: Callable[[], _T]) -> _T:
        if key not in self._answers:
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            self._answers[key] = ask()
        return self._answers[key]  # type: ignore[return-value]


def _halves(known: Known) -> tuple[tuple[uuid.UUID, Part], ...]:
    root, tree = known.root_hash[:32], known.root_hash[32:]
    return (uuid.UUID(hex=root), known.root), (uuid.UUID(hex=tree), known.verity)


def _files(
    read: Callable[[Disk, int, int], Files], disk: Disk, start: int, length: int
) -> Files | str:
    try:
        return read(disk, start, length)
    except OSError as error:
        return str(error)


def _digest(disk: Disk, partition: Partition, size: int) -> str:
    digest = hashlib.sha256()
    for at in range(0, size, 1 << 22):
        digest.update(disk.read(partition.start + at, min(1 << 22, size - at)))
    return digest.hexdigest()


def _same(one: str, other: str) -> bool:
    return one.lower() == other.lower()
