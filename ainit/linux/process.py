"""Processes: fork into a cgroup, exec, reap, and tell a recycled pid from the real one."""

from __future__ import annotations

import _signal
import fcntl
import os

from . import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXEC_FAILED = 203  # the exit status that systemd documents for a failed exec

_NO_SIGNALS: set[int] = set()
_ALL_SIGNALS = _signal.valid_signals()


class Child:
    """How to start one process. ``descriptors`` are inherited as 3, 4, … in order."""

    __slots__ = (
        "argv",
        "cgroup_procs",
        "descriptors",
        "directory",
        "environment",
        "output",
        "user",
    )

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        output: int,
        cgroup_procs: str = "",
        descriptors: Sequence[int] = (),
        directory: str = "/",
        user: int = 0,
    ) -> None:
        self.argv = list(argv)
        self.environment = dict(environment)
        self.output = output
        self.cgroup_procs = cgroup_procs
        self.descriptors = list(descriptors)
        self.directory = directory
        self.user = user


def spawn(child: Child) -> int:
    """Fork and exec; returns the pid at once. A failure in the child is written to its output, and
    its exit status is then EXEC_FAILED. Raises OSError when the fork itself fails.

    Signals are blocked over the fork: until the child has forgotten PID 1's handlers, a signal for
    it would be swallowed and, through the shared wake-up pipe, be taken for one to PID 1.
    """
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ALL_SIGNALS)
    try:
        pid = os.fork()
    except BaseException:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        raise
    if pid == 0:
        try:
            _become(child)
        except BaseException as error:  # noqa: BLE001 - a child must never return into PID 1's code
            try:
                os.write(2, f"cannot start {child.argv[0]}: {error}\n".encode())
            finally:
                os._exit(EXEC_FAILED)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return pid


def _become(child: Child) -> None:
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    # First above everything that is in the way, then down to 3, 4, …
    lifted = [_lift(descriptor, 3 + len(child.descriptors)) for descriptor in child.descriptors]
    output = _lift(child.output, 3 + len(child.descriptors))
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)  # from here on, an error is in the service's log
    if child.cgroup_procs:
        descriptor = os.open(child.cgroup_procs, os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, b"0")
        os.close(descriptor)
    for target, descriptor in enumerate(lifted, start=3):
        os.dup2(descriptor, target)
    _close_from(3 + len(lifted))
    for number in range(1, _signal.NSIG):
        if number not in (9, 19, 32, 33):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, _NO_SIGNALS)
    environment = {**child.environment, "LISTEN_PID": str(os.getpid())}
    if child.user:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        os.setgroups([])
        os.setresgid(child.user, child.user, child.user)
        os.setresuid(child.user, child.user, child.user)
    os.umask(0o022)
    os.chdir(child.directory)
    os.execve(child.argv[0], child.argv, environment)


def _lift(descriptor: int, floor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, floor)


def _close_from(first: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= first:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


def reap() -> tuple[int, int] | None:
    """One dead child: its pid and exit status, or minus the signal that ended it. None: no more."""
    try:
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if info is None:
        return None
    status = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
    return info.si_pid, status


def has_children() -> bool:
    """Whether any child is left, alive or dead."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def describe(status: int) -> str:
    """An exit status in words.

    >>> describe(3), describe(-9)
    ('exited with status 3', 'killed by signal 9')
    """
    if status == EXEC_FAILED:
        return "could not be executed"
    return f"exited with status {status}" if status >= 0 else f"killed by signal {-status}"


def start_time(pid: int) -> int:
    """Start time of a process in clock ticks since boot (proc(5), stat, field 22); 0 if gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def cgroup_of(pid: int) -> str:
    """The cgroup v2 path of a process, such as ``/ainos/gpu``; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("0::"):
                    return line[3:].strip()
    except OSError:
        pass
    return ""


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes (proc(5), VmHWM)."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0
