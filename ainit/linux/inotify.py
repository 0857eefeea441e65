"""inotify(7): one descriptor that says which of any number of files and directories changed.

Leaves out recursion. cgroup v2 announces a change of ``cgroup.events`` as IN_MODIFY.

    watches = Inotify()
    wd = watches.add("/run/spool", IN_CLOSE_WRITE | IN_MOVED_TO)
    loop.add(watches.fileno(), loop.READ, lambda _: print(watches.read()))
"""

from __future__ import annotations

import os
import struct

from .foreign import Int, Text, Unsigned, function, get_errno

# What happened, inotify(7).
IN_MODIFY = 0x002
IN_ATTRIB = 0x004
IN_CLOSE_WRITE = 0x008
IN_MOVED_FROM = 0x040
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
# Said without being asked for.
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000  # events were lost: look at everything; its wd is -1
IN_IGNORED = 0x8000  # the watch is gone: it was removed, or its file was
# How to watch.
IN_ONLYDIR = 0x01000000
IN_DONT_FOLLOW = 0x02000000
IN_MASK_ADD = 0x20000000
IN_ONESHOT = 0x80000000

OVERFLOW_WD = -1
_HEADER = struct.Struct("iIII")
_READ_BYTES = 16384  # at most some 1,000 events a read, whatever waits

_inotify_init1 = function("inotify_init1", (Int,))
_inotify_add_watch = function("inotify_add_watch", (Int, Text, Unsigned))
_inotify_rm_watch = function("inotify_rm_watch", (Int, Int))


def _check(result: int, what: str) -> int:
    if result < 0:
        number = get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


class Inotify:
    """A set of watches. Its descriptor is closed on exec and never blocks."""

    __slots__ = ("_descriptor",)

    def __init__(self) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._descriptor = _check(_inotify_init1(flags), "inotify")

    def fileno(self) -> int:
        """The descriptor, readable when something happened."""
        return self._descriptor

    def add(self, path: str, mask: int) -> int:
        """Watch ``path`` for ``mask``; returns the watch. The same file has one watch only, so that
        its mask is replaced. Raises OSError that names the path.
        """
        return _check(_inotify_add_watch(self._descriptor, os.fsencode(path), mask), path)

    def remove(self, wd: int) -> None:
        """Stop watching; a watch that is gone is no error. What was said of it may still come."""
        _inotify_rm_watch(self._descriptor, wd)

    def read(self) -> list[tuple[int, int, str]]:
        """What happened: watch, mask, and the name within a watched directory (else empty).

        One read of bounded size: the descriptor stays readable while there is more.
        """
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return []
        found = []
        offset = 0
        while offset < len(data):
            wd, mask, _cookie, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            found.append((wd, mask, name))
        return found

    def close(self) -> None:
        """Close the descriptor, and every watch with it."""
        os.close(self._descriptor)
