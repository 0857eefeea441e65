"""One path of one unit: what of it the kernel is to watch, and what it says when looked at.

The path itself, the directory that it is or will be in, and every directory above, which may be
moved. The kernel has one watch for each of these whoever asks, so what it says may be for another.
Leaves out the kernel, and what follows: see ``paths``.
"""

from __future__ import annotations

import errno
import os

from ..linux.inotify import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_UNMOUNT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

EXISTS, CHANGED, NOT_EMPTY = "exists", "changed", "not-empty"  # the plan's words

UNKNOWN: list[int] = []  # a signature that could not be told: the first that can is no change

_GONE = IN_DELETE_SELF | IN_MOVE_SELF
_ENTRIES = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO
_ITSELF = {
    EXISTS: _GONE,
    CHANGED: _GONE | _ENTRIES | IN_CLOSE_WRITE | IN_ATTRIB,
    NOT_EMPTY: _GONE | IN_CREATE | IN_MOVED_TO,
}
_NONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)  # nothing there for us
_UNASKED = IN_IGNORED | IN_UNMOUNT
_ITS = ""  # what counts in the path itself: everything
_NOTHING = None  # in a directory far above, but that it stays where it is


class Watch:
    """``points`` maps each watch of the kernel to what counts there: everything in the path itself,
    one name in the directory before it, nothing further above. ``pending``, of changes: one is to
    be told; ``seen`` is the signature when the last one was; ``starting`` when the unit was about
    to be started, in seconds since boot, and the signature then.
    """

    __slots__ = ("kind", "name", "path", "pending", "points", "seen", "starting")

    def __init__(self, name: str, kind: str, path: str) -> None:
        self.name = name
        self.kind = kind
        self.path = os.path.normpath(path)
        self.points: dict[int, str | None] = {}
        self.pending = False
        self.seen: list[int] | None = None
        self.starting: tuple[float, list[int] | None] | None = None

    def places(self, there: list[str]) -> Iterator[tuple[str, int, str | None]]:
        """What to watch when this much of the path is there: place, mask, and what counts in it."""
        nearest = len(there) - 1 - (there[-1] == self.path)
        for place, directory in enumerate(there):
            if directory == self.path:
                yield directory, _ITSELF[self.kind], _ITS
            elif place == nearest:
                base = directory.rstrip("/")
                following = self.path[len(base) + 1 :].partition("/")[0]
                entries = _ENTRIES if self.kind == CHANGED else IN_CREATE | IN_MOVED_TO
                yield directory, _GONE | entries, f"{base}/{following}"
            else:
                yield directory, _GONE, _NOTHING

    def heed(self, wd: int, mask: int, name: str) -> bool:
        """Whether an event concerns this path, which is to be looked at then; notes a change."""
        counts = self.points[wd]
        if mask & _UNASKED:
            return True
        if counts == _ITS:
            concerns = bool(mask & _ITSELF[self.kind])
        elif counts is _NOTHING or (name and name != os.path.basename(counts)):
            concerns = not name and bool(mask & _GONE)
        else:
            concerns = bool(mask & (_GONE | _ENTRIES))
        if concerns and self.kind == CHANGED and counts in (_ITS, self.path):
            self.pending = True
        return concerns

    def is_met(self) -> bool:
        """Whether it exists, or is not empty, now. Raises OSError when that is not known."""
        if self.kind == EXISTS:
            return self.signature() is not None
        try:
            with os.scandir(self.path) as entries:
                return next(entries, None) is not None
        except OSError as error:
            if error.errno in _NONE:
                return False
            raise

    def signature(self) -> list[int] | None:
        """What tells one state of a file or directory from another; None when there is none.

        Raises OSError when that is not known.
        """
        try:
            found = os.stat(self.path)
        except OSError as error:
            if error.errno in _NONE:
                return None
            raise
        return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def standing(path: str) -> list[str]:
    """The directories above a path that exist, from the root on, and the path itself if it does."""
    there = ["/"]
    end = 0
    while 0 <= end < len(path) - 1:
        end = path.find("/", end + 1)
        part = path if end < 0 else path[:end]
        if not (os.path.exists(part) if part == path else os.path.isdir(part)):
            break
        there.append(part)
    return there
