"""Pressure stall information: how long tasks waited for memory, and a descriptor that tells.

A trigger lives as long as its descriptor. Leaves out what is done about it: ``pid1.resources``.

    descriptor = open_trigger("/proc/pressure/memory", "some 2000000 10000000")
    loop.add(descriptor, PRESSED, lambda events: print("gone" if events & GONE else "waiting"))
"""

from __future__ import annotations

import errno
import os
import select

from ..policy import resources

MACHINE = "/proc/pressure/memory"
PRESSED = select.EPOLLPRI
GONE = select.EPOLLERR  # the group was removed
_MISSING = (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.ENOSYS)


class NoPressureError(OSError):
    """The kernel keeps no account of stalls: it was built or started without (psi=0)."""

    def __str__(self) -> str:
        return f"the kernel keeps no account of stalls: {self.strerror}"


def open_trigger(path: str, trigger: str) -> int:
    """A descriptor that has PRESSED at most once in each window of ``trigger``.

    Raises NoPressureError, or OSError that names the path.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, trigger.encode() + b"\0")
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        kind = NoPressureError if error.errno in _MISSING else OSError
        raise kind(error.errno, error.strerror, path) from None
    return descriptor


def average(path: str) -> float | None:
    """Per cent of the last ten seconds in which some task waited; None when nobody counts."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return resources.average(os.read(descriptor, 4096).decode("ascii", "replace"))
    except OSError:
        return None
    finally:
        os.close(descriptor)
