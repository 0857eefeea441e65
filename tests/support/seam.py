"""The system calls of PID 1, each of which can be made to fail.

``Seam.installed`` puts stand-ins for ``os``, ``select``, ``_socket.socket``, ``open`` and the C
library into the modules of PID 1 (and nowhere else). They do what they stand for, and count; the
call that is armed fails with one of the errors that it can have on Linux, or does half of its work.
Leaves out EINTR, which Python hides, and what processes, groups and clocks are: see ``kernel``.

>>> seam = Seam(kernel)                                              # doctest: +SKIP
>>> with seam.installed():
...     seam.arm(12, 0)               # the twelfth call from now on, the first of its errors
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import os
import select
import sys
import weakref
from _socket import socket as RealSocket  # noqa: N812 - the class that PID 1 uses
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.support.kernel import Kernel

_FOREIGN = (
    "mount", "umount2", "malloc_trim", "mmap", "renameat2", "inotify_init1", "inotify_add_watch",
    "inotify_rm_watch", "timerfd_create", "timerfd_settime",
)  # fmt: skip
SHORT = -1  # it does half of what it was asked for
E = errno
_NEW = (E.EMFILE, E.ENFILE, E.ENOMEM)  # whatever makes a descriptor
_FILE = (E.EIO, E.ENOMEM)
_SPACE = (E.ENOSPC, E.EIO, E.ENOMEM)
PLAUSIBLE: dict[str, tuple[int, ...]] = {
    "open": (*_NEW, E.EIO),
    "open to create": (*_NEW, E.ENOSPC, E.EIO, E.EROFS),
    "open of a group's": _NEW,
    "open of a controller's": (*_NEW, E.ENOENT, E.ENODEV),
    "read": (*_FILE, SHORT),
    "read of a group's": (E.ENOMEM,),
    "read of a whole file": _FILE,
    "write": (*_SPACE, SHORT),
    "write to a group's": (E.ENOMEM, E.EINVAL, E.EBUSY, E.EPERM, E.EIO),
    "pread": (*_FILE, SHORT),
    "pwrite": (*_SPACE, SHORT),
    "splice": (*_SPACE, SHORT),
    "ftruncate": _FILE,
    "lseek": (E.EIO,),
    "close": (E.EIO,),
    "bpf": _NEW,
    "dup": (E.EMFILE, E.ENOMEM),
    "dup2": (E.EBUSY, E.ENOMEM),
    "pipe2": _NEW,
    "memfd_create": _NEW,
    "fcntl": (E.ENOMEM,),
    "stat": _FILE,
    "unlink": (E.EIO, E.EPERM, E.EROFS),
    "rename": _SPACE,
    "mkdir": _SPACE,
    "rmdir": (E.EBUSY, E.EIO, E.ENOMEM),
    "getdents": (*_NEW, E.EIO),
    "chmod": (E.EIO, E.EPERM, E.ENOMEM),
    "fsync": (E.EIO, E.ENOSPC),
    "getxattr": (E.ENODATA, E.ENOMEM),
    "setxattr": (E.ENOSPC, E.EOPNOTSUPP, E.ENOMEM),
    "waitid": (E.ENOMEM,),
    "waitid of one": (E.ECHILD, E.ENOMEM),
    "kill": (E.ESRCH, E.EPERM),
    "clone3": (E.EAGAIN, E.ENOMEM, E.ENOSPC, E.EPERM, E.EBUSY, SHORT),
    "epoll_create1": _NEW,
    "epoll_ctl": (E.ENOMEM, E.ENOSPC),
    "epoll_wait": (E.ENOMEM, SHORT),
    "socket": (*_NEW, E.ENOBUFS),
    "bind": (E.EADDRINUSE, E.EACCES, E.ENOMEM, E.ENOSPC),
    "listen": (E.EADDRINUSE, E.ENOMEM),
    "accept4": (*_NEW, E.ECONNABORTED, E.EAGAIN, E.EPERM),
    "connect": (E.EAGAIN, E.ECONNREFUSED, E.ENOMEM),
    "send": (E.EAGAIN, E.EPIPE, E.ECONNRESET, E.ENOMEM, SHORT),
    "recv": (E.EAGAIN, E.ECONNRESET, E.ENOMEM, SHORT),
    "recvmsg": (E.EAGAIN, E.ENOMEM),
    "getsockopt": (E.ENOMEM,),
    "setsockopt": (E.ENOMEM,),
    "inotify_init1": _NEW,
    "inotify_add_watch": (E.ENOMEM, E.ENOSPC, E.EACCES),
    "inotify_rm_watch": (E.EINVAL,),
    "timerfd_create": _NEW,
    "timerfd_settime": (E.ECANCELED, E.ENOMEM),
    "mmap": (E.ENOMEM, E.ENFILE),
    "mount": (E.ENOMEM, E.EPERM, E.EBUSY),
    "umount2": (E.EBUSY, E.ENOMEM),
    "renameat2": (E.EIO, E.ENOSPC, E.EINVAL),
    "getpwnam": (E.EMFILE, E.ENOMEM, E.EIO),
}


@dataclass(frozen=True)
class Injected:
    """One call that failed: which, where, how; ``number`` is an errno or SHORT."""

    call: str
    site: str
    number: int

    def __str__(self) -> str:
        how = "short" if self.number == SHORT else errno.errorcode[self.number]
        return f"{self.call}: {how} at {self.site}"


class Seam:
    """``fired`` is what came of the last ``arm``, ``exhausted`` says that the call had no such
    choice any more; ``sites`` counts calls by site while ``recording``.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.count = 0
        self.at = 0
        self.choice = 0
        self.fired: list[Injected] = []
        self.exhausted = False
        self.recording = False
        self.sites: Counter[tuple[str, str]] = Counter()
        self.sockets: weakref.WeakSet[Any] = weakref.WeakSet()
        self.epolls: list[Any] = []
        self.mapped: list[tuple[int, int]] = []
        self._undo: list[Callable[[], None]] = []

    def arm(self, at: int, choice: int) -> None:
        """Let the ``at``-th call from now on fail in the ``choice``-th way; 0: none."""
        self.count, self.at, self.choice = 0, at, choice
        self.exhausted = False

    def strike(self, name: str) -> int:
        """The armed call, or any while recording: 0 when it is to succeed."""
        site = _site()
        if self.recording:
            self.sites[name, site] += 1
        if self.count != self.at:
            return 0
        choices = PLAUSIBLE[name]
        if self.choice >= len(choices):
            self.exhausted = True
            return 0
        self.fired.append(Injected(name, site, choices[self.choice]))
        return choices[self.choice]

    def passes(self, name: str) -> bool:
        """One call: True when it goes on, False when it does half; raises its error."""
        self.count += 1
        if self.count == self.at or self.recording:
            number = self.strike(name)
            if number > 0:
                raise OSError(number, os.strerror(number))
            return not number
        return True

    def fails(self, name: str) -> bool:
        """One call of the C library: True when it fails, with errno set."""
        self.count += 1
        if self.count == self.at or self.recording:
            number = self.strike(name)
            if number > 0:
                ctypes.set_errno(number)
                return True
        return False

    def executed(self) -> None:
        """PID 1 executes itself: what Python knew of descriptors is gone."""
        for channel in list(self.sockets):
            channel.detach()
        self.sockets.clear()
        for poll in self.epolls:
            poll.real.close()
        self.epolls.clear()
        for address, size in self.mapped:
            _munmap(address, size)
        self.mapped.clear()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The stand-ins are in the modules of PID 1 while the block runs."""
        self._install()
        try:
            yield
        finally:
            for undo in reversed(self._undo):
                undo()
            self._undo.clear()

    def put(self, module: Any, name: str, value: object) -> None:
        """Replace an attribute until the block ends."""
        missing = object()
        before = module.__dict__.get(name, missing)
        setattr(module, name, value)
        if before is missing:
            self._undo.append(lambda: delattr(module, name))
        else:
            self._undo.append(lambda: setattr(module, name, before))

    def _install(self) -> None:
        from ainit.linux import inotify, libc, timerfd, users

        system = self._system()
        poll = SimpleNamespace(**vars(select))
        poll.epoll = lambda: Epoll(self)
        channel = _sockets(self)
        opening = self._opening()
        for name, module in list(sys.modules.items()):
            if not name.startswith(("ainit.pid1", "ainit.linux")):
                continue
            for key, real, fake in (
                ("os", os, system),
                ("select", select, poll),
                ("socket", RealSocket, channel),
            ):
                if module.__dict__.get(key) is real:
                    self.put(module, key, fake)
            self.put(module, "open", opening)
        for library in (libc, inotify, timerfd):
            for name in _FOREIGN:
                if (function := library.__dict__.get(f"_{name}")) is not None:
                    self.put(library, f"_{name}", _foreign(self, name, function))
        for name in ("user", "group"):
            self.put(users, name, self._plain("getpwnam", getattr(users, name)))

    def _plain(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        passes = self.passes

        def call(*arguments: Any, **keys: Any) -> Any:
            passes(name)
            return real(*arguments, **keys)

        return call

    def _system(self) -> SimpleNamespace:  # noqa: C901, PLR0915 - one stand-in after the other
        kernel, passes, plain = self.kernel, self.passes, self._plain
        system = SimpleNamespace(**vars(os))
        system.path = SimpleNamespace(**vars(os.path))
        for name, functions in {
            "dup": ("dup",),
            "pipe2": ("pipe2",),
            "memfd_create": ("memfd_create",),
            "ftruncate": ("ftruncate",),
            "lseek": ("lseek",),
            "fcntl": ("set_blocking", "set_inheritable", "get_inheritable"),
            "stat": ("stat", "lstat", "fstat"),
            "unlink": ("unlink",),
            "rename": ("rename",),
            "chmod": ("chmod", "chown", "fchmod", "fchown"),
            "fsync": ("fsync",),
            "getdents": ("scandir",),
        }.items():
            for function in functions:
                setattr(system, function, plain(name, getattr(os, function)))

        def dup2(descriptor: int, target: int, inheritable: bool = True) -> int:
            passes("dup2")
            return os.dup2(descriptor, target, inheritable)

        def open_(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if kernel.is_group_file(path, dir_fd):
                own = path.rpartition("/")[2].startswith("cgroup.")
                passes("open of a group's" if own else "open of a controller's")
                return kernel.open_group_file(path, dir_fd)
            passes("open to create" if flags & os.O_CREAT else "open")
            return os.open(kernel.place(path), flags, mode, dir_fd=dir_fd)

        def close(descriptor: int) -> None:
            kernel.files.pop(descriptor, None)
            try:
                passes("close")
            finally:
                os.close(descriptor)

        def read(descriptor: int, count: int) -> bytes:
            file = kernel.files.get(descriptor)
            if file is not None:
                passes("read of a group's")
                return file.read(count)
            if passes("read"):
                return os.read(descriptor, count)
            return os.read(descriptor, max(min(count, 16) // 2, 1))

        def write(descriptor: int, data: bytes) -> int:
            file = kernel.files.get(descriptor)
            if file is not None:
                passes("write to a group's")
                return file.write(bytes(data))
            if passes("write"):
                return os.write(descriptor, data)
            return os.write(descriptor, data[: max(len(data) // 2, 1)])

        def pread(descriptor: int, count: int, offset: int) -> bytes:
            return os.pread(descriptor, count if passes("pread") else count // 2, offset)

        def pwrite(descriptor: int, data: bytes, offset: int) -> int:
            if not passes("pwrite"):
                data = data[: len(data) // 2]
            return os.pwrite(descriptor, data, offset)

        def splice(source: int, target: int, count: int, **keys: Any) -> int:
            return os.splice(source, target, count if passes("splice") else 3, **keys)

        def waitid(kind: int, number: int, options: int) -> Any:
            passes("waitid of one" if kind == os.P_PID else "waitid")
            return kernel.waitid(kind, number, options)

        def kill(pid: int, number: int) -> None:
            passes("kill")
            kernel.kill(pid, number)

        def mkdir(path: str, mode: int = 0o777) -> None:
            passes("mkdir")
            kernel.mkdir(path, mode)

        def makedirs(path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
            parent = os.path.dirname(path)
            if parent and not os.path.isdir(parent):
                makedirs(parent, exist_ok=True)
            try:
                mkdir(path, mode)
            except FileExistsError:
                if not exist_ok or not os.path.isdir(path):
                    raise

        def rmdir(path: str) -> None:
            passes("rmdir")
            kernel.rmdir(path)

        def listdir(path: str) -> list[str]:
            passes("getdents")
            names = os.listdir(path)
            if path != "/proc/self/fd":
                return names
            return [name for name in names if kernel.is_pid1s(int(name))]

        def exists(path: str) -> bool:
            try:
                system.stat(path)
            except OSError:
                return False
            return True

        def isdir(path: str) -> bool:
            return exists(path) and os.path.isdir(path)

        def sameopenfile(first: int, second: int) -> bool:
            passes("stat")
            return os.path.sameopenfile(first, second)

        system.dup2, system.open, system.close, system.read, system.write = (
            dup2, open_, close, read, write,
        )  # fmt: skip
        system.pread, system.pwrite, system.splice, system.waitid = pread, pwrite, splice, waitid
        system.kill, system.mkdir, system.makedirs, system.rmdir = kill, mkdir, makedirs, rmdir
        system.listdir = listdir
        system.getxattr = plain("getxattr", kernel.getxattr)
        system.setxattr = plain("setxattr", kernel.setxattr)
        system.path.exists, system.path.isdir, system.path.sameopenfile = (
            exists, isdir, sameopenfile,
        )  # fmt: skip
        return system

    def _opening(self) -> Callable[..., Any]:
        kernel, passes = self.kernel, self.passes

        def open_(path: str, mode: str = "r", **keys: Any) -> Any:
            file = kernel.proc(path, mode)
            if file is not None or "opener" not in keys:  # whose opener is counted by itself
                passes("open to create" if "w" in mode else "open")
            if file is None:
                file = builtins.open(path, mode, **keys)  # noqa: SIM115 - its user closes it
            return _WholeFile(self, file)

        return open_


class _WholeFile:
    """A file object, whose reading can fail."""

    def __init__(self, seam: Seam, file: Any) -> None:
        self._seam = seam
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        self._seam.passes("read of a whole file")
        return iter(self._file)

    def read(self, *arguments: int) -> Any:
        self._seam.passes("read of a whole file")
        return self._file.read(*arguments)

    def write(self, data: Any) -> Any:
        self._seam.passes("write to a group's")  # of which a Python file leaves no half
        return self._file.write(data)


class Epoll:
    """``select.epoll``. The first one of a PID 1 is its loop's, which waits for the clock."""

    def __init__(self, seam: Seam) -> None:
        seam.passes("epoll_create1")
        self._seam = seam
        self._waits = not seam.epolls
        self.real = select.epoll()
        self.fileno = self.real.fileno
        seam.epolls.append(self)

    def register(self, descriptor: int, events: int) -> None:
        self._seam.passes("epoll_ctl")
        self.real.register(descriptor, events)

    def modify(self, descriptor: int, events: int) -> None:
        self._seam.passes("epoll_ctl")
        self.real.modify(descriptor, events)

    def unregister(self, descriptor: int) -> None:
        self._seam.passes("epoll_ctl")
        self.real.unregister(descriptor)

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        found = self.real.poll(0, most if self._seam.passes("epoll_wait") else 1)
        if not found and self._waits and timeout:  # without one it has more to do
            self._seam.kernel.idle(timeout)
        return found


