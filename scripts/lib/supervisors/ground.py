"""One run of one supervisor: namespaces, the common root, and what can be seen of it from outside.

The supervisor is PID 1 of a pid namespace, with its own mounts, cgroup root, host name, IPC and
network. When the block ends, that PID 1 is killed and takes all its processes along; nothing else
is ever signalled.

    with Ground(peer, 1000, layers, service) as ground:
        ground.wait(range(1000), 60.0)
        ground.memory()
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lib.host import HostError
from lib.supervisors.peer import SERVICE, Peer, write
from lib.supervisors.records import EXEC, Records

ENTER = Path(__file__).with_name("enter.sh")
NAMESPACES = ["--pid", "--mount", "--cgroup", "--ipc", "--uts", "--net", "--fork", "--kill-child"]
GROUP = "ainos-bench"
GONE_S = 30.0
# How a service is started: by a shell script that executes it, or by itself.
SCRIPT = "script"
STATIC = "static"
TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Memory:
    """Proportional set sizes in bytes: of PID 1, and of all processes that are no service."""

    pid1: int
    all: int
    processes: int


def cgroup_root() -> Path:
    """Where this host has cgroup v2 mounted. Raises HostError."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        if words[2] == "cgroup2":
            return Path(words[1])
    raise HostError("no cgroup2 file system is mounted on this host")


def members(group: Path) -> list[int]:
    """The processes of a cgroup and of those below it."""
    found = []
    for folder, _, _ in os.walk(group):
        try:
            found += [int(word) for word in Path(folder, "cgroup.procs").read_text().split()]
        except OSError:
            continue  # it was removed while we looked
    return found


class Ground:
    """See the module. Raises HostError where something of ours was left over from before."""

    def __init__(
        self, peer: Peer, count: int, layers: Sequence[Path], service: Path, form: str = SCRIPT
    ) -> None:
        self.peer = peer
        self.pid = 0  # of PID 1, on the host
        self._layers = layers
        self._group = cgroup_root() / GROUP
        if self._group.exists() and members(self._group):
            raise HostError(f"processes are left in {self._group}: the run would not be clean")
        memory = Path("/dev/shm")
        self.scratch = Path(tempfile.mkdtemp(prefix="ainit-", dir=memory))
        for name in ("upper", "bench"):
            (self.scratch / name).mkdir()
        shutil.copy(service, self.scratch / "bench/service")
        (self.scratch / "bench/records").touch()
        start = self.scratch / "bench/start"
        if form == SCRIPT:
            write(start, '#!/bin/sh\nexec /bench/service "$@"\n', 0o755)
        else:
            start.symlink_to("service")
        peer.configure(self.scratch / "upper", count)
        self.records = Records(self.scratch / "bench/records")
        self._unshare: subprocess.Popen[bytes] | None = None
        self._killer: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._group.mkdir(exist_ok=True)
        lower = ":".join(str(path) for path in self._layers)
        inside = ["sh", str(ENTER), lower, str(self.scratch), *self.peer.program]
        # The group is joined before the cgroup namespace is made, whose root it then is.
        script = 'echo $$ >"$1/cgroup.procs" && shift && ulimit -n "$(ulimit -Hn)" && exec "$@"'
        command = ["sh", "-c", script, "sh", str(self._group)]
        with (self.scratch / "console").open("wb") as console:
            self._unshare = subprocess.Popen(
                [*command, "unshare", *NAMESPACES, *inside],
                env={"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", **self.peer.environment},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        unshare = self._unshare
        assert unshare is not None
        if self._killer is not None:
            self._killer.kill()
            self._killer.wait(GONE_S)
        first = _first_child(unshare.pid)
        if first:
            os.kill(first, signal.SIGKILL)  # takes its pid namespace along
        elif unshare.poll() is None:
            unshare.kill()
        unshare.wait(GONE_S)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self._wait_gone()
        for folder, _, _ in os.walk(self._group, topdown=False):
            Path(folder).rmdir()

    def _wait_gone(self) -> None:
        end = time.monotonic() + GONE_S
        while members(self._group):
            if time.monotonic() > end:
                raise HostError(f"{self.peer.name} left processes in {self._group}")
            time.sleep(0.02)

    def console(self) -> str:
        """The end of what the supervisor printed."""
        data = (self.scratch / "console").read_bytes()
        return data[-TAIL_BYTES:].decode("utf-8", "replace").strip()

    def find(self) -> int:
        """The host's pid of PID 1, 0 before it is executed. Raises HostError when it ended."""
        assert self._unshare is not None
        if self._unshare.poll() is not None:
            raise HostError(f"ended with status {self._unshare.returncode}: {self.console()}")
        if not self.pid and EXEC in self.records.latest:
            self.pid = _first_child(self._unshare.pid)
        return self.pid

    def wait(self, numbers: Collection[int], deadline_s: float) -> float:
        """Wait for a new start of each of these services; returns the moment of the last.

        Raises LateError, and HostError when PID 1 ends.
        """
        return self.records.wait_new(numbers, deadline_s, self.find)

    def kill(self, pids: Iterable[int]) -> float:
        """Kill services by their pids inside; returns the moment just before, CLOCK_MONOTONIC."""
        if self._killer is None:
            enter = ["nsenter", "--target", str(self.find()), "--pid", "--mount"]
            self._killer = subprocess.Popen(
                [*enter, SERVICE, "kill"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        killer = self._killer
        assert killer.stdin is not None
        assert killer.stdout is not None
        killer.stdin.write(" ".join(str(pid) for pid in pids).encode() + b"\n")
        killer.stdin.flush()
        return int(killer.stdout.readline()) / 1e9

    def supervisors(self) -> list[int]:
        """The processes that are no services: PID 1 and its helpers, as the host numbers them."""
        found = []
        for pid in members(self._group):
            try:
                program = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue  # it ended
            # The process outside that waits for the namespace is none of the supervisor's.
            if program != SERVICE and (self._unshare is None or pid != self._unshare.pid):
                found.append(pid)
        return found

    def memory(self) -> Memory:
        """What the supervisor's processes use now."""
        sizes = {pid: _pss(pid) for pid in self.supervisors()}
        return Memory(sizes.get(self.find(), 0), sum(sizes.values()), len(sizes))

    def cpu(self) -> float:
        """Seconds of processor time that the supervisor's living processes have used."""
        total = 0
        for pid in self.supervisors():
            try:
                total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
            except OSError:
                continue  # it ended
        return total / 1e9


def _first_child(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return 0
    return int((text.split() or ["0"])[0])


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it ended
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)
