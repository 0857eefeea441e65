"""What an agent's calls name, looked up in its own root, and which entry of its profile that is.

Paths are recorded by the names that the profile gives them: an entry that leads through a link is
found by where it leads to. What every agent may, and what the profile denies, is not looked at
further. A race can make a record wrong, never a decision: nothing is enforced by it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Mapping, Sequence

from ..linux import inside
from ..policy import sandbox, shadow
from ..policy.grants import EXECUTE, READ, WRITE
from ..policy.sandbox import lies_in
from ..sandbox.view import PRIVATE

_LEFT_OUT = ("/proc", "/dev")  # its own in every sandbox, and in no profile
_AT_FDCWD = -100
_SCRIPT = b"#!"
_HEAD_BYTES = 4096
_DEEPEST = 5  # interpreters of interpreters, as the kernel has it
_INTERPRETER = 3  # PT_INTERP
_HEADERS = struct.Struct("<32xQ14xHH")  # of struct Elf64_Ehdr: e_phoff, e_phentsize, e_phnum
_HEADER = struct.Struct("<I4xQ16xQ")  # of struct Elf64_Phdr: p_type, p_offset, p_filesz

Found = Callable[[str, str, str, bool], None]  # matter, path, its entry, whether it is fixed


class View:
    """One agent's files. ``entries`` are what its profile lists, by matter; ``found`` is told of
    each use. ``fixed`` is the device that nobody writes, or -1.
    """

    def __init__(
        self, entries: Mapping[str, Sequence[str]], found: Found, *, fixed: int = -1
    ) -> None:
        self._found = found
        self._fixed = fixed
        self._root = self._device = -1
        write, execute = entries.get(WRITE, ()), entries.get(EXECUTE, ())
        self._listed = {
            READ: (*entries.get(READ, ()), *write, *execute),
            WRITE: tuple(write),
            EXECUTE: tuple(execute),
        }
        self._real: dict[str, str] = {}
        self._everybodys: set[str] = set()

    def close(self) -> None:
        """Let go of its root."""
        if self._root >= 0:
            os.close(self._root)
        self._root = -1

    def enter(self, pid: int) -> None:
        """Its root is that of this process, once and for all. Raises OSError."""
        if self._root >= 0:
            return
        self._root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._device = os.fstat(self._root).st_dev
        for entry in self._listed[READ]:
            self._real[entry] = self._lead(entry)
        self._everybodys = {self._lead(path) for path in sandbox.ROOT_EXECUTE}

    def _lead(self, path: str) -> str:
        try:
            descriptor = inside.look_up(self._root, path)
        except OSError:
            return path
        try:
            return inside.name(descriptor)
        finally:
            os.close(descriptor)

    def absolute(self, pid: int, directory: int, path: str) -> str:
        """A path as a process names it, with what it is relative to. Raises OSError."""
        if path.startswith("/"):
            return path
        place = "cwd" if directory == _AT_FDCWD else f"fd/{directory}"
        return f"{os.readlink(f'/proc/{pid}/{place}')}/{path}" if path else ""

    def exists(self, path: str) -> bool:
        """Whether there is something of this name, be it a link that leads nowhere."""
        try:
            os.close(inside.look_up(self._root, path, follow=False))
        except OSError:
            return False
        return True

    def seen(self, path: str, *, follow: bool = True) -> None:
        """Something was looked at, and not opened. That is a use where it is there by the profile
        alone: names on the root's file system are there for every agent.
        """
        try:
            descriptor = inside.look_up(self._root, path, follow=follow)
        except OSError:
            return
        try:
            real, device = inside.name(descriptor), os.fstat(descriptor).st_dev
        finally:
            os.close(descriptor)
        if device != self._device or any(lies_in(real, place) for place in PRIVATE):
            self.used(READ, path, follow=follow)

    def used(self, matter: str, path: str, *, follow: bool = True, depth: int = 0) -> None:
        """Something was read, written or executed. What is not there is not used."""
        if not path or any(lies_in(path, place) for place in _LEFT_OUT):
            return
        try:
            descriptor = inside.look_up(self._root, path, follow=follow)
        except OSError:
            return
        try:
            real, status = inside.name(descriptor), os.fstat(descriptor)
            if matter == EXECUTE and stat.S_ISREG(status.st_mode) and depth < _DEEPEST:
                for interpreter in _interpreters(descriptor):
                    self.used(EXECUTE, interpreter, depth=depth + 1)
        finally:
            os.close(descriptor)
        self._tell(matter, path, real, fixed=status.st_dev == self._fixed)

    def made(self, path: str) -> None:
        """A name was made, perhaps: where it lies is written."""
        parent, _, last = path.rstrip("/").rpartition("/")
        try:
            descriptor = inside.look_up(self._root, parent or "/")
        except OSError:
            return
        try:
            self._tell(WRITE, path, f"{inside.name(descriptor)}/{last}", fixed=False)
        finally:
            os.close(descriptor)

    def written(self, pid: int, descriptor: int) -> None:
        """An open file was changed, if that is what the descriptor is."""
        try:
            real = os.readlink(f"/proc/{pid}/fd/{descriptor}")
        except OSError:
            return
        self._tell(WRITE, real, real, fixed=False)

    def _tell(self, matter: str, path: str, real: str, *, fixed: bool) -> None:
        if matter == READ and shadow.is_everybodys(real):
            return
        if matter == EXECUTE and real in self._everybodys:
            return
        entry = self._entry(matter, real)
        if entry:
            name = entry + real[len(self._real[entry]) :]
            self._found(matter, name, entry, fixed and name == path)
        passed = max((each for each in self._real if lies_in(path, each)), key=len, default="")
        if passed and not lies_in(real, self._real[passed]):  # by a link in it
            self._found(READ, passed, passed, False)

    def _entry(self, matter: str, real: str) -> str:
        """The entry of the profile that a file lies in most closely; empty: none."""
        within = [each for each in self._listed[matter] if lies_in(real, self._real[each])]
        return max(within, key=lambda each: len(self._real[each]), default="")


def _interpreters(descriptor: int) -> list[str]:
    """What the kernel executes for a program: its interpreter, or its loader."""
    try:
        file = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        head = os.read(file, _HEAD_BYTES)
        if head.startswith(_SCRIPT):
            words = head.partition(b"\n")[0][len(_SCRIPT) :].split()
            return [os.fsdecode(words[0])] if words else []
        if not head.startswith(b"\x7fELF\x02\x01"):
            return []
        start, size, count = _HEADERS.unpack_from(head)
        for number in range(min(count, 64)):
            kind, offset, length = _HEADER.unpack(os.pread(file, 40, start + number * size))
            if kind == _INTERPRETER:
                return [os.fsdecode(os.pread(file, min(length, 4096), offset).rstrip(b"\0"))]
    except (OSError, struct.error, OverflowError):
        pass
    finally:
        os.close(file)
    return []
