"""What one told call names: its files and addresses, read from its caller's memory.

Reading and noting are apart: the memory is read while the caller waits, and what was read counts
only if it still did afterwards. Otherwise the number may have been another process's.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from functools import partial

from ..linux.inside import Memory
from ..linux.notified import Call
from ..policy.grants import EXECUTE, READ, WRITE
from ..policy.watched import ADDRESSES, DESCRIPTORS, EXECUTES, FILES, HERE, LOOKS, MAKES, OPENS
from .view import View

_AT_FDCWD = -100
_AT_NOFOLLOW = 0x100
_FLAGS = {  # the argument whose flags say that a link is meant itself
    "newfstatat": 3, "statx": 2, "faccessat": 3, "faccessat2": 3, "fchmodat2": 3, "fchownat": 4,
    "utimensat": 3,
}  # fmt: skip
_LINKS = frozenset(  # those that always mean a link itself
    ("lstat", "readlink", "readlinkat", "lgetxattr", "llistxattr", "unlink", "unlinkat", "rmdir",
     "rename", "renameat", "renameat2", "link", "linkat", "lchown", "lsetxattr", "lremovexattr")
)  # fmt: skip
_PAIRS = frozenset(("rename", "renameat", "renameat2", "link", "linkat"))  # and a new name
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_TMPFILE & ~os.O_DIRECTORY
_CREATING = os.O_CREAT | os.O_WRONLY | os.O_TRUNC  # what creat(2) is
_UNIX, _INET, _INET6 = 1, 2, 10
_ADDRESS_BYTES = 128

Note = Callable[[], None]
Peer = Callable[[str, int], None]  # an address and a port


def notes(call: Call, name: str, memory: Memory, view: View, peer: Peer) -> Iterator[Note]:
    """What is to be noted of a call. Raises OSError when its caller is gone."""
    if name in FILES:
        yield from _files(call, name, memory, view)
    elif name in ADDRESSES:
        yield from _address(call, name, memory, view, peer)
    elif name in DESCRIPTORS:
        yield partial(view.written, call.pid, _signed(call.arguments[0]))


def _files(call: Call, name: str, memory: Memory, view: View) -> Iterator[Note]:
    does, places = FILES[name]
    arguments = call.arguments
    flagged = name in _FLAGS and arguments[_FLAGS[name]] & _AT_NOFOLLOW
    follow = name not in _LINKS and not flagged
    for directory, at in places:
        relative = _AT_FDCWD if directory == HERE else _signed(arguments[directory])
        if not arguments[at]:  # the descriptor itself, as futimens(3) has it
            yield partial(view.written, call.pid, relative)
            continue
        path = view.absolute(call.pid, relative, memory.text(arguments[at]))
        if does == OPENS:
            yield _opened(call, name, path, memory, view)
        elif does == MAKES:
            yield _made(view, path)
        elif does == LOOKS:
            yield partial(view.seen, path, follow=follow)
        elif name in _PAIRS and not view.exists(path):
            yield partial(view.made, path)
        else:
            yield partial(view.used, EXECUTE if does == EXECUTES else WRITE, path, follow=follow)


def _made(view: View, path: str) -> Note:
    """A new name, unless it is there: then the call fails, as it would by a profile that does not
    let it write there.
    """
    if view.exists(path):
        return partial(view.seen, path, follow=False)
    return partial(view.made, path)


def _opened(call: Call, name: str, path: str, memory: Memory, view: View) -> Note:
    arguments = call.arguments
    if name == "creat":
        flags = _CREATING
    elif name == "openat2":  # struct open_how begins with them
        flags = int.from_bytes(memory.read(arguments[2], 8), "little")
    else:
        flags = arguments[1 if name == "open" else 2]
    if flags & os.O_CREAT and not view.exists(path):
        return partial(view.made, path)
    follow = not flags & os.O_NOFOLLOW
    if flags & os.O_PATH or (flags & os.O_CREAT and flags & os.O_EXCL):
        return partial(view.seen, path, follow=follow)
    return partial(view.used, WRITE if flags & _WRITING else READ, path, follow=follow)


def _address(call: Call, name: str, memory: Memory, view: View, peer: Peer) -> Iterator[Note]:
    at, size = ADDRESSES[name]
    length = min(call.arguments[size] & 0xFFFFFFFF, _ADDRESS_BYTES)
    data = memory.read(call.arguments[at], length)
    family = int.from_bytes(data[:2], "little")
    if family == _UNIX:
        path = os.fsdecode(data[2:].partition(b"\0")[0])
        if path:  # else it has no name, or one that is no file
            path = view.absolute(call.pid, _AT_FDCWD, path)
            yield _made(view, path) if name == "bind" else partial(view.used, READ, path)
    elif family in (_INET, _INET6) and name != "bind":
        host = ipaddress.ip_address(data[4:8] if family == _INET else data[8:24])
        host = getattr(host, "ipv4_mapped", None) or host
        port = int.from_bytes(data[2:4])
        if port and not host.is_unspecified:
            yield partial(peer, str(host), port)


def _signed(value: int) -> int:
    """A descriptor, of which the kernel takes the low word."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low
