"""Files that are not trusted: opened without following anything and read up to a limit.

``reason`` puts into words, for whoever operates the machine, why something cannot be used.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import RefusedError


def small(path: str, limit: int) -> bytes:
    """A small file's content; empty when there is none. Raises RefusedError when it is too long."""
    try:
        with opened(path) as descriptor:
            content = os.read(descriptor, limit + 1)
    except FileNotFoundError:
        return b""
    if len(content) > limit:
        raise RefusedError(f"{os.path.basename(path)} is longer than {limit} bytes")
    return content


@contextmanager
def opened(path: str) -> Iterator[int]:
    """An open regular file; links are not followed, devices and pipes not waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RefusedError(f"{os.path.basename(path)} is no regular file")
        yield descriptor
    except OSError as error:
        error.filename = error.filename or path  # what goes wrong at a descriptor names no file
        raise
    finally:
        os.close(descriptor)


def reason(error: Exception) -> str:
    """Why a model is refused, in words for whoever operates the machine."""
    if isinstance(error, OSError):
        name = os.path.basename(str(error.filename or "")) or "the file"
        match error.errno:
            case errno.EIO | errno.EUCLEAN | errno.EBADMSG:
                return f"altered: a page of {name} does not match its fs-verity digest"
            case errno.ENOENT:
                return f"altered: {name} is missing"
            case _:
                return f"{name} cannot be used: {error.strerror or error}"
    if isinstance(error, UnicodeError):
        return "altered: text that is not UTF-8"
    return str(error)
