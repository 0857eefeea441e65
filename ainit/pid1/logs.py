"""What services print: a pipe for each of their incarnations, and a ring for each unit.

PID 1 moves bytes from pipe to ring and looks at none of them; lines are made when somebody reads.
A flood costs its own oldest bytes, never PID 1: a turn moves a bounded amount of each pipe, and
what a ring drops is counted. The state is in descriptors that a keeper hands on, so that a PID 1
which starts over takes them up (``resume``) and has lost nothing.

>>> logs = Logs(loop.Loop())
>>> logs.say("gpu", "starting")
>>> [line["text"] for line in logs.select("gpu", 10)[0]]
['starting']
"""

from __future__ import annotations

import os
import select

from ..constants import LOG_RING_BYTES
from . import loop
from .journal import Forgetful
from .lines import BATCH_BYTES, read, tail
from .ring import AINIT, BEGIN, END, OVERHEAD, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from ..policy.plan import Unit
    from .journal import Journal, Role
    from .lines import Partials, Record

    class Follower(Protocol):
        """Whoever wants to know that there is something new."""

        def mark(self, unit: str) -> None:
            """The unit's ring has grown."""


_PIPES_A_TURN = 16
_RETRY_SECONDS = 1.0
_SELECT_BYTES = 8 * BATCH_BYTES  # of text; a few times as much when it is JSON
PIPE = "pipe"
RING = "ring"