def _sockets(seam: Seam) -> type:  # noqa: C901 - one stand-in after the other
    passes, kernel = seam.passes, seam.kernel

    class Socket(RealSocket):
        """``_socket.socket``."""

        def __init__(self, *arguments: int, **keys: int) -> None:
            if "fileno" not in keys:
                passes("socket")
            super().__init__(*arguments, **keys)
            seam.sockets.add(self)

        def bind(self, address: Any) -> None:
            passes("bind")
            super().bind(address)

        def listen(self, backlog: int = 0) -> None:
            passes("listen")
            super().listen(backlog)

        def _accept(self) -> Any:
            passes("accept4")
            return super()._accept()  # type: ignore[misc]

        def connect(self, address: Any) -> None:
            passes("connect")
            super().connect(address)

        def connect_ex(self, address: Any) -> int:
            try:
                passes("connect")
            except OSError as error:
                return error.errno or 0
            return super().connect_ex(address)

        def send(self, data: Any, flags: int = 0) -> int:
            if not passes("send"):
                data = bytes(data[: max(len(data) // 2, 1)])
            return super().send(data, flags)

        def recv(self, count: int, flags: int = 0) -> bytes:
            return super().recv(count if passes("recv") else min(count, 5), flags)

        def recvmsg(self, *arguments: Any) -> Any:
            passes("recvmsg")
            return kernel.received(super().recvmsg(*arguments))

        def getsockopt(self, *arguments: Any) -> Any:
            passes("getsockopt")
            return super().getsockopt(*arguments)

        def setsockopt(self, *arguments: Any) -> None:
            passes("setsockopt")
            super().setsockopt(*arguments)

    return Socket


def _foreign(seam: Seam, name: str, real: Callable[..., Any]) -> Callable[..., int]:
    """A function of the C library; a failure sets errno and gives -1."""
    kernel = seam.kernel

    def call(*arguments: Any) -> int:
        if name in PLAUSIBLE and seam.fails(name):
            return _MAP_FAILED if name == "mmap" else -1
        if name == "mount":
            return kernel.mount(arguments[1].decode())
        if name == "umount2":
            return kernel.unmount(arguments[0].decode())
        if name == "malloc_trim":
            return 0
        result = int(real(*arguments))
        if name == "mmap":
            seam.mapped.append((result, arguments[1]))
        if name == "inotify_init1":
            kernel.inotifies.add(result)
        return result

    return call


_MAP_FAILED = ctypes.c_void_p(-1).value or 0
_libc = ctypes.CDLL(None)
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def _munmap(address: int, size: int) -> None:
    _libc.munmap(address, size)


def _site() -> str:
    """The line of PID 1 that makes the call."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if "/ainit/" in path and "/tests/" not in path:
            return f"{path.rpartition('/ainit/')[2]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"
