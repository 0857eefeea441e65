"""The three ways to fill a slot: by a prepared difference, by the block index, as a whole.

Each writes the root into the slot and the UKI into the staging directory, and says how many bytes
it transferred. Leaves out which is taken, see ``content``; and what a slot is, see ``disk``.

    job = Job(trust, wanted, running, slot, staging, tell, geometry)
    job.by_blocks()
    job.check(root_hash)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import RefusedError
from . import blocks, verity
from .delta import Delta
from .ports import Files, Tell
from .release import Release, target
from .verity import BLOCK

ROOT, UKI = "root.erofs", "uki.efi"
PACKED = "uki.delta"  # the UKI as a difference to nothing
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release, and the channel that it is in."""

    channel: str
    release: Release

    def target(self, name: str) -> str:
        """The target that is this file of the release."""
        return target(self.channel, self.release.image, self.release.version, name)


@dataclass(frozen=True, slots=True)
class Running:
    """What runs now: its root hash, a descriptor of its root file system, how many blocks of 4096
    bytes that has, and the path of its UKI.
    """

    root_hash: str
    root: int
    root_blocks: int
    uki: str


@dataclass(frozen=True, slots=True)
class Slot:
    """Descriptors of the two partitions to fill, to read and to write."""

    root: int
    verity: int


def delta_name(root_hash: str) -> str:
    """The file of a release that is the difference to the one with this root hash."""
    return f"delta-{root_hash[:16]}"


