"""Starts units when a path exists, changes, or is a directory that is not empty.

inotify(7) watches the path, the directory that it is or will be in, and every directory above for
being moved. Whatever happens there, the path itself is looked at: events only say when. A change
while the unit runs starts it once more after it ended; a path that exists, or a directory that is
not empty, is looked at again then. Lost events, and a PID 1 that takes over, mean that everything
is looked at; what ``changed`` compares with is journaled for that.

Leaves out the target of a symbolic link that is put elsewhere, and remote file systems, where the
kernel sees only its own changes.

>>> paths = Paths(loop, start=start, hold=hold, running=running, say=logs.say,  # doctest: +SKIP
...               journal=keep)
>>> paths.resume(kept); paths.configure(plan.units); loop.hook(paths.hook)      # doctest: +SKIP
"""

from __future__ import annotations

import os

from ..linux.inotify import IN_MASK_ADD, IN_Q_OVERFLOW, Inotify
from . import loop
from .limit import TriggerLimit
from .watch import CHANGED, EXISTS, NOT_EMPTY, UNKNOWN, Watch, standing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..policy.plan import Record, Unit

_WORDS = {EXISTS: "exists", CHANGED: "changed", NOT_EMPTY: "is not empty"}
_RETRY_SECONDS = 10.0  # for what the kernel has no room to watch
_TRIES = 5  # while directories come and go


