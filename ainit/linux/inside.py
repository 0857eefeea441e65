"""Files as another process sees them: paths looked up in its root, its memory read.

openat2(2) takes a directory for the root (RESOLVE_IN_ROOT), so that no link leads out of it into
this process's own files. Leaves out which process it is: see ``ainit.audit``.

>>> import os
>>> root = os.open("/usr", os.O_PATH)
>>> found = look_up(root, "/../bin/../bin")
>>> name(found)
'/usr/bin'
>>> os.close(found); os.close(root)
"""

from __future__ import annotations

import os
import struct

from .foreign import Long, Pointer, UnsignedLong, function, get_errno

_OPENAT2 = 437  # on every architecture
_HOW = struct.Struct("=QQQ")
_IN_ROOT, _NO_MAGIC_LINKS = 0x10, 0x02
_PATH_BYTES = 4096

_syscall = function("syscall", (Long, UnsignedLong, Pointer, Pointer, UnsignedLong), Long)


def look_up(root: int, path: str, *, follow: bool = True) -> int:
    """A descriptor (O_PATH) of what a path leads to for a process whose root is open as ``root``.

    ``follow`` says whether its last part may be a symbolic link. Raises OSError.
    """
    flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    how = _HOW.pack(flags, 0, _IN_ROOT | _NO_MAGIC_LINKS)
    result = int(_syscall(_OPENAT2, root, os.fsencode(path) + b"\0", how, _HOW.size))
    if result < 0:
        number = get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def name(descriptor: int) -> str:
    """The path of an open file, from the root of the mounts that it was opened in."""
    return os.readlink(f"/proc/self/fd/{descriptor}")


class Memory:
    """The memory of a process or thread. Raises OSError when it is gone."""

    def __init__(self, pid: int) -> None:
        self._file = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)

    def read(self, address: int, size: int) -> bytes:
        """So many bytes from an address on, or as many as there are. Raises OSError, for an
        address that cannot be one, too.
        """
        try:
            return os.pread(self._file, size, address)
        except OverflowError:
            raise OSError(f"{address:#x} is no address") from None

    def text(self, address: int) -> str:
        """The path at an address. Raises OSError when it has no end."""
        data = self.read(address, 256)
        if b"\0" not in data:
            data = self.read(address, _PATH_BYTES)
        found, end, _ = data.partition(b"\0")
        if not end:
            raise OSError(f"there is no text at {address:#x}")
        return os.fsdecode(found)
