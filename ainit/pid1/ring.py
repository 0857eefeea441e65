"""The ring of one unit: what it wrote, in an append-only file in memory that outlives PID 1's code.

A file header is followed by chunks; a chunk is a header and bytes. The bytes of a service are moved
by the kernel from its pipe to the end of the file (splice(2)), so that the file's size is the exact
head at every instant: whoever takes up the descriptor after a crash finds every byte once, and none
is left out. A chunk is appended in three steps, and each leaves a file that ``load`` understands:

    1. its header goes to the end, with length 0    nothing behind it: it is taken off again
    2. the bytes are moved behind it                a last chunk of length 0 reaches to the end
    3. the length is written into the header

Positions are ``seq``, the number of bytes that the unit had written before; it never goes back. A
ring over its limit is replaced by its younger half under the same descriptor number, in one step.
Leaves out: lines, see ``lines``.

>>> ring = Ring.make("u", Forgetful())
>>> ring.write(AINIT, 0, b"ready\\n", 1_500_000), ring.seq
(6, 6)
"""

from __future__ import annotations

import os
from errno import ENOSPC
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .journal import Forgetful, Journal

READ_BYTES = 16384  # moved at once, so that a flood of one leaves room for the others
AINIT = 1  # PID 1's own words, always whole lines
END = 2  # the writers of this stream are gone; one newline, which ends what they left
BEGIN = 4  # the first chunk of its stream (whose number, the pipe's descriptor, is used again)

_FILE = Struct("<8sQ")  # magic; the place of a chunk not far from the last
_CHUNK = Struct("<HBxIIIQQ")  # magic, flags, stream, length, bytes to the chunk before, µs, seq
_LENGTH = Struct("<I")
_HINT = Struct("<Q")
_FILE_MAGIC = b"AINRING1"
_CHUNK_MAGIC = 0xA17C
_LENGTH_AT = 8
_HINT_AT = 8
_HINT_EVERY = 14  # as a power of two: how many bytes of chunks ``load`` may have to walk
_SEQ_MAX = (1 << 62) - 1
_UNKNOWN = -1

FIRST = _FILE.size
OVERHEAD = _CHUNK.size

# stream, flags, microseconds since boot, seq, bytes.
Chunk = tuple[int, int, int, int, bytes]


