"""What is written to: a whole disk that nobody else holds, or the file that is one to a machine.

with opened(Path("/dev/sdb")) as target:
    target.zero(0, 1 << 20)
    target.write(1 << 20, data)
    target.flush()
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lib.host import HostError, run
from lib.layout import MIB

CHUNK = 4 * MIB
# linux/fs.h
_BLKRRPART, _BLKFLSBUF, _BLKDISCARD, _BLKZEROOUT = 0x125F, 0x1261, 0x1277, 0x127F
_RANGE = struct.Struct("=QQ")


class Target:
    """An open disk, or with ``is_file`` a file. Offsets and lengths are multiples of a sector."""

    def __init__(self, path: Path, descriptor: int, *, is_file: bool = False) -> None:
        self.path = path
        self.size = os.lseek(descriptor, 0, os.SEEK_END)
        self._descriptor = descriptor
        self._is_file = is_file
        # A mapping begins at a page's start, which is what direct access demands of memory.
        self._buffer = memoryview(mmap.mmap(-1, CHUNK))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write at most a chunk. Raises HostError with the offset at which it failed."""
        view = self._buffer[: len(data)]
        view[:] = data
        done = 0
        while done < len(view):
            with self._explained("writing", offset + done):
                written = self._pwrite(view[done:], offset + done)
                if not written:
                    raise OSError(errno.ENOSPC, "nothing more is taken")
                done += written

    def read(self, offset: int, length: int) -> bytes:
        """Return at most a chunk. Raises HostError with the offset at which it failed."""
        view = self._buffer[:length]
        done = 0
        while done < length:
            with self._explained("reading", offset + done):
                taken = self._pread(view[done:], offset + done)
                if not taken:
                    raise OSError(errno.EIO, "the disk ends here")
                done += taken
        return bytes(view)

    def zero(self, offset: int, length: int) -> None:
        """Let a range read as zeros, without writing them where the disk can do that itself."""
        with self._explained("zeroing", offset):
            self._zero(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Tell the disk that a range holds nothing any more. What it reads as is not known."""
        if not self._is_file:
            with suppress(OSError):  # advice only
                fcntl.ioctl(self._descriptor, _BLKDISCARD, _RANGE.pack(offset, length))

    def flush(self) -> None:
        """Wait until everything is on the disk, and forget what memory holds of it."""
        with self._explained("flushing", 0):
            os.fsync(self._descriptor)
            if not self._is_file:
                fcntl.ioctl(self._descriptor, _BLKFLSBUF, 0)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def reread(self) -> bool:
        """Let the kernel read the partition table anew. False when it does not."""
        try:
            fcntl.ioctl(self._descriptor, _BLKRRPART, 0)
        except OSError:
            return False
        return True

    def _pwrite(self, view: memoryview, offset: int) -> int:
        return os.pwritev(self._descriptor, [view], offset)

    def _pread(self, view: memoryview, offset: int) -> int:
        return os.preadv(self._descriptor, [view], offset)

    def _zero(self, offset: int, length: int) -> None:
        if self._is_file:
            place = ["--offset", str(offset), "--length", str(length)]
            run(["fallocate", "--punch-hole", *place, str(self.path)])
        else:
            fcntl.ioctl(self._descriptor, _BLKZEROOUT, _RANGE.pack(offset, length))

    @contextmanager
    def _explained(self, doing: str, offset: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HostError(
                f"{doing} {self.path} failed at byte {offset}: {error.strerror}; "
                "the disk, its port or its cable is bad, or it was pulled out"
            ) from None


@contextmanager
def opened(path: Path, *, is_file: bool = False, kind: type[Target] = Target) -> Iterator[Target]:
    """Hold a disk, or a file, for oneself alone. Raises HostError when somebody else has it."""
    descriptor = _open(path, os.O_RDWR | os.O_CLOEXEC | (0 if is_file else os.O_EXCL))
    try:
        if is_file:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise HostError(f"{path} is in use, by a virtual machine perhaps") from None
        yield kind(path, descriptor, is_file=is_file)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    try:
        try:
            return os.open(path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return os.open(path, flags)  # a file system without direct access
    except OSError as error:
        reasons = {
            errno.EBUSY: f"another program holds it; `fuser -v {path}` may name it",
            errno.EACCES: "only root may write it",
            errno.EPERM: "this process may not write it, though it may be root",
            errno.EROFS: "it is read-only: look for a switch on it",
        }
        reason = reasons.get(error.errno or 0, error.strerror)
        raise HostError(f"{path} cannot be written: {reason}") from None
