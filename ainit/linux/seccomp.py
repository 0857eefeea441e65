"""seccomp(2): whether this kernel filters system calls, and with which actions.

Leaves out the filter: ``policy.seccomp`` compiles it, the sandbox installs it.

>>> has_action(RETURN_ERRNO)                                         # doctest: +SKIP
True
"""

from __future__ import annotations

import errno
from struct import pack

from .foreign import Long, Pointer, UnsignedLong, function, get_errno
from .native import SECCOMP

SET_MODE_FILTER = 1
NEW_LISTENER = 1 << 3  # a flag of it: SECCOMP_FILTER_FLAG_NEW_LISTENER
_GET_ACTION_AVAILABLE = 2

RETURN_KILL_PROCESS = 0x80000000
RETURN_ERRNO = 0x00050000

INSTRUCTION_BYTES = 8  # of classic BPF: struct sock_filter

_ABSENT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_syscall = function("syscall", (Long, UnsignedLong, UnsignedLong, Pointer), Long)


def has_action(action: int) -> bool:
    """Whether a filter may return this. Raises OSError when that is not known."""
    if _syscall(SECCOMP, _GET_ACTION_AVAILABLE, 0, pack("=I", action)) == 0:
        return True
    number = get_errno()
    if number in _ABSENT:
        return False
    raise OSError(number, "seccomp")