@dataclass(slots=True)
class Job:
    """One slot to fill."""

    repository: Files
    wanted: Wanted
    running: Running
    slot: Slot
    staging: str
    tell: Tell
    geometry: verity.Geometry

    @property
    def uki(self) -> str:
        return f"{self.staging}/{UKI}"

    @property
    def root_bytes(self) -> int:
        return self.geometry.blocks * BLOCK

    def by_delta(self) -> int:
        """Fetch the difference and put root and UKI together from it."""
        name = delta_name(self.running.root_hash)
        path = f"{self.staging}/{name}"
        self.repository.fetch(self.wanted.target(name), path, self.tell)
        with open(path, "rb") as file:
            delta = Delta(file)
            if _digest(self._old_bytes(delta.old_size)) != delta.old_digest:
                raise RefusedError("what runs is not what the difference is to")
            self._write(delta.pieces(self._old))
        return self.wanted.release.files[name].size

    def by_blocks(self) -> int:
        """Copy the blocks that are here, and ask for the others."""
        data = self.repository.small(self.wanted.target(blocks.FILE), blocks.BYTES_MAX)
        index = blocks.Index.from_bytes(data)
        listed = self.wanted.release.files
        sizes = [len(index.root) * BLOCK, len(index.uki) * BLOCK]
        if sizes != [_whole(listed[name].size) for name in (ROOT, UKI)]:
            raise RefusedError(f"{blocks.FILE} is of another release")
        place, uki = self._have(), self._open_uki()
        try:
            parts = [(self.slot.root, index.root, ROOT), (uki, index.uki, UKI)]
            lacking = [
                _lacking(each, names, place, listed[name].size) for each, names, name in parts
            ]
            packed = listed.get(PACKED)
            if packed and packed.size < sum(size for _, size in lacking[-1]):
                parts.pop()
                lacking.pop()
            else:
                packed = None
            done, total = 0, sum(size for each in lacking for _, size in each)
            for (descriptor, names, name), ranges in zip(parts, lacking, strict=True):
                for at, known in enumerate(names):
                    if known in place and not _has(descriptor, at, known):
                        os.pwrite(descriptor, self._old(place[known], BLOCK), at * BLOCK)
                done = self._ask(name, descriptor, ranges, done, total)
            os.ftruncate(uki, listed[UKI].size)
            os.fsync(uki)
        finally:
            os.close(uki)
        return len(data) + total + (self._unpack(packed.size) if packed else 0)

    def _unpack(self, size: int) -> int:
        """Fetch the UKI alone, packed; returns what that transferred."""
        path = f"{self.staging}/{PACKED}"
        self.repository.fetch(self.wanted.target(PACKED), path, self.tell)
        with open(path, "rb") as file, open(self.uki, "wb") as uki:
            uki.writelines(Delta(file).pieces(lambda *_: b""))
            os.fsync(uki.fileno())
        return size

    def whole(self) -> int:
        """Fetch everything."""
        listed = self.wanted.release.files
        self._ask(ROOT, self.slot.root, _portions(self.root_bytes), 0, self.root_bytes)
        self.repository.fetch(self.wanted.target(UKI), self.uki, self.tell)
        return self.root_bytes + listed[UKI].size

    def check(self, root_hash: str) -> None:
        """Hold what was written against the release, and write the hash tree."""
        os.fsync(self.slot.root)
        tree = verity.build(lambda at, size: os.pread(self.slot.root, size, at), self.geometry)
        if tree.root_hash != root_hash:
            raise RefusedError(f"the root came out with the hash {tree.root_hash}, not {root_hash}")
        with open(self.uki, "rb") as file:
            if _digest(iter(lambda: file.read(_CHUNK), b"")).hex() != (
                self.wanted.release.files[UKI].sha256
            ):
                raise RefusedError("the UKI came out other than it was signed")
        _write_all(self.slot.verity, tree.content)
        os.fsync(self.slot.verity)

    def _ask(
        self, name: str, descriptor: int, ranges: list[tuple[int, int]], done: int, total: int
    ) -> int:
        """Write the ranges of a file as they come; returns how much has come of everything."""
        places = iter(ranges)
        at = left = 0
        for piece in self.repository.parts(self.wanted.target(name), ranges):
            view = memoryview(piece)
            while view:
                if not left:
                    at, left = next(places, (0, 0))
                    if not left:
                        raise RefusedError(f"{name}: more came than was asked for")
                took = os.pwrite(descriptor, view[:left], at)
                at, left, view, done = at + took, left - took, view[took:], done + took
            self.tell(done, total)
        if left or next(places, None):
            raise RefusedError(f"{name}: less came than was asked for")
        return done

    def _write(self, pieces: Iterator[bytes]) -> None:
        """Write root and UKI, one after the other."""
        done, uki = 0, self._open_uki()
        try:
            os.ftruncate(uki, 0)
            for piece in pieces:
                cut = max(0, min(len(piece), self.root_bytes - done))
                for descriptor, part, at in (
                    (self.slot.root, piece[:cut], done),
                    (uki, piece[cut:], done + cut - self.root_bytes),
                ):
                    if part:
                        os.pwrite(descriptor, part, at)
                done += len(piece)
            os.fsync(uki)
        finally:
            os.close(uki)

    def _open_uki(self) -> int:
        return os.open(self.uki, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _old(self, at: int, size: int) -> bytes:
        """Bytes of what runs: its root, and behind it its UKI."""
        end = self.running.root_blocks * BLOCK
        if at < end:
            return os.pread(self.running.root, min(size, end - at), at)
        with open(self.running.uki, "rb") as file:
            file.seek(at - end)
            return file.read(size)

    def _old_bytes(self, size: int) -> Iterator[bytes]:
        at = 0
        while piece := self._old(at, min(_CHUNK, size - at)):
            yield piece
            at += len(piece)

    def _have(self) -> dict[bytes, int]:
        """The blocks of what runs, by their names: where each is, in bytes."""
        end = self.running.root_blocks * BLOCK
        size = end + os.stat(self.running.uki).st_size
        return {
            name: at + number * BLOCK
            for at in [*range(0, end, _CHUNK), *range(end, size, _CHUNK)]
            for number, name in enumerate(blocks.names(self._old(at, _CHUNK)))
        }


def _lacking(
    descriptor: int, names: Sequence[bytes], have: Container[bytes], size: int
) -> list[tuple[int, int]]:
    """Where a file of this size lacks blocks that have to come from elsewhere, in bytes."""
    wanted = [each not in have and not _has(descriptor, at, each) for at, each in enumerate(names)]
    rows = [(at * BLOCK, number * BLOCK) for at, number in blocks.runs(wanted)]
    return [(at, min(length, size - at)) for at, length in rows]


def _portions(size: int) -> list[tuple[int, int]]:
    """A whole file, in pieces that fit into memory."""
    return [(at, min(_CHUNK, size - at)) for at in range(0, size, _CHUNK)]


def _has(descriptor: int, at: int, name: bytes) -> bool:
    """Whether a block is there already: an earlier attempt wrote it."""
    return blocks.name(os.pread(descriptor, BLOCK, at * BLOCK)) == name


def _whole(size: int) -> int:
    """A size in bytes, rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _digest(pieces: Iterable[bytes]) -> bytes:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.digest()


def _write_all(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], written)
