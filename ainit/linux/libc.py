"""System calls that the standard library lacks, through the C library. See the man page of each."""

from __future__ import annotations

import ctypes
import os

# Flags of mount(2).
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_REC = 16384
MS_PRIVATE = 1 << 18

# Commands of reboot(2).
RB_AUTOBOOT = 0x01234567
RB_POWER_OFF = 0x4321FEDC
RB_HALT_SYSTEM = 0xCDEF0123
RB_KEXEC = 0x45584543
RB_DISABLE_CAD = 0

# Options of prctl(2).
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.reboot.argtypes = [ctypes.c_uint]
_libc.setrlimit.argtypes = [ctypes.c_int, ctypes.c_void_p]
_RLIMIT_NOFILE = 7
_DESCRIPTORS = 1 << 20
_libc.malloc_trim.argtypes = [ctypes.c_size_t]
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


_libc.renameat2.argtypes = [
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
]
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.mmap.restype = ctypes.c_void_p
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_PROT_READ_WRITE = 3
_MAP_SHARED = 1
_MAP_PRIVATE_ANONYMOUS = 0x22
_PAGE_BYTES = 4096
_KCMP = {"x86_64": 312, "aarch64": 272}
_KCMP_FILE = 0
_libc.syscall.argtypes = [ctypes.c_long] * 6
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), target
    )


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError that names the target."""
    _check(_libc.umount2(target.encode(), flags), target)


def reboot(command: int) -> None:
    """reboot(2). Returns only when the kernel refuses, or for RB_DISABLE_CAD."""
    _check(_libc.reboot(command), "reboot")


def prctl(option: int, argument: int) -> None:
    """prctl(2) with one argument."""
    _check(_libc.prctl(option, argument, 0, 0, 0), "prctl")


class SharedInteger:
    """Four bytes of a file's first page, from ``place`` on, as shared memory at ``address``. Never
    unmapped.
    """

    __slots__ = ("_integer", "address")

    def __init__(self, descriptor: int, place: int = 0) -> None:
        address = _libc.mmap(None, _PAGE_BYTES, _PROT_READ_WRITE, _MAP_SHARED, descriptor, 0)
        if address is None or address == ctypes.c_void_p(-1).value:
            _check(-1, "mmap")
        self.address = int(address or 0) + place
        self._integer = ctypes.c_int32.from_address(self.address)

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
    result = int(_libc.syscall(number, own, own, _KCMP_FILE, first, second))
    if result < 0:  # a kernel without it: all that can be told is whether the file is the same
        return os.path.sameopenfile(first, second)
    return result == 0


def exchange(first: str, second: str) -> None:
    """Let two names of one file system change places, atomically (renameat2(2))."""
    names = (_AT_FDCWD, first.encode(), _AT_FDCWD, second.encode())
    _check(_libc.renameat2(*names, _RENAME_EXCHANGE), second)


def reserve(size: int) -> int:
    """The address of memory that is promised, but takes none until it is written to."""
    address = _libc.mmap(None, size, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        _check(-1, "mmap")
    return int(address or 0)


def release(address: int, size: int) -> None:
    """Give a reserve up: what is asked for next may take its place."""
    _libc.munmap(address, size)


def trim() -> None:
    """Give memory that was freed back to the kernel (malloc_trim(3))."""
    _libc.malloc_trim(0)


def raise_descriptors() -> None:
    """Let this process have as many descriptors as the kernel gives to anybody (setrlimit(2))."""
    limit = (ctypes.c_ulong * 2)(_DESCRIPTORS, _DESCRIPTORS)
    _check(_libc.setrlimit(_RLIMIT_NOFILE, ctypes.addressof(limit)), "RLIMIT_NOFILE")
