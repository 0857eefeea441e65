"""The block index of a release: which blocks of 4096 bytes its root and its UKI consist of.

    head      magic, number of the root's blocks, of the UKI's
    names     six bytes each, the first of a block's SHA-256

A machine of any version copies the blocks that it has and asks for the rest by their place.
Nothing is believed because of such a name: what comes out is checked as a whole. Our file systems
are packed in whole blocks, so what did not change is the same block, wherever it moved to. Pure.

>>> index = Index.of(bytes(8192), b"uki")
>>> [each == name(bytes(4096)) for each in (*index.root, *index.uki)]
[True, True, False]
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from ..errors import RefusedError
from .verity import BLOCK

FILE = "blocks.idx"
BYTES_MAX = 16 << 20  # of an index: 10 GiB of a release
_MAGIC = b"AINOSBLK"
_HEAD = struct.Struct("<8sQQ")
_WIDTH = 6


def name(block: bytes | memoryview) -> bytes:
    """What a block is called."""
    return hashlib.sha256(block).digest()[:_WIDTH]


def names(data: bytes | memoryview) -> list[bytes]:
    """The names of the blocks in a row; the last may be short."""
    view = memoryview(data)
    return [name(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK)]


@dataclass(frozen=True, slots=True)
class Index:
    """The names of a release's blocks: those of its root first, then those of its UKI."""

    root: tuple[bytes, ...]
    uki: tuple[bytes, ...]

    @classmethod
    def of(cls, root: bytes, uki: bytes) -> Index:
        """The index of two files."""
        return cls(tuple(names(root)), tuple(names(uki)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Index:
        """Read one. Raises RefusedError."""
        try:
            magic, root, uki = _HEAD.unpack_from(data)
        except struct.error as error:
            raise RefusedError(f"{FILE}: {error}") from error
        if magic != _MAGIC or len(data) != _HEAD.size + (root + uki) * _WIDTH:
            raise RefusedError(f"{FILE} is no block index")
        each = [data[at : at + _WIDTH] for at in range(_HEAD.size, len(data), _WIDTH)]
        return cls(tuple(each[:root]), tuple(each[root:]))

    def to_bytes(self) -> bytes:
        """The index as it is published."""
        head = _HEAD.pack(_MAGIC, len(self.root), len(self.uki))
        return head + b"".join(self.root) + b"".join(self.uki)


def runs(wanted: list[bool]) -> list[tuple[int, int]]:
    """The rows of what is wanted: where each begins and how long it is.

    >>> runs([True, True, False, True])
    [(0, 2), (3, 1)]
    """
    found: list[tuple[int, int]] = []
    for at, is_wanted in enumerate(wanted):
        if not is_wanted:
            continue
        if found and sum(found[-1]) == at:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((at, 1))
    return found
