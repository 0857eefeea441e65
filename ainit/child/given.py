"""Files that somebody gave us and that are not trusted: opened without following anything, read up
to a limit.

    small("/run/ainit/disk/record.json", 65536)
"""

from __future__ import annotations

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
