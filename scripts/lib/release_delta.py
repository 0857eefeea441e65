"""The difference between two releases, found: what of the new one the old one has already.

The old bytes are indexed by a hash of every 32 bytes that begin at a multiple of 16; the new ones
are walked, and whatever the index knows is extended to both sides as far as it fits. Blocks of an
erofs that stayed are found so wherever they moved to, and so are functions in a kernel. Equal
inputs give equal bytes. Leaves out the format, see ``ainit.ota.delta``.

    delta = difference(old, new)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ainit.ota.delta import Step, encode

WINDOW = 32  # bytes of a hash
STEP = 16  # bytes between two windows of the old
_CHUNK = 1 << 20
_TABLE_BITS = 26
_FACTOR = 0x9E3779B97F4A7C15

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]


def difference(old: bytes, new: bytes, tell: Callable[[int, int], None] | None = None) -> bytes:
    """The difference between two releases' bytes; ``tell`` is told how far it is."""
    return encode(_steps(old, new, tell or (lambda done, total: None)), old)


class _Index:
    """Where the old bytes have a window with a given hash."""

    def __init__(self, old: Bytes) -> None:
        hashes = np.concatenate(
            [
                _hashes(old[at : at + _CHUNK + WINDOW - 1])[::STEP]
                for at in range(0, max(len(old) - WINDOW + 1, 0), _CHUNK)
            ]
            or [np.zeros(0, np.uint64)]
        )
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._places = hashes[order], order * STEP
        self._known = np.zeros(1 << _TABLE_BITS, bool)
        self._known[hashes >> np.uint64(64 - _TABLE_BITS)] = True

    def find(self, new: Bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The windows of the new bytes that are in the old, perhaps, and where."""
        hashes = _hashes(new)
        likely = np.flatnonzero(self._known[hashes >> np.uint64(64 - _TABLE_BITS)])
        if not len(likely) or not len(self._hashes):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        wanted = hashes[likely]
        at = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        right = self._hashes[at] == wanted
        return likely[right], self._places[at[right]]


def _hashes(data: Bytes) -> Hashes:
    """A hash of each 32 bytes in a row, its upper bits well mixed."""
    if len(data) < WINDOW:
        return np.zeros(0, np.uint64)
    found = data.astype(np.uint64)
    factor, width = _FACTOR, 1
    while width < WINDOW:
        found = found[:-width] * np.uint64(factor) + found[width:]
        factor = factor * factor % (1 << 64)
        width *= 2
    found ^= found >> np.uint64(29)
    return found * np.uint64(_FACTOR)


def _steps(old: bytes, new: bytes, tell: Callable[[int, int], None]) -> Iterator[Step]:
    source, target = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
    index = _Index(source)
    done = at = 0  # what is described, what was looked at
    while at < len(new):
        tell(at, len(new))
        places, sources = index.find(target[at : at + _CHUNK + WINDOW - 1])
        places = places + at
        at = min(at + _CHUNK, len(new))
        which = 0
        while (which := int(np.searchsorted(places, done)) if which == 0 else which) < len(places):
            here, there = int(places[which]), int(sources[which])
            back = _common(target[done:here][::-1], source[:there][::-1])
            size = _common(target[here:], source[there:])
            if size < WINDOW:
                which += 1
                continue
            begin = here - back
            yield Step(new[done:begin], back + size, there - back)
            done = here + size
            which = int(np.searchsorted(places, done))
        at = max(at, done)
    if done < len(new):
        yield Step(new[done:], 0, 0)
    tell(len(new), len(new))


def _common(first: Bytes, second: Bytes) -> int:
    """How many elements two arrays have in common at their beginning."""
    most, size, width = min(len(first), len(second)), 0, 256
    while size < most:
        end = min(size + width, most)
        differ = np.flatnonzero(first[size:end] != second[size:end])
        if len(differ):
            return size + int(differ[0])
        size, width = end, min(width * 2, 1 << 20)
    return most
