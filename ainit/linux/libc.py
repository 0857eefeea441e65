"""System calls that the standard library lacks, through the C library. See the man page of each."""

from __future__ import annotations

import os
import struct

from .foreign import Int, Long, Pointer, Text, Unsigned, UnsignedLong, function, get_errno

# Flags of mount(2).
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

# A flag of umount2(2).
MNT_DETACH = 2

# Commands of reboot(2).
RB_AUTOBOOT = 0x01234567
RB_POWER_OFF = 0x4321FEDC
RB_HALT_SYSTEM = 0xCDEF0123
RB_KEXEC = 0x45584543
RB_DISABLE_CAD = 0

# Options of prctl(2).
PR_SET_CHILD_SUBREAPER = 36

_mount = function("mount", (Text, Text, Text, UnsignedLong, Text))
_umount2 = function("umount2", (Text, Int))
_reboot = function("reboot", (Unsigned,))
_setrlimit = function("setrlimit", (Int, Pointer))
_malloc_trim = function("malloc_trim", (UnsignedLong,))
_prctl = function("prctl", (Int, UnsignedLong, UnsignedLong, UnsignedLong, UnsignedLong))
_renameat2 = function("renameat2", (Int, Text, Int, Text, Unsigned))
_mmap = function("mmap", (Pointer, UnsignedLong, Int, Int, Int, Long), Pointer)
_munmap = function("munmap", (Pointer, UnsignedLong))
_syscall = function("syscall", (Long, Long, Long, Long, Long, Long), Long)
_RLIMIT_NOFILE = 7
_DESCRIPTORS = 1 << 20
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_PROT_READ_WRITE = 3
_MAP_SHARED = 1
_MAP_PRIVATE_ANONYMOUS = 0x22
_MAP_FAILED = (1 << 64) - 1
_PAGE_BYTES = 4096
_KCMP = {"x86_64": 312, "aarch64": 272}
_KCMP_FILE = 0


def _check(result: int, what: str) -> None:
    if result < 0:
        number = get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    _check(_mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), target)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError that names the target."""
    _check(_umount2(target.encode(), flags), target)


def reboot(command: int) -> None:
    """reboot(2). Returns only when the kernel refuses, or for RB_DISABLE_CAD."""
    _check(_reboot(command), "reboot")


def prctl(option: int, argument: int) -> None:
    """prctl(2) with one argument."""
    _check(_prctl(option, argument, 0, 0, 0), "prctl")


class SharedInteger:
    """Four bytes of a file's first page, from ``place`` on, as shared memory at ``address``. Never
    unmapped.
    """

    __slots__ = ("_integer", "address")

    def __init__(self, descriptor: int, place: int = 0) -> None:
        address = _mmap(None, _PAGE_BYTES, _PROT_READ_WRITE, _MAP_SHARED, descriptor, 0)
        if address is None or address == _MAP_FAILED:
            _check(-1, "mmap")
        self.address = int(address or 0) + place
        self._integer = Int.from_address(self.address)

    @property
    def value(self) -> int:
        """What it is now."""
        return self._integer.value

    @value.setter
    def value(self, value: int) -> None:
        self._integer.value = value


def same_file(first: int, second: int) -> bool:
    """Whether two descriptors of this process are of one opening of a file (kcmp(2))."""
    own = os.getpid()
    number = _KCMP.get(os.uname().machine, -1)
    result = int(_syscall(number, own, own, _KCMP_FILE, first, second))
    if result < 0:  # a kernel without it: all that can be told is whether the file is the same
        return os.path.sameopenfile(first, second)
    return result == 0


def exchange(first: str, second: str) -> None:
    """Let two names of one file system change places, atomically (renameat2(2))."""
    names = (_AT_FDCWD, first.encode(), _AT_FDCWD, second.encode())
    _check(_renameat2(*names, _RENAME_EXCHANGE), second)


def reserve(size: int) -> int:
    """The address of memory that is promised, but takes none until it is written to."""
    address = _mmap(None, size, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    if address is None or address == _MAP_FAILED:
        _check(-1, "mmap")
    return int(address or 0)


def release(address: int, size: int) -> None:
    """Give a reserve up: what is asked for next may take its place."""
    _munmap(address, size)


def trim() -> None:
    """Give memory that was freed back to the kernel (malloc_trim(3))."""
    _malloc_trim(0)


def raise_descriptors() -> None:
    """Let this process have as many descriptors as the kernel gives to anybody (setrlimit(2))."""
    limit = struct.pack("=2Q", _DESCRIPTORS, _DESCRIPTORS)
    _check(_setrlimit(_RLIMIT_NOFILE, limit), "RLIMIT_NOFILE")
