"""Lines out of chunks: a service writes bytes, people and programs read records.

A line ends with a newline, or when its writers are gone; one that is longer than LOG_LINE_BYTES
goes on in the next record. A priority is the prefix ``<0>`` to ``<7>`` (sd-daemon(3)), and a line
that is a JSON object is a structured record. All of that is found out when somebody reads, never
before.

>>> partial: Partials = {}
>>> chunks = [(5, 0, 1_000_000, 0, b"<3>disk"), (5, 0, 2_000_000, 7, b" full\\nand")]
>>> [(line["text"], line["priority"], line["time"]) for line in assemble("u", chunks, partial)[0]]
[('disk full', 3, 2.0)]
>>> partial
{5: b'and'}
"""

from __future__ import annotations

from ..constants import LOG_LINE_BYTES
from ..wire.codec import loads
from .ring import AINIT, BEGIN, END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .ring import Chunk, Ring

INFO = 6
BATCH_BYTES = 65536
_LINES = 1 << 62
_RESOLVE_CHUNKS = 64

Record = dict[str, object]
Partials = dict[int, bytes]  # what each stream has written of a line that has no end yet


def record(unit: str, time: int, raw: bytes, flags: int = 0) -> Record:
    """The record of one line; ``time`` is in microseconds since boot."""
    priority = INFO
    if raw[:1] == b"<" and raw[2:3] == b">" and b"0" <= raw[1:2] <= b"7" and not flags & AINIT:
        priority = raw[1] - 48
        raw = raw[3:]
    text = raw.decode("utf-8", "replace")
    fields = None
    if raw[:1] == b"{":
        try:
            fields = loads(text)
        except ValueError:
            pass
    return {
        "unit": unit,
        "time": time / 1_000_000,
        "text": text,
        "priority": priority,
        "source": "ainit" if flags & AINIT else "unit",
        "fields": fields,
    }


def assemble(
    unit: str, chunks: Iterable[Chunk], partials: Partials, count: int = _LINES
) -> tuple[list[Record], int | None]:
    """At most ``count`` records of the lines that end in ``chunks``, and the ``seq`` behind the
    last byte that was looked at. ``partials`` is what came before, and becomes what is left over.
    """
    found: list[Record] = []
    reached = None
    for stream, flags, time, seq, data in chunks:
        place = 0
        rest = b"" if flags & (AINIT | BEGIN) else partials.pop(stream, b"")
        if flags & END:
            if rest:
                found.append(record(unit, time, rest))
            reached = seq + len(data)
            if len(found) >= count:
                break
            continue
        while place < len(data) and len(found) < count:
            end = data.find(b"\n", place)
            room = LOG_LINE_BYTES - len(rest)
            if 0 <= end <= place + room:
                found.append(record(unit, time, rest + data[place:end], flags))
                place, rest = end + 1, b""
            elif place + room < len(data):
                found.append(record(unit, time, rest + data[place : place + room], flags))
                place, rest = place + room, b""
            else:
                place, rest = len(data), rest + data[place:]
        if not flags & AINIT:
            partials[stream] = rest
        reached = seq + place
        if len(found) >= count:
            break
    return found, reached


def read(ring: Ring, cursor: int, count: int, partials: Partials) -> tuple[list[Record], int, int]:
    """At most ``count`` records of the lines that end behind ``cursor``, the cursor to go on from,
    and how many bytes behind ``cursor`` are no longer kept.

    ``partials`` is what earlier calls left over. For a stream that is not in it, what lies before
    the cursor is looked through.
    """
    if cursor > ring.seq:
        cursor = 0  # of another ring
    missed = max(ring.dropped - cursor, 0)
    if missed:
        partials.clear()
    cursor += missed
    chunks: list[Chunk] = []
    walk = ring.back()
    before: Chunk | None = None
    if cursor < ring.seq:
        for chunk in walk:
            stream, flags, time, seq, data = chunk
            if seq > cursor:
                chunks.append(chunk)
                continue
            before = (stream, flags, time, seq, data[: cursor - seq])
            if cursor > seq:
                flags &= ~BEGIN
            chunks.append((stream, flags, time, cursor, data[cursor - seq :]))
            break
    chunks.reverse()
    unknown = _unknown(chunks) - partials.keys()
    if before is not None and unknown:
        partials.update(_before(ring.unit, _chain(before, walk), unknown, _LINES))
    lines, reached = assemble(ring.unit, _at_most(chunks, BATCH_BYTES), partials, count)
    return lines, cursor if reached is None else reached, missed


def tail(ring: Ring, count: int, since: int, limit: int) -> list[Record]:
    """The last ``count`` records, in order. Chunks from before ``since`` (microseconds since boot)
    are left out, and so is all behind the last ``limit`` bytes.
    """
    chunks: list[Chunk] = []
    streams: set[int] = set()
    ends = size = 0
    walk = ring.back()
    for chunk in walk:
        chunks.append(chunk)
        streams.add(chunk[0])
        ends += chunk[4].count(b"\n")
        size += len(chunk[4])
        if ends > count + len(streams) or size >= limit or chunk[2] < since:
            break
    chunks.reverse()
    partials = _before(ring.unit, walk, _unknown(chunks), _RESOLVE_CHUNKS)
    return assemble(ring.unit, chunks, partials)[0][-count:] if count else []


def _unknown(chunks: list[Chunk]) -> set[int]:
    """The streams whose beginning is not among ``chunks``."""
    streams: dict[int, int] = {}
    for stream, flags, _time, _seq, _data in chunks:
        if not flags & AINIT:
            streams.setdefault(stream, flags)
    return {stream for stream, flags in streams.items() if not flags & BEGIN}


def _before(unit: str, walk: Iterator[Chunk], streams: set[int], most: int) -> Partials:
    """What each of ``streams`` had written of an unfinished line, from its chunks before, the last
    first; not more than ``most`` are looked at. ``streams`` is used up.
    """
    chunks: list[Chunk] = []
    while streams and most and (chunk := next(walk, None)) is not None:
        most -= 1
        stream, flags, time, seq, data = chunk
        if stream not in streams or flags & AINIT:
            continue
        end = data.rfind(b"\n") + 1
        chunks.append((stream, flags & ~END, time, seq + end, data[end:]))
        if end or flags & BEGIN:
            streams.discard(stream)
    chunks.reverse()
    partials: Partials = {}
    assemble(unit, chunks, partials)
    return partials


def _chain(first: Chunk, others: Iterator[Chunk]) -> Iterator[Chunk]:
    yield first
    yield from others


def _at_most(chunks: Iterable[Chunk], size: int) -> Iterator[Chunk]:
    """Chunks up to the one with which they have ``size`` bytes."""
    for chunk in chunks:
        yield chunk
        size -= len(chunk[4])
        if size <= 0:
            return
