"""Namespaces and mounts: flags of unshare(2), mount(2) and mount_setattr(2), and what a kernel has.

Leaves out which of them a process gets: see ``ainit.sandbox``.

>>> "net" in available()
True
"""

from __future__ import annotations

import os

# Flags of clone3(2) and unshare(2).
NEW_MOUNT = 0x00020000
NEW_CGROUP = 0x02000000
NEW_UTS = 0x04000000
NEW_IPC = 0x08000000
NEW_USER = 0x10000000
NEW_PID = 0x20000000
NEW_NET = 0x40000000

# Of mount_setattr(2).
READ_ONLY = 1
NO_SUID = 2
NO_DEVICES = 4
NO_EXEC = 8
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
ATTRIBUTE_BYTES = 32  # struct mount_attr

_MOST_USER = "/proc/sys/user/max_user_namespaces"


def available() -> frozenset[str]:
    """The kinds of namespaces that a process can have one of its own of, by their names in
    /proc/self/ns. Raises OSError.
    """
    found = frozenset(os.listdir("/proc/self/ns"))
    if "user" in found:
        with open(_MOST_USER, "rb") as file:
            if int(file.read()) == 0:
                return found - {"user"}
    return found