class Logs:
    """All pipes and rings. ``followers`` are told of every unit that has something new.

    ``limits`` holds the ring limits of units that do not have LOG_RING_BYTES, ``volatile`` the
    names of those whose lines are not to be kept on disk.
    """

    def __init__(self, events: loop.Loop, keeper: Journal | Forgetful | None = None) -> None:
        self._keeper = keeper or Forgetful()
        self._rings: dict[str, Ring] = {}
        self._pipes: dict[int, Ring] = {}
        self._silent: set[int] = set()  # pipes from which nothing has come
        self._stalled: list[int] = []
        self._retry_at = 0.0
        self._poll = select.epoll()
        self.followers: list[Follower] = []
        self.limits: dict[str, int] = {}
        self.volatile: frozenset[str] = frozenset()
        events.add(self._poll.fileno(), loop.READ, lambda _: self._drain())
        events.hook(self._retry)

    def configure(self, units: Iterable[Unit]) -> None:
        """Take over what the plan says about logs."""
        units = list(units)
        self.limits = {unit.name: unit.log_ring for unit in units if unit.log_ring}
        self.volatile = frozenset(unit.name for unit in units if not unit.log_persistent)

    def resume(self, kept: Mapping[Role, int]) -> None:
        """Take up what an earlier incarnation of PID 1 kept for PIPE and RING."""
        for role, descriptor in kept.items():
            if role[0] == RING:
                self._rings[role[1]] = Ring(role[1], descriptor)
        for role, descriptor in kept.items():
            if role[0] == PIPE:
                self._watch(descriptor, self._ring(role[1]))

    def pipe(self, unit: str) -> int:
        """A new pipe for one incarnation of ``unit``: returns the end to write to. Raises OSError.

        An earlier pipe is read on for as long as anybody has it open.
        """
        ring = self._ring(unit)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(reader, False)
            self._keeper.keep(reader, (PIPE, unit, str(reader)))
            self._silent.add(reader)
            self._watch(reader, ring)
        except BaseException:
            os.close(writer)
            self._silent.discard(reader)
            self._pipes.pop(reader, None)
            self._keeper.drop(reader)
            os.close(reader)
            raise
        return writer

    def say(self, unit: str, text: str) -> None:
        """A line of PID 1's own about a unit. Without memory it is lost."""
        try:
            ring = self._ring(unit)
            count = ring.write(AINIT, 0, f"{text}\n".encode("utf-8", "replace"), _microseconds())
            self._tell(unit)
            self._bound(ring, count)
        except OSError:
            return

    def forget(self, unit: str) -> None:
        """Let go of what a unit wrote, and of its pipes: it is no unit any more, and down."""
        ring = self._rings.pop(unit, None)
        if ring is None:
            return
        for reader in [reader for reader, kept in self._pipes.items() if kept is ring]:
            if reader in self._stalled:
                self._stalled.remove(reader)
                self._poll.register(reader, select.EPOLLIN)
            self._close(reader)
        self._keeper.drop(ring.descriptor)
        os.close(ring.descriptor)

    def names(self, unit: str | None = None, *, persistent: bool = False) -> list[str]:
        """The units that have a ring, or ``unit`` if it has one; without the volatile ones when
        ``persistent``.
        """
        names = self._rings if unit is None else (unit,) if unit in self._rings else ()
        return [name for name in names if not (persistent and name in self.volatile)]

    def head(self, unit: str) -> int:
        """The cursor behind everything that ``unit`` has written."""
        return self._rings[unit].seq if unit in self._rings else 0

    def dropped(self, unit: str) -> int:
        """How many bytes of ``unit`` its ring has let go."""
        return self._rings[unit].dropped if unit in self._rings else 0

    def select(
        self, unit: str | None, count: int, *, persistent: bool = False
    ) -> tuple[list[Record], int]:
        """The last ``count`` lines of one unit or of all, in order of time, and bytes dropped."""
        rings = [self._rings[name] for name in self.names(unit, persistent=persistent)]
        dropped = sum(ring.dropped for ring in rings)
        found: list[Record] = []
        since = 0
        for last, ring in sorted(((ring.time, ring) for ring in rings), key=_newest):
            if not count or last < since:
                break
            found += tail(ring, count, since, _SELECT_BYTES)
            if len(found) > 2 * count or len(rings) == 1:
                found = _last(found, count)
                since = int(_when(found[0]) * 1_000_000) if len(found) == count else since
        return _last(found, count), dropped

    def read(
        self, unit: str, cursor: int, limit: int, partials: Partials | None = None
    ) -> tuple[list[Record], int, int]:
        """Lines of ``unit`` that end behind ``cursor``, ``limit`` of them at most, the cursor to go
        on from, and how many bytes behind ``cursor`` are no longer kept. See ``lines.read``.
        """
        if unit not in self._rings:
            return [], 0, 0
        return read(self._rings[unit], cursor, limit, {} if partials is None else partials)

    def _ring(self, unit: str) -> Ring:
        ring = self._rings.get(unit)
        if ring is None:
            ring = self._rings[unit] = Ring.make(unit, self._keeper)
        return ring

    def _watch(self, reader: int, ring: Ring) -> None:
        self._poll.register(reader, select.EPOLLIN)
        self._pipes[reader] = ring

    def _drain(self) -> None:
        for reader, _ in self._poll.poll(0, _PIPES_A_TURN):
            self._read(reader, self._pipes[reader])

    def _read(self, reader: int, ring: Ring) -> None:
        try:
            self._move(reader, ring)
        except BlockingIOError:
            return
        except OSError:  # no memory now: what is in the pipe stays there
            self._poll.unregister(reader)
            self._stalled.append(reader)
            self._retry_at = loop.now() + _RETRY_SECONDS
        self._tell(ring.unit)

    def _move(self, reader: int, ring: Ring) -> None:
        now = _microseconds()
        if count := ring.move(reader, BEGIN if reader in self._silent else 0, now):
            self._silent.discard(reader)
            self._bound(ring, count)
            return
        if reader not in self._silent:
            ring.write(END, reader, b"\n", now)
        self._close(reader)

    def _close(self, reader: int) -> None:
        self._poll.unregister(reader)
        del self._pipes[reader]
        self._silent.discard(reader)
        self._keeper.drop(reader)
        os.close(reader)

    def _bound(self, ring: Ring, count: int) -> None:
        """Compact a ring that is too long; the last chunk in it has ``count`` bytes."""
        limit = self.limits.get(ring.unit, LOG_RING_BYTES)
        if ring.last + OVERHEAD + count > limit:
            ring.compact(limit)

    def _tell(self, unit: str) -> None:
        for follower in self.followers:
            follower.mark(unit)

    def _retry(self, now: float) -> float:
        if self._stalled and now >= self._retry_at:
            stalled, self._stalled, self._retry_at = self._stalled, [], 0.0
            for reader in stalled:
                self._poll.register(reader, select.EPOLLIN)
        return self._retry_at


def _microseconds() -> int:
    return int(loop.now() * 1_000_000)


def _when(line: Record) -> float:
    time = line["time"]
    return time if isinstance(time, float) else 0.0


def _newest(entry: tuple[int, Ring]) -> int:
    return -entry[0]


def _last(lines: list[Record], count: int) -> list[Record]:
    """The last ``count`` lines in order of time, and not more text than a reply has room for."""
    lines = sorted(lines, key=_when)[-count:] if count else []
    size = 0
    for place in range(len(lines) - 1, -1, -1):
        size += len(str(lines[place]["text"]))
        if size > _SELECT_BYTES:
            return lines[place + 1 :]
    return lines