class Paths:
    """``start(name, why)`` when a path says so, unless ``running(name)`` (or on its way);
    ``hold(name, reason)`` when it said so too often; ``say(name, text)`` what cannot be watched;
    ``wanted_at(name)`` when it was last started, in seconds since boot.

    ``journal(name, record)`` keeps what ``resume`` takes.
    """

    def __init__(
        self,
        events: loop.Loop,
        *,
        start: Callable[[str, str], None],
        hold: Callable[[str, str], None],
        running: Callable[[str], bool],
        say: Callable[[str, str], None],
        wanted_at: Callable[[str], float] = lambda name: 0.0,
        journal: Callable[[str, Record], None] = lambda name, record: None,
        limit: TriggerLimit | None = None,
    ) -> None:
        self._loop = events
        self._start = start
        self._hold = hold
        self._running = running
        self._wanted_at = wanted_at
        self._say = say
        self._journal = journal
        self._limit = limit or TriggerLimit()
        self._inotify: Inotify | None = None
        self._watches: dict[str, list[Watch]] = {}
        self._points: dict[int, list[Watch]] = {}
        self._unwatched: set[Watch] = set()  # what the kernel has no room for
        self._new: list[str] = []  # units whose paths were not looked at yet
        self._held: set[str] = set()
        self._kept: Record = {}
        self._journaled: dict[str, Record] = {}
        self._retry = 0.0

    def resume(self, record: Record) -> None:
        """Take over what was journaled, by unit; before ``configure``."""
        self._kept = dict(record)

    def to_record(self) -> Record:
        """Everything that was journaled and still counts."""
        return dict(self._journaled)

    def configure(self, units: Iterable[Unit]) -> None:
        """Watch the paths of these units and forget all others. ``hook`` looks at the new ones."""
        wanted = {
            unit.name: [
                (kind, os.path.normpath(path)) for each in unit.paths for kind, path in each.items()
            ]
            for unit in units
            if unit.paths
        }
        for name in [name for name in self._watches if name not in wanted]:
            self._forget(name)
        for name, pairs in wanted.items():
            known = [(watch.kind, watch.path) for watch in self._watches.get(name, ())]
            if known != pairs:
                self._forget(name)
                self._watches[name] = [self._watch(name, kind, path) for kind, path in pairs]
                self._journal_unit(name)
                self._new.append(name)
        self._kept = {}

    def exited(self, name: str) -> None:
        """A unit ended of itself: what happened meanwhile, or is still so, starts it again."""
        self._look(self._watches.get(name, []))

    def release(self, name: str) -> None:
        """A unit comes up: one that was held may be started by its paths again afterwards."""
        if name in self._held:
            self._held.discard(name)
            self._limit.forget(name)

    def hook(self, now: float) -> float:
        """Look at what is new, and now and then at what cannot be watched; returns when to do so.

        For ``Loop.hook``.
        """
        while self._new:
            self._look(self._watches.get(self._new.pop(0), []))
        if not self._unwatched:
            return 0.0
        if now >= self._retry:
            self._retry = now + _RETRY_SECONDS
            self._look(list(self._unwatched))
        return self._retry if self._unwatched else 0.0

    def _watch(self, name: str, kind: str, path: str) -> Watch:
        watch = Watch(name, kind, path)
        if kind == CHANGED:
            kept = self._kept.get(name)
            known = kept.get(watch.path) if isinstance(kept, dict) else None
            if isinstance(known, dict):
                watch.pending = known.get("pending") is True
                watch.seen = known.get("seen")
                match known.get("starting"):
                    case [float(at), list(told)]:
                        watch.starting = at, told
                    case [float(at), None]:
                        watch.starting = at, None
            else:
                try:
                    watch.seen = watch.signature()
                except OSError:
                    watch.seen = UNKNOWN
        return watch

    def _forget(self, name: str) -> None:
        for watch in self._watches.pop(name, []):
            self._unpoint(watch, set(watch.points))
            self._unwatched.discard(watch)
        self._limit.forget(name)
        self._journaled.pop(name, None)
        self._held.discard(name)

    def _happened(self, _: int) -> None:
        assert self._inotify is not None
        touched: dict[int, Watch] = {}
        for wd, mask, name in self._inotify.read():
            concerned = self._points.get(wd, ())
            if mask & IN_Q_OVERFLOW:
                concerned = [watch for watches in self._watches.values() for watch in watches]
            for watch in concerned:
                if mask & IN_Q_OVERFLOW or watch.heed(wd, mask, name):
                    touched[id(watch)] = watch
        self._look(list(touched.values()))

    def _look(self, watches: list[Watch]) -> None:
        """See what the paths say now, after they are watched, so that nothing falls in between."""
        for watch in watches:
            self._point(watch)
        for watch in watches:
            try:
                met, seen = self._is_met(watch)
            except OSError as error:
                self._cannot_watch(watch, error)
                continue
            if met:
                self._met(watch, seen)

    def _is_met(self, watch: Watch) -> tuple[bool, list[int] | None]:
        """Whether the unit is to be started, and the path's signature. Raises OSError."""
        if watch.kind != CHANGED:
            return watch.is_met(), None
        if watch.starting is not None:  # by a former PID 1, which may have done so
            at, told = watch.starting
            if self._wanted_at(watch.name) >= at:
                watch.pending, watch.seen = False, told
            watch.starting = None
            self._journal_unit(watch.name)
        seen = watch.signature()
        if watch.seen == UNKNOWN:
            watch.seen = seen
        watch.pending = watch.pending or seen != watch.seen
        return watch.pending, seen

    def _cannot_watch(self, watch: Watch, error: OSError) -> None:
        if watch not in self._unwatched:
            self._unwatched.add(watch)
            self._say(watch.name, f"{watch.path} is looked at now and then only: {error}")

    def _met(self, watch: Watch, seen: list[int] | None) -> None:
        name = watch.name
        if self._running(name) or name in self._held:
            self._journal_unit(name)
            return
        if self._limit.exceeded(name):
            self._held.add(name)
            self._hold(name, self._limit.words(f"that {watch.path} {_WORDS[watch.kind]}"))
            return
        watch.starting = loop.now(), seen
        self._journal_unit(name)  # before the start, so that a fault loses no change
        self._start(name, f"{watch.path} {_WORDS[watch.kind]}")
        watch.pending, watch.seen, watch.starting = False, seen, None
        self._journal_unit(name)

    def _journal_unit(self, name: str) -> None:
        record = _record(self._watches[name])
        if self._journaled.get(name, {}) != record:
            self._journaled[name] = record
            self._journal(name, record)

    def _point(self, watch: Watch) -> None:
        """Put the kernel's watches where they are needed now, and take the others away."""
        try:
            for _ in range(_TRIES):
                before = standing(watch.path)
                points = self._add(watch, before)
                if points is not None and standing(watch.path) == before:
                    break
            else:
                raise OSError(11, "its directories come and go")
        except OSError as error:
            self._cannot_watch(watch, error)
            return
        self._unpoint(watch, watch.points.keys() - points.keys())
        for wd in points:
            if watch not in self._points.setdefault(wd, []):
                self._points[wd].append(watch)
        watch.points = points
        self._unwatched.discard(watch)

    def _add(self, watch: Watch, before: list[str]) -> dict[int, str | None] | None:
        """Watch what stands of the path; None when something of it is gone again."""
        if self._inotify is None:
            made = Inotify()
            try:
                self._loop.add(made.fileno(), loop.READ, self._happened)
            except OSError:
                made.close()
                raise
            self._inotify = made
        points: dict[int, str | None] = {}
        try:
            for place, mask, counts in watch.places(before):
                points[self._inotify.add(place, mask | IN_MASK_ADD)] = counts
        except OSError as error:
            for wd in points.keys() - self._points.keys():
                self._inotify.remove(wd)
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                return None
            raise
        return points

    def _unpoint(self, watch: Watch, wds: set[int]) -> None:
        for wd in wds:
            watch.points.pop(wd, None)
            rest = [other for other in self._points.get(wd, ()) if other is not watch]
            if rest:
                self._points[wd] = rest
            elif self._points.pop(wd, None) is not None and self._inotify is not None:
                self._inotify.remove(wd)


def _record(watches: list[Watch]) -> Record:
    return {
        watch.path: {
            "pending": watch.pending,
            "seen": watch.seen,
            **({"starting": list(watch.starting)} if watch.starting else {}),
        }
        for watch in watches
        if watch.kind == CHANGED
    }