class Ring:
    """One unit's ring. Where its last chunk is, is not known while something is being appended,
    nor after a fault; ``load`` then finds it.
    """

    __slots__ = ("_last", "_seq", "descriptor", "unit")

    def __init__(self, unit: str, descriptor: int) -> None:
        self.unit = unit
        self.descriptor = descriptor
        self._last = _UNKNOWN
        self._seq = 0

    @classmethod
    def make(cls, unit: str, keeper: Journal | Forgetful) -> Ring:
        """A new, empty ring. Raises OSError."""
        descriptor = _new_file(unit)
        try:
            keeper.keep(descriptor, ("ring", unit))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(unit, descriptor)

    @property
    def last(self) -> int:
        """The place of the last chunk; 0 when there is none."""
        if self._last < 0:
            self.load()
        return self._last

    @property
    def seq(self) -> int:
        """How many bytes were ever written."""
        if self._last < 0:
            self.load()
        return self._seq

    @property
    def dropped(self) -> int:
        """How many of them are no longer kept: the ``seq`` of the first that is."""
        if self._last < 0:
            self.load()
        return self._header(FIRST)[5] if self._last else 0

    @property
    def time(self) -> int:
        """When the last bytes came, in microseconds since boot; 0 when there are none."""
        if self._last < 0:
            self.load()
        return self._header(self._last)[4] if self._last else 0

    @property
    def size(self) -> int:
        """Bytes that the file takes."""
        return os.lseek(self.descriptor, 0, os.SEEK_END)

    def load(self) -> None:
        """Find the end of the file, and finish what a fault interrupted. Whatever is damaged, some
        of what was written may be lost, and it can be written to again.
        """
        descriptor, size = self.descriptor, self.size
        last, seq = 0, 0
        header = _read(descriptor, FIRST, 0)
        if len(header) < FIRST:
            _write(descriptor, _FILE.pack(_FILE_MAGIC, FIRST), 0)
            header, size = b"", FIRST
        place = _FILE.unpack(header)[1] if header else FIRST
        if not FIRST <= place <= size:
            place = FIRST
            _write(descriptor, _HINT.pack(FIRST), _HINT_AT)
        while place < size:
            raw = _read(descriptor, OVERHEAD, place)
            if len(raw) < OVERHEAD:
                os.ftruncate(descriptor, place)
                break
            magic, _flags, _stream, length, _back, _time, start = _CHUNK.unpack(raw)
            room = size - place - OVERHEAD
            if magic != _CHUNK_MAGIC or not room:
                os.ftruncate(descriptor, place)
                break
            if not 0 < length <= room:
                length = room
                os.pwrite(descriptor, _LENGTH.pack(length), place + _LENGTH_AT)
            last, seq = place, start + length & _SEQ_MAX
            place += OVERHEAD + length
        self._seq = seq
        self._last = last

    def move(self, pipe: int, flags: int, now: int) -> int:
        """Move what is in ``pipe`` to the end, READ_BYTES at most; returns how many bytes that was,
        0 at the end of the pipe. ``now`` is in microseconds since boot, ``flags`` may be BEGIN.

        Raises BlockingIOError when the pipe is empty, OSError when there is no memory.
        """
        descriptor, last, end = self.descriptor, self._begin(), self.size
        _write(descriptor, self._pack(flags, pipe, 0, end - last if last else 0, now), end)
        count = os.splice(pipe, descriptor, READ_BYTES, offset_dst=end + OVERHEAD)
        if not count:
            os.ftruncate(descriptor, end)
            self._last = last
            return 0
        os.pwrite(descriptor, _LENGTH.pack(count), end + _LENGTH_AT)
        self._finish(last, end, count)
        return count

    def write(self, flags: int, stream: int, data: bytes, now: int) -> int:
        """Append ``data``, which is not empty; returns its length. Raises OSError."""
        descriptor, last, end = self.descriptor, self._begin(), self.size
        head = self._pack(flags, stream, len(data), end - last if last else 0, now)
        _write(descriptor, head + data, end)
        self._finish(last, end, len(data))
        return len(data)

    def compact(self, limit: int) -> None:
        """When the file is larger than ``limit`` bytes, drop the older half, and go on behind a
        line's end where there is one. Raises OSError; then nothing has changed.
        """
        if self._last < 0:
            self.load()
        size = self.size
        if size <= limit:
            return
        cut = size - max(limit // 2, OVERHEAD)
        place, start, head = self._cut(cut)
        kept = bytearray(_read(self.descriptor, size - start, start))
        flags, stream, _length, _back, time, seq = head
        length = len(kept) if place == self._last else place + OVERHEAD + head[2] - start
        seq += start - place - OVERHEAD
        first = _CHUNK.pack(_CHUNK_MAGIC, flags, stream, length, 0, time, seq)
        if len(kept) > length:  # the next chunk's way back is shorter now
            back = OVERHEAD + length
            kept[length + _LENGTH_AT + 4 : length + _LENGTH_AT + 8] = _LENGTH.pack(back)
        shift = start - OVERHEAD - FIRST
        last = FIRST if place == self._last else self._last - shift
        new = _new_file(self.unit, last)
        try:
            _write(new, first, FIRST)
            _write(new, kept, FIRST + OVERHEAD)
            self._last = _UNKNOWN
            os.dup2(new, self.descriptor, inheritable=os.get_inheritable(self.descriptor))
            self._last = last
        finally:
            os.close(new)

    def back(self) -> Iterator[Chunk]:
        """Every chunk, from the last to the first."""
        if self._last < 0:
            self.load()
        place, size = self._last, self.size
        while place:
            flags, stream, length, back, time, seq = self._header(place)
            data = _read(self.descriptor, min(length, size), place + OVERHEAD)
            yield stream, flags, time, seq, data
            place = place - back if back else 0

    def _cut(self, cut: int) -> tuple[int, int, tuple[int, ...]]:
        """Where to go on when all before ``cut`` goes: a chunk's place and header, and the place of
        the first byte to keep.
        """
        place, after = self._last, 0
        while (head := self._header(place))[3] and place > cut:
            after, place = place, place - head[3]
        begin, end = place + OVERHEAD, place + OVERHEAD + head[2]
        start = max(begin, cut)
        newline = _read(self.descriptor, end - start, start).find(b"\n") + 1
        if not (newline and start + newline < end) and after:
            return after, after + OVERHEAD, self._header(after)
        return place, start + (newline if start + newline < end else 0), head

    def _header(self, place: int) -> tuple[int, ...]:
        """Flags, stream, length, bytes to the chunk before, time, seq; nothing of what is none."""
        magic, *head = _CHUNK.unpack(_read(self.descriptor, OVERHEAD, place))
        if magic != _CHUNK_MAGIC or head[3] > place - FIRST:
            return 0, 0, 0, 0, 0, 0
        return tuple(head)

    def _pack(self, flags: int, stream: int, length: int, back: int, now: int) -> bytes:
        return _CHUNK.pack(_CHUNK_MAGIC, flags, stream, length, back, now, self._seq)

    def _begin(self) -> int:
        if self._last < 0:
            self.load()
        last = self._last
        self._last = _UNKNOWN
        return last

    def _finish(self, last: int, end: int, count: int) -> None:
        if last >> _HINT_EVERY != end >> _HINT_EVERY:
            os.pwrite(self.descriptor, _HINT.pack(end), _HINT_AT)
        self._seq += count
        self._last = end


def _new_file(unit: str, hint: int = FIRST) -> int:
    descriptor = os.memfd_create(f"log {unit}"[:200], os.MFD_CLOEXEC)
    try:
        _write(descriptor, _FILE.pack(_FILE_MAGIC, hint), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(descriptor: int, count: int, place: int) -> bytes:
    """``count`` bytes, fewer only at the end of the file."""
    data = os.pread(descriptor, count, place)
    while 0 < len(data) < count and (
        more := os.pread(descriptor, count - len(data), place + len(data))
    ):
        data += more
    return data


def _write(descriptor: int, data: bytes | bytearray, place: int) -> None:
    if os.pwrite(descriptor, data, place) != len(data):
        raise OSError(ENOSPC, os.strerror(ENOSPC))
