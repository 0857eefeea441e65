"""The part of PID 1 that is C (``native.c``): one call that starts a process, and the way out of
faults.

A `Job` is a child's system calls in order, made ready in memory that it shares with C. Leaves out
what those calls are, see ``process``. The library lies beside this module; ``scripts/native`` and
the builders of images put it there.

>>> job = Job("/bin/true")
>>> job.add(EXECVE, job.text("/bin/true"), job.vector(["true"]), job.vector([]), what="execve")
>>> pid = job.spawn()                                                # doctest: +SKIP
"""

from __future__ import annotations

import errno
import os
from struct import pack_into

from . import libc
from .foreign import (
    Char,
    Int,
    Long,
    Pointer,
    Text,
    address_of,
    addressof,
    held,
    numbers,
    open_library,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

LIBRARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libainit.so")

try:
    _library = open_library(LIBRARY)
except OSError as error:
    raise ImportError(f"{error}; `scripts/native` makes it for this host") from error

# They keep the interpreter lock: nothing else may run over these calls.
_spawn = held(_library, "ainit_spawn", (Pointer,), Long)
_reexec = held(_library, "ainit_reexec", (Text,), Long)
_arm = held(_library, "ainit_arm", (Pointer, Pointer))
_limit = held(_library, "ainit_limit", (Int,))
_disarm = held(_library, "ainit_disarm", (), None)
_spent = Int.from_address(address_of(_library, "ainit_spent"))

# Numbers of system calls on this processor, in the order of native.c.
(OPENAT, WRITE, CLOSE, DUP3, CLOSE_RANGE, SETSID, UMASK, CHDIR, EXECVE, PRCTL, CAPSET, SETGROUPS,
 SETRESGID, SETRESUID, SETPRIORITY, PRLIMIT, SIGPROCMASK, UNSHARE, MOUNT, UMOUNT, PIVOT_ROOT,
 MKDIRAT, MKNODAT, SYMLINKAT, MOUNT_SETATTR, SETHOSTNAME, SOCKET, IOCTL, SECCOMP,
 LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF, SETSOCKOPT, BIND, LISTEN,
 SENDMSG) = (
    numbers(_library, "ainit_calls", 36)
)  # fmt: skip
PID_TEXT = -1  # no system call: write the child's pid in decimal to the address, at most 20 digits

# How an operation is taken.
MAY_FAIL = 1
FIRST_IS_RESULT = 2  # its first argument is what the operation before it returned

REASON_BYTES = 500
FAULT = "--fault="  # how the last argument of a re-executed process begins; the reason follows

# What a job points into. One is enough: it is free again once the child has executed its program.
_ARENA_BYTES = 1 << 18
_JOB_BYTES = 8 * 8
_arena = bytearray(_ARENA_BYTES)
_base = addressof(Char.from_buffer(_arena))
_PADDING = (0,) * 6  # to as many arguments as a system call can have
_words: dict[str, int] = {}  # constants that jobs use, by their addresses, and what keeps them
_kept: list[Char] = []

# Given up when PID 1 executes itself, which needs a little memory.
_RESERVE_BYTES = 1 << 21
_reserve = libc.reserve(_RESERVE_BYTES)


class Job:
    """What one child does. One at a time: the next one takes over this one's memory."""

    __slots__ = ("_end", "_longs", "_program")

    def __init__(self, program: str) -> None:
        self._end = _JOB_BYTES
        self._longs: list[int] = []
        self._program = self.text(program)

    def data(self, value: bytes) -> int:
        """The address of a copy of ``value`` with a NUL after it, aligned to eight bytes.

        Raises OSError (E2BIG) when arguments and environment are longer than 256 KiB together.
        """
        start = self._end
        size = len(value)
        end = start + (size | 7) + 1
        if end > _ARENA_BYTES:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        _arena[start : start + size] = value
        _arena[start + size] = 0
        self._end = end
        return _base + start

    def text(self, value: str) -> int:
        """The same for text."""
        return self.data(value.encode("utf-8", "surrogateescape"))

    def longs(self, values: Sequence[int]) -> int:
        """The same for numbers of eight bytes."""
        start = self._end
        end = start + 8 * len(values)
        if end > _ARENA_BYTES:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        pack_into(f"={len(values)}q", _arena, start, *values)
        self._end = end
        return _base + start

    def vector(self, texts: Iterable[str]) -> int:
        """The address of a vector of texts, as execve(2) takes it."""
        return self.longs([*map(self.text, texts), 0])

    def add(self, number: int, *arguments: int, what: str, flags: int = 0) -> None:
        """One more system call. ``what`` is a constant that says what failed."""
        word = _words.get(what)
        if word is None:
            text = Char.from_buffer(bytearray(what.encode() + b"\0"))
            _kept.append(text)
            word = _words[what] = addressof(text)
        self._longs += (number, *arguments, *_PADDING[len(arguments) :], flags, word)

    def spawn(
        self,
        *,
        cgroup: int = -1,
        cell: int = 0,
        shared: bool = True,
        share_files: bool = False,
        namespaces: int = 0,
    ) -> int:
        """Start the child; returns its pid once it has executed its program or failed to.

        ``cgroup`` is a descriptor of the cgroup's directory, -1 this process's own. The kernel
        writes the pid to the address ``cell`` before the child runs, unless that is 0. ``shared``
        says that the child uses this process's memory until it executes its program, rather than
        a copy; then this process sleeps until it does. ``share_files`` says so of the table of
        descriptors, until the child takes one of its own (CLOSE_RANGE_UNSHARE). ``namespaces``
        are flags of clone3(2). Raises OSError when there is no child.
        """
        operations = self.longs(self._longs)
        cell = cell or self.longs((0,))
        count = len(self._longs) // 9
        files = shared and share_files
        values = (operations, count, self._program, shared, cgroup, cell, files, namespaces)
        pack_into("=8q", _arena, 0, *values)
        result = int(_spawn(_base))
        if result < 0:
            raise OSError(-result, os.strerror(-result), "clone3")
        return result


def arm(argv: Sequence[str], environment: Sequence[str]) -> None:
    """From now on, a fatal signal or an exit executes ``argv`` in this process, with the signal
    mask empty and one more argument, ``--fault=`` and the reason: ``signal 11``, ``exit``.

    An argument of that form that is in ``argv`` already is left out. ``environment`` is made of
    ``NAME=VALUE``. A process forked from this one is not concerned. Raises OSError when the two
    are longer than 64 arguments, 256 variables, or 64 KiB.
    """
    arguments = [text for text in argv if not text.startswith(FAULT)]
    texts = Job("arm")
    result = int(_arm(texts.vector(arguments), texts.vector(environment)))
    if result < 0:
        raise OSError(-result, os.strerror(-result), "arm")


def limit(seconds: int) -> None:
    """From now on, also more than so many seconds of processor time without `turned` execute this
    process anew; the reason is ``stuck``. Raises OSError.
    """
    result = int(_limit(seconds))
    if result < 0:
        raise OSError(-result, os.strerror(-result), "setitimer")


def turned() -> None:
    """This process is not stuck: its time counts from now."""
    _spent.value = 0


def disarm() -> None:
    """Faults and exits end this process again."""
    _disarm()


def reexec(reason: str) -> NoReturn:
    """Execute this process anew, as `arm` says. ``reason`` is cut to 500 bytes.

    Raises OSError when it cannot be executed. Works without memory, as far as that is possible: it
    first gives up two MiB that are held for this; if an allocation fails all the same, the reason
    is ``MemoryError``, or at last ``signal 6``.
    """
    libc.release(_reserve, _RESERVE_BYTES)
    try:
        result = int(_reexec(reason.encode("utf-8", "replace").replace(b"\0", b" ")[:REASON_BYTES]))
    except MemoryError:
        result = _reexec_without_memory()
    raise OSError(-result, os.strerror(-result), "execve")


def _reexec_without_memory() -> int:
    try:
        return int(_reexec(None))
    except MemoryError:
        os.abort()
