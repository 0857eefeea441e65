"""The receiving end of a seccomp filter that tells of calls: seccomp_unotify(2).

A process that makes such a call sleeps until it is answered here. The only answer is that the
kernel goes on with the call (SECCOMP_USER_NOTIF_FLAG_CONTINUE): what was read of the caller's
memory may be something else by then, so nothing here may allow or forbid. Leaves out the filter,
see ``policy.watched``.

>>> listener = Listener(descriptor)                                  # doctest: +SKIP
>>> call = listener.receive()                                        # doctest: +SKIP
>>> listener.go_on(call.id)                                          # doctest: +SKIP
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass

# linux/seccomp.h: SECCOMP_IOCTL_NOTIF_*, and the structures that they take.
_RECEIVE, _SEND, _IS_VALID, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082102, 0x40082104
_CALL = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_ID = struct.Struct("=Q")
_CONTINUE = 1
_SYNC_WAKE_UP = 1


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that waits: of the thread ``pid``, in this process's namespace."""

    id: int
    pid: int
    number: int
    arguments: tuple[int, ...]


class Listener:
    """Takes over a descriptor that SECCOMP_FILTER_FLAG_NEW_LISTENER made."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        try:  # the caller goes on at once, on this processor; since Linux 6.6
            fcntl.ioctl(descriptor, _SET_FLAGS, _SYNC_WAKE_UP)
        except OSError:
            pass

    def receive(self) -> Call | None:
        """The next call; None when whoever made it is gone. To be asked when it is readable."""
        room = bytearray(_CALL.size)
        try:
            fcntl.ioctl(self.descriptor, _RECEIVE, room, True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        number, pid, _, call, _, _, *arguments = _CALL.unpack(room)
        return Call(number, pid, call, tuple(arguments))

    def is_valid(self, number: int) -> bool:
        """Whether the call still waits: then what was read of its caller was its caller's."""
        try:
            fcntl.ioctl(self.descriptor, _IS_VALID, _ID.pack(number))
        except OSError:
            return False
        return True

    def go_on(self, number: int) -> bool:
        """Let the kernel do the call; False when it waits no more."""
        try:
            fcntl.ioctl(self.descriptor, _SEND, _ANSWER.pack(number, 0, 0, _CONTINUE))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close it. If no other process has it, each further such call fails with ENOSYS."""
        os.close(self.descriptor)
