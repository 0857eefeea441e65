"""dm-verity's hash tree in Python: made from a root file system, and held against one.

Format 1 with SHA-256 and blocks of 4096 bytes (kernel documentation, device-mapper/verity; the
superblock is libcryptsetup's). A machine that fills a slot makes the tree itself, so an update
does not transfer it. Leaves out everything that a root of ours never has: other hashes, blocks of
other sizes, error correction.

    tree = build(lambda at, size: os.pread(root, size, at), Geometry(blocks, salt))
    check(root, hashes, root_hash, geometry)
"""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import RefusedError

BLOCK = 4096
# What every hash partition of ours is named.
UUID = uuid.UUID("4ed7b5e1-3b9e-5dd4-a444-5fc7e94bdead")
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s168x")
_WIDTH = 32  # bytes of a hash
_CHUNK = 256  # blocks in one reading

Read = Callable[[int, int], bytes]  # offset and size, both in bytes


@dataclass(frozen=True, slots=True)
class Geometry:
    """How many blocks of 4096 bytes the root has, and what each is hashed behind."""

    blocks: int
    salt: bytes


@dataclass(frozen=True, slots=True)
class Tree:
    """A hash partition's bytes, superblock first, and the hash that vouches for them (hex)."""

    content: bytes
    root_hash: str


def build(read: Read, geometry: Geometry) -> Tree:
    """Make the tree as ``veritysetup format`` does. Raises OSError, or RefusedError for a root
    that ends early.
    """
    hashes = b"".join(_hashes(read, geometry))
    levels: list[bytes] = []
    while len(hashes) > _WIDTH:
        levels.insert(0, hashes.ljust(-(-len(hashes) // BLOCK) * BLOCK, b"\0"))
        hashes = b"".join(_each(levels[0], geometry.salt))
    head = _superblock(geometry).ljust(BLOCK, b"\0")
    return Tree(head + b"".join(levels), hashes.hex())


def check(root: int, hashes: int, root_hash: str, geometry: Geometry) -> None:
    """Compare two descriptors with a root hash, every block of both. Raises RefusedError."""
    tree = build(lambda at, size: os.pread(root, size, at), geometry)
    if tree.root_hash != root_hash:
        raise RefusedError(f"the root has the hash {tree.root_hash}, not {root_hash}")
    if os.pread(hashes, len(tree.content), 0) != tree.content:
        raise RefusedError("the hash tree is not that of the root")


def _hashes(read: Read, geometry: Geometry) -> Iterator[bytes]:
    for start in range(0, geometry.blocks, _CHUNK):
        size = min(_CHUNK, geometry.blocks - start) * BLOCK
        data = read(start * BLOCK, size)
        if len(data) != size:
            raise RefusedError(f"the root ends at byte {start * BLOCK + len(data)}")
        yield from _each(data, geometry.salt)


def _each(data: bytes, salt: bytes) -> Iterator[bytes]:
    begun = hashlib.sha256(salt)
    view = memoryview(data)
    for at in range(0, len(data), BLOCK):
        one = begun.copy()
        one.update(view[at : at + BLOCK])
        yield one.digest()


def _superblock(geometry: Geometry) -> bytes:
    return _SUPERBLOCK.pack(
        b"verity", 1, 1, UUID.bytes, b"sha256", BLOCK, BLOCK,
        geometry.blocks, len(geometry.salt), geometry.salt,
    )  # fmt: skip
