"""A prepared difference between two releases' bytes: what to copy from the old, and what is new.

    head       magic; sizes of old, new and packed steps in bytes; SHA-256 of the old
    steps      deflated numbers: how many bytes are new, how many to copy, and from where,
               counted from where the last copy ended; again and again
    new bytes  deflated, one after the other

Whoever decodes knows by a digest from elsewhere that this is what was published; limits are checked
all the same, before memory is taken. Pure, apart from what it is given to read. Leaves out how a
difference is found: ``lib.release_delta``.

>>> old = b"the old bytes"
>>> made = encode([Step(b"", 8, 4), Step(b" here", 0, 0)], old)
>>> b"".join(Delta(io.BytesIO(made)).pieces(lambda at, size: old[at : at + size]))
b'old byte here'
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import RefusedError

MAGIC = b"AINOSDIF"
_HEAD = struct.Struct("<8sQQQ32s")
_STEPS_MAX = 64 << 20  # bytes of steps, unpacked
_CHUNK = 1 << 20

Read = Callable[[int, int], bytes]  # offset and size, both in bytes


@dataclass(frozen=True, slots=True)
class Step:
    """New bytes, then ``size`` bytes of the old from ``start`` on."""

    new: bytes
    size: int
    start: int


class Delta:
    """A difference to decode. Raises RefusedError for what is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = file.read(_HEAD.size)
        if len(head) != _HEAD.size:
            raise RefusedError("the difference ends early")
        magic, self.old_size, self.new_size, self._packed, self.old_digest = _HEAD.unpack(head)
        if magic != MAGIC or self._packed > _STEPS_MAX:
            raise RefusedError("this is no difference between two releases")

    def pieces(self, read: Read) -> Iterator[bytes]:
        """The new bytes in order, at most 1 MiB at a time; ``read`` gives the old.

        Raises RefusedError, after some pieces perhaps.
        """
        inflate = zlib.decompressobj()
        packed = self._file.read(self._packed)
        try:
            steps = inflate.decompress(packed, _STEPS_MAX)
        except zlib.error as error:
            raise RefusedError(f"the steps of the difference are damaged: {error}") from error
        if not inflate.eof or len(packed) != self._packed:
            raise RefusedError("the steps of the difference are damaged")
        fresh = _Inflated(self._file)
        left, position = self.new_size, 0
        for new, size, jump in _triples(steps):
            start = position + jump
            left -= new + size
            if left < 0 or start < 0 or start + size > self.old_size:
                raise RefusedError("the difference leads outside of its files")
            yield from fresh.take(new)
            position = start + size
            while start < position:
                piece = read(start, min(_CHUNK, position - start))
                if not piece:
                    raise RefusedError("the old release ends early")
                start += len(piece)
                yield piece
        if left:
            raise RefusedError("the difference ends early")


def encode(steps: Iterable[Step], old: bytes | memoryview, level: int = 9) -> bytes:
    """The difference of these steps."""
    numbers = bytearray()
    fresh = zlib.compressobj(level)
    body = bytearray()
    total = position = 0
    for step in steps:
        for number in (len(step.new), step.size, _folded(step.start - position)):
            numbers += _number(number)
        position = step.start + step.size
        total += len(step.new) + step.size
        body += fresh.compress(step.new)
    packed = zlib.compress(bytes(numbers), level)
    digest = hashlib.sha256(old).digest()
    head = _HEAD.pack(MAGIC, len(old), total, len(packed), digest)
    return head + packed + bytes(body) + fresh.flush()


class _Inflated:
    """Bytes out of a deflated stream, as many as are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj()
        self._held = b""

    def take(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._held or self._file.read(_CHUNK)
            try:
                piece = self._inflate.decompress(data, min(size, _CHUNK))
            except zlib.error as error:
                raise RefusedError(f"the new bytes are damaged: {error}") from error
            self._held = self._inflate.unconsumed_tail
            if not piece and not self._held and not data:
                raise RefusedError("the new bytes end early")
            size -= len(piece)
            if piece:
                yield piece


def _triples(steps: bytes) -> Iterator[tuple[int, int, int]]:
    stream = io.BytesIO(steps)
    while stream.tell() < len(steps):
        new, size, jump = _read(stream), _read(stream), _read(stream)
        yield new, size, (jump >> 1) ^ -(jump & 1)


def _folded(number: int) -> int:
    """Small for what is near zero on either side."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def _number(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the last byte has its high bit clear (LEB128)."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _read(stream: io.BytesIO) -> int:
    number = shift = 0
    while shift < 63:
        byte = stream.read(1)
        if not byte:
            break
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return number
        shift += 7
    raise RefusedError("the steps of the difference are damaged")
