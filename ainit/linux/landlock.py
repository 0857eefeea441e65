"""Landlock: what a kernel of each ABI can deny, and the structures of its three system calls.

See landlock(7) and the kernel's Documentation/userspace-api/landlock.rst. A right that a ruleset
handles is denied unless a rule allows it; this module handles all that the running kernel knows.
Leaves out which rules an agent gets: see ``ainit.sandbox.files``.

>>> handled(6)[1:]
(3, 3)
"""

from __future__ import annotations

import errno
from struct import pack

from .foreign import Long, UnsignedLong, function, get_errno
from .native import LANDLOCK_CREATE_RULESET

# Rights on files, and the ABI that brought them when it was not the first.
EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13  # 2: rename or link into another directory
TRUNCATE = 1 << 14  # 3
IOCTL_DEV = 1 << 15  # 5: ioctl(2) on devices
RESOLVE_UNIX = 1 << 16  # 9: connect to a socket that has a path

# Of these only may a rule on what is no directory speak.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX

# Rights on TCP ports (ABI 4), and what a domain does not reach outside itself (ABI 6).
BIND_TCP = 1 << 0
CONNECT_TCP = 1 << 1
ABSTRACT_SOCKETS = 1 << 0
SIGNALS = 1 << 1

# Kinds of rules.
PATH_BENEATH = 1
NET_PORT = 2

_FILES_BY_ABI = ((1, MAKE_SYM), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV), (9, RESOLVE_UNIX))
_ABI_OF_PORTS = 4
_ABI_OF_SCOPES = 6
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_ABSENT = (errno.ENOSYS, errno.EOPNOTSUPP)

_syscall = function("syscall", (Long, UnsignedLong, UnsignedLong, UnsignedLong), Long)


def abi() -> int:
    """The version of Landlock that this kernel has, 0 when it has none or it is switched off.

    Raises OSError.
    """
    found = int(_syscall(LANDLOCK_CREATE_RULESET, 0, 0, _VERSION))
    if found >= 0:
        return found
    number = get_errno()
    if number in _ABSENT:
        return 0
    raise OSError(number, "landlock_create_ruleset")


def handled(version: int) -> tuple[int, int, int]:
    """Rights on files, rights on ports, and scopes: all that a kernel of this ABI has."""
    last = max((bit for since, bit in _FILES_BY_ABI if since <= version), default=0)
    ports = BIND_TCP | CONNECT_TCP if version >= _ABI_OF_PORTS else 0
    scopes = ABSTRACT_SOCKETS | SIGNALS if version >= _ABI_OF_SCOPES else 0
    return 2 * last - 1 if last else 0, ports, scopes


def ruleset(files: int, ports: int, scopes: int) -> bytes:
    """A struct landlock_ruleset_attr."""
    return pack("=3Q", files, ports, scopes)


def path_rule(rights: int, descriptor: int) -> bytes:
    """A struct landlock_path_beneath_attr."""
    return pack("=Qi", rights, descriptor)


def port_rule(rights: int, port: int) -> bytes:
    """A struct landlock_net_port_attr."""
    return pack("=2Q", rights, port)
