"""A kernel for one PID 1 in this very process: its children, their groups, mounts and the clock.

Pipes, sockets, files in memory and watches are real. A child is a record that behaves as its unit's
``Behaviour`` says; a group is a directory with one real file, ``cgroup.events``; time passes when
PID 1 waits for it. Descriptors below ``FLOOR`` are PID 1's, those from there on the children's and
the test's. Leaves out who fails: see ``seam``; and what must hold: see ``model``.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import io
import json
import os
import queue
import shutil
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

FLOOR = 600
JOURNAL = 599
_GROUP_FILES = ("cgroup.", "memory.", "cpu.", "cpuset.", "io.", "pids.")
_CONTENT = {
    "memory.current": "4096\n",
    "memory.events": "oom 0\noom_kill 0\n",
    "cpu.stat": "usage_usec 15\n",
    "pids.current": "1\n",
}
_CLOSING = 16
_TICK_SECONDS = 1e-5
_SIGCHLD, _SIGHUP, _SIGTERM, _SIGKILL = 17, 1, 15, 9
_SCM_CREDENTIALS = 2

Behaviour = Callable[["Kernel", "Process"], None]


class Hang(BaseException):
    """PID 1 does not come to an end."""


class Process:
    """A child, or what a child left. ``status`` is how it ended, None while it lives."""

    def __init__(self, pid: int, unit: str, group: str, argv: list[str], kind: str) -> None:
        self.pid = pid
        self.unit = unit
        self.group = group
        self.argv = argv
        self.kind = kind  # "main", "probe", "job", "left" (by a main one)
        self.started = pid * 10
        self.status: int | None = None
        self.output = -1
        self.descriptors: list[int] = []
        self.listener: socket.socket | None = None
        self.peers: list[socket.socket] = []
        self.on_signal: dict[int, Callable[[], None]] = {}
        self.environment: dict[str, str] = {}


class GroupFile:
    """An open file of a group, other than ``cgroup.events``."""

    def __init__(self, kernel: Kernel, group: str, name: str) -> None:
        self._kernel = kernel
        self._group = group
        self._name = name
        populated = bool(kernel.members(group))
        self._rest = (
            f"populated {populated:d}\n" if name == "cgroup.events" else _CONTENT.get(name, "")
        )

    def read(self, count: int) -> bytes:
        text, self._rest = self._rest, ""
        return text[:count].encode()

    def write(self, data: bytes) -> int:
        if self._name == "cgroup.kill":
            for one in self._kernel.members(self._group):
                self._kernel.die(one.pid, -_SIGKILL)
        return len(data)


class Kernel:
    """``now`` is CLOCK_BOOTTIME, ``born`` counts the main processes of each unit."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="ainit-", dir="/dev/shm")
        self.root = f"{self.directory}/cgroup"
        self.now = 1000.0
        self.processes: dict[int, Process] = {}
        self.born: Counter[str] = Counter()
        self.behaviours: dict[str, Behaviour] = {}
        self.files: dict[int, GroupFile] = {}
        self.mounted: set[str] = set()
        # Closing one takes long: nobody waits for it, unless many are waiting, for the real kernel
        # gives a user only so many.
        self.inotifies: set[int] = set()
        self._closing: queue.Queue[int] = queue.Queue(_CLOSING)
        self._closer = threading.Thread(target=self._close_slowly, daemon=True)
        self._closer.start()
        self.wakeup = -1
        self.idling = False
        self.deadline = 0.0  # until when PID 1 would wait; 0: for ever
        self.together: list[str] = []  # units that had two main processes at once
        self._attributes: dict[tuple[str, str], bytes] = {}
        self._next = 100_000
        self._child: Any = None
        self._foreign: set[int] = set()
        gc.collect()  # or what other tests left closes its numbers later, and PID 1 gets them
        self._foreign = set(self.descriptors())
        os.mkdir(self.root)

    def close(self) -> None:
        """Everything ends."""
        for one in list(self.processes.values()):
            self._let_go(one)
        self._closing.put(-1)
        self._closer.join()
        shutil.rmtree(self.directory)

    # Descriptors.

    def is_pid1s(self, descriptor: int) -> bool:
        return descriptor < FLOOR and descriptor not in self._foreign

    def descriptors(self) -> list[int]:
        """What PID 1 has open."""
        numbers = map(int, os.listdir("/proc/self/fd"))
        return [number for number in numbers if self.is_pid1s(number) and _is_open(number)]

    def executed(self) -> None:
        """PID 1 executes itself: what is not inherited is closed."""
        self.files.clear()
        self.wakeup = -1
        self.close_descriptors(lambda descriptor: not os.get_inheritable(descriptor))

    def close_descriptors(self, which: Callable[[int], bool]) -> None:
        for descriptor in self.descriptors():
            if which(descriptor) and descriptor in self.inotifies:
                self._closing.put(lift(descriptor))
            elif which(descriptor):
                os.close(descriptor)
        self.inotifies.clear()

    def _close_slowly(self) -> None:
        while (descriptor := self._closing.get()) >= 0:
            os.close(descriptor)

    # Time.

    def idle(self, timeout: float) -> None:
        """PID 1 has nothing to do until ``timeout`` is over (negative: ever)."""
        self.idling = True
        self.deadline = 0.0 if timeout < 0 else self.now + timeout

    def clock(self) -> SimpleNamespace:
        """The module ``time``."""

        def clock_gettime(which: int) -> float:
            self.now += _TICK_SECONDS  # no two moments are the same
            return self.now

        return SimpleNamespace(clock_gettime=clock_gettime, CLOCK_BOOTTIME=7)

    def wall(self) -> float:
        return self.now + 1_700_000_000.0

    def signals(self) -> SimpleNamespace:
        """The module ``_signal``."""

        def set_wakeup_fd(descriptor: int, **_: object) -> int:
            self.wakeup = descriptor
            return -1

        return SimpleNamespace(
            SIGCHLD=17, SIGTERM=15, SIGINT=2, SIGPWR=30, SIGALRM=14, SIG_SETMASK=2, ITIMER_REAL=0,
            signal=lambda number, handler: None, setitimer=lambda *_: None,
            pthread_sigmask=lambda how, mask: None, set_wakeup_fd=set_wakeup_fd,
        )  # fmt: skip

    def tell(self, number: int) -> None:
        """A signal for PID 1."""
        if self.wakeup >= 0:
            os.write(self.wakeup, bytes([number]))

    # Processes.

    def clone(self, child: Any, cell: int, group: int) -> int:
        """A child starts, and does at once what its unit does."""
        unit = child.environment.get("AINOS_UNIT", "")
        name = os.path.basename(os.readlink(f"/proc/self/fd/{group}")) if group >= 0 else ""
        kind = "job" if not unit else "main" if child.pid_cell else "probe"
        one = self._process(unit, name, list(child.argv), kind)
        if cell:
            ctypes.c_int32.from_address(cell).value = one.pid
        one.environment = dict(child.environment)
        one.output = lift(os.dup(child.output))
        one.descriptors = [lift(os.dup(number)) for number in child.descriptors]
        if kind == "main":
            self.born[unit] += 1
            if len([other for other in self.members(name) if other.kind == "main"]) > 1:
                self.together.append(unit)
        behaviour = self.behaviours.get(unit if kind == "main" else kind)
        if behaviour is not None:
            behaviour(self, one)
        return one.pid

    def fork(self, parent: Process) -> Process:
        """A main process leaves another behind."""
        return self._process(parent.unit, parent.group, parent.argv, "left")

    def _process(self, unit: str, group: str, argv: list[str], kind: str) -> Process:
        self._next += 1
        one = self.processes[self._next] = Process(self._next, unit, group, argv, kind)
        self._populated(group)
        return one

    def members(self, group: str) -> list[Process]:
        """Those that live."""
        return [one for one in self.processes.values() if one.group == group and one.status is None]

    def pids(self, group: str) -> list[int]:
        """Their numbers."""
        return [one.pid for one in self.members(group)]

    def main(self, unit: str) -> Process | None:
        """The process that a unit started, if it lives."""
        found = [one for one in self.members(unit) if one.kind == "main"]
        return found[-1] if found else None

    def die(self, pid: int, status: int) -> None:
        """A process ends; it is a zombie until PID 1 buries it."""
        one = self.processes[pid]
        if one.status is None:
            one.status = status
            self._let_go(one)
            self._populated(one.group)
            self.tell(_SIGCHLD)

    def _let_go(self, one: Process) -> None:
        for descriptor in (one.output, *one.descriptors):
            if descriptor >= 0:
                os.close(descriptor)
        for channel in (*one.peers, *([one.listener] if one.listener else [])):
            channel.close()
        one.output, one.descriptors, one.peers, one.listener = -1, [], [], None

    def kill(self, pid: int, number: int) -> None:
        """kill(2)."""
        one = self.processes.get(pid)
        if one is None:
            raise ProcessLookupError(errno.ESRCH, "no such process")
        if one.status is not None:
            return
        if number in one.on_signal and number != _SIGKILL:
            one.on_signal[number]()
        else:
            self.die(pid, -number)

    def waitid(self, kind: int, number: int, options: int) -> Any:
        """waitid(2)."""
        candidates = [
            one for one in self.processes.values() if kind == os.P_ALL or one.pid == number
        ]
        if not candidates:
            raise ChildProcessError(errno.ECHILD, "no child")
        for one in candidates:
            if one.status is not None:
                if not options & os.WNOWAIT:
                    del self.processes[one.pid]
                return SimpleNamespace(
                    si_pid=one.pid,
                    si_status=abs(one.status),
                    si_code=os.CLD_EXITED if one.status >= 0 else os.CLD_KILLED,
                )
        return None

    # Messages.

    def notify(self, one: Process, path: str, text: str, *descriptors: int) -> None:
        """A process says something to the notification socket."""
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with channel:
            channel.connect(path)
            data = f"X_PID={one.pid}\n{text}".encode()
            socket.send_fds(channel, [data], descriptors) if descriptors else channel.send(data)

    def received(self, message: Any) -> Any:
        """The kernel's word on who sent a notification: the process that is in it."""
        data, ancillary, flags, address = message
        head, _, rest = data.partition(b"\n")
        sender = int(head.removeprefix(b"X_PID="))
        content = struct.pack("=iII", sender, 0, 0)
        said = [
            (level, kind, content if kind == _SCM_CREDENTIALS else value)
            for level, kind, value in ancillary
        ]
        return rest, said, flags, address

    def answer(self, reply: Callable[[Process, dict[str, Any]], dict[str, Any] | None]) -> bool:
        """Services that listen answer the calls that came; ``reply`` None hangs up. False when
        there were none.
        """
        busy = False
        for one in list(self.processes.values()):
            if one.listener is None:
                continue
            try:
                channel, _ = one.listener.accept()
                lifted = socket.socket(fileno=lift(channel.detach()))
                lifted.setblocking(False)
                one.peers.append(lifted)
                busy = True
            except BlockingIOError:
                pass
            for peer in list(one.peers):
                try:
                    data = peer.recv(65536, socket.MSG_PEEK)
                    if data and not data.endswith(b"\0"):
                        continue
                    peer.recv(len(data) or 1)
                    busy = True
                    said = reply(one, json.loads(data[:-1])) if data else None
                    if said is None:
                        raise ConnectionResetError
                    peer.send(json.dumps(said).encode() + b"\0")
                except BlockingIOError:
                    pass
                except OSError:
                    peer.close()
                    one.peers.remove(peer)
                    busy = True
        return busy

    # Files.

    def place(self, path: str) -> str:
        """Where a file of the machine's is."""
        if path.startswith("/dev/watchdog"):
            raise FileNotFoundError(errno.ENOENT, "no such device", path)
        return "/dev/null" if path == "/dev/kmsg" else path

    def is_group_file(self, path: str, directory: int | None) -> bool:
        if directory is None and not path.startswith(self.root):
            return False
        name = path.rpartition("/")[2]
        return name.startswith(_GROUP_FILES)

    def open_group_file(self, path: str, directory: int | None) -> int:
        parent, _, name = path.rpartition("/")
        if directory is not None:
            parent = os.readlink(f"/proc/self/fd/{directory}")
        if not os.path.isdir(parent):
            raise FileNotFoundError(errno.ENOENT, "no such group", path)
        pressure = name == "memory.pressure"
        descriptor = (
            os.eventfd(0, os.EFD_CLOEXEC)
            if pressure
            else os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        )
        self.files[descriptor] = GroupFile(self, os.path.basename(parent), name)
        return descriptor

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(path, mode)
        if path.startswith(self.root + "/"):
            self._write_events(path, populated=False)

    def rmdir(self, path: str) -> None:
        if path.startswith(self.root + "/") and os.path.isdir(path):
            if self.members(os.path.basename(path)):
                raise OSError(errno.EBUSY, "the group has members", path)
            os.unlink(f"{path}/cgroup.events")
        os.rmdir(path)

    def _populated(self, group: str) -> None:
        if not group:
            return
        for parent in (f"{self.root}/ainos/{group}",):
            if os.path.isdir(parent):
                self._write_events(parent, populated=bool(self.members(group)))

    def _write_events(self, path: str, *, populated: bool) -> None:
        descriptor = os.open(f"{path}/cgroup.events", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        line = b"populated %d\n" % populated
        if os.pread(descriptor, 64, 0) != line:
            os.pwrite(descriptor, line, 0)
        os.close(descriptor)

    def getxattr(self, path: str, name: str) -> bytes:
        try:
            return self._attributes[path, name]
        except KeyError:
            raise OSError(errno.ENODATA, "no such attribute") from None

    def setxattr(self, path: str, name: str, value: bytes) -> None:
        self._attributes[path, name] = value

    def mount(self, target: str) -> int:
        self.mounted.add(target)
        return 0

    def unmount(self, target: str) -> int:
        if target not in self.mounted:
            ctypes.set_errno(errno.EINVAL)
            return -1
        self.mounted.discard(target)
        for name in os.listdir(target):
            os.unlink(f"{target}/{name}")
        return 0

    def proc(self, path: str, mode: str) -> Any:
        """A file of proc(5) about a child, or a group's, open; None for any other."""
        if path.startswith(self.root) and path.endswith("/cgroup.procs"):
            group = path.split("/")[-2]
            if not os.path.isdir(os.path.dirname(path)):
                raise FileNotFoundError(errno.ENOENT, "no such group", path)
            return io.StringIO("".join(f"{one.pid}\n" for one in self.members(group)))
        parts = path.split("/")
        if parts[1] != "proc" or len(parts) < 3:
            return None
        if parts[2] == "sys":
            return io.BytesIO(b"40\n") if "b" in mode else io.StringIO("40\n")
        if parts[2] == "self":
            return io.StringIO("VmHWM: 1 kB\n")
        one = self.processes.get(int(parts[2])) if parts[2].isdecimal() else None
        if one is None:
            raise FileNotFoundError(errno.ENOENT, "no such process", path)
        if parts[3] == "cgroup":
            return io.StringIO(f"0::/ainos/{one.group}\n")
        return io.BytesIO(f"{one.pid} (x) S 1 {'0 ' * 17}{one.started} 0\n".encode())


def _is_open(descriptor: int) -> bool:
    """False of what the listing itself had open."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def lift(descriptor: int) -> int:
    """The same file under a number that is not PID 1's."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FLOOR)
    os.close(descriptor)
    return high
