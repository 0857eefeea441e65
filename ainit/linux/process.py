"""Processes: start one in its cgroup with what it may have, reap, tell a recycled pid from the real
one.

A child is started by one call into C that works off a list of system calls, see ``native``. Leaves
out which unit it is for.

>>> pid = spawn(Child(["/bin/true"], {}, output=2))                  # doctest: +SKIP
"""

from __future__ import annotations

import os
from struct import pack

from ..policy.kernel_names import LIMITS, SIGNALS
from . import identity, native
from .child import Child as Child  # noqa: PLC0414 - who spawns finds it here
from .native import FIRST_IS_RESULT, MAY_FAIL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .child import Operation

EXEC_FAILED = 203  # the exit status that systemd documents for a failed exec

_AT_FDCWD = -100
_HARMLESS = ("CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "WINCH")  # signal(7)
_EVERY_DESCRIPTOR = 0xFFFFFFFF
_CLOSE_RANGE_UNSHARE = 2
_SIG_SETMASK = 2
_PLACES = 32
_SIGKILL = 9
_NOT_DEADLY = (_SIGKILL, *(SIGNALS[name] for name in _HARMLESS))
_NOFILE = pack("=qq", 1024, 524288)  # soft, hard: what programs that use select(2) can live with

_places: list[int] = []


def spawn(child: Child) -> int:
    """Start a process; returns its pid. A failure in the child is written to its output, and its
    exit status is then EXEC_FAILED. Raises OSError when there is no child.

    Until it executes its program, a child of root shares PID 1's memory, and PID 1 sleeps: that is
    fast. Another user could stop it (SIGSTOP) at that very moment by the hand of a process of its
    own, and PID 1 would sleep for good; so its child has a copy of the memory instead. So has one
    in a sandbox, which takes milliseconds to make.
    """
    wanted = [child.output, *child.descriptors]
    if child.sandbox:
        wanted += child.sandbox.descriptors
    if child.user or child.sandbox or len(wanted) > len(_places):
        return _spawn(child, wanted, 0)
    try:
        return _spawn_from_places(child, wanted)
    finally:
        for place in _places[: len(wanted)]:
            os.dup2(_places[-1], place, inheritable=False)


def _spawn_from_places(child: Child, wanted: list[int]) -> int:
    for place, descriptor in zip(_places, wanted, strict=False):
        os.dup2(descriptor, place, inheritable=False)
    return _spawn(child, _places[: len(wanted)], _places[-1] + 1)


def reserve() -> None:
    """Keep low places free for what children of root are handed over. They then copy only what is
    below of a table of descriptors that may be thousands long. Raises OSError.
    """
    while len(_places) < _PLACES:
        _places.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))


def _spawn(child: Child, wanted: list[int], above: int) -> int:
    """With the descriptors ``wanted``, all below ``above`` unless that is 0."""
    job = native.Job(child.argv[0])
    if above:
        unshare = (above, _EVERY_DESCRIPTOR, _CLOSE_RANGE_UNSHARE)
        job.add(native.CLOSE_RANGE, *unshare, what="close_range")
    _hand_over(job, wanted, len(child.descriptors))
    job.add(native.SETSID, what="setsid")
    if child.oom_score is not None:
        path = job.text("/proc/self/oom_score_adj")
        job.add(native.OPENAT, _AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC, what="oom_score_adj")
        score = str(child.oom_score).encode()
        written = (0, job.data(score), len(score))
        job.add(native.WRITE, *written, what="oom_score_adj", flags=FIRST_IS_RESULT)
        job.add(native.CLOSE, 2 + len(wanted), what="oom_score_adj")  # the first free one
    if "nofile" not in child.limits:  # not PID 1's own
        number, limit = LIMITS.index("nofile"), job.data(_NOFILE)
        job.add(native.PRLIMIT, 0, number, limit, what="limit nofile", flags=MAY_FAIL)
    for name, limit in child.limits.items():
        value = pack("=qq", limit, limit)
        job.add(native.PRLIMIT, 0, LIMITS.index(name), job.data(value), what=f"limit {name}")
    if child.nice < 0:  # while the child may
        job.add(native.SETPRIORITY, 0, 0, child.nice, what="nice")
    sandbox = child.sandbox
    _add(job, sandbox.first if sandbox else ())
    identity.take(job, child)
    job.add(native.UMASK, child.umask, what="umask")
    job.add(native.CHDIR, job.text(child.directory), what="the working directory")
    listen_pid = job.data(b"LISTEN_PID=" + bytes(20))
    job.add(native.PID_TEXT, listen_pid + 11, what="LISTEN_PID")
    variables = [job.text(f"{name}={value}") for name, value in child.environment.items()]
    environment = job.longs([*variables, listen_pid, 0])
    argv = job.vector(child.argv)
    if child.nice >= 0:  # late, for PID 1 waits; it may fail where PID 1 has no priority to give up
        job.add(native.SETPRIORITY, 0, 0, child.nice, what="nice", flags=MAY_FAIL)
    job.add(native.SIGPROCMASK, _SIG_SETMASK, job.longs((0,)), 0, 8, what="signal mask")
    _add(job, sandbox.last if sandbox else ())
    job.add(native.EXECVE, job.text(child.argv[0]), argv, environment, what="execve")
    return job.spawn(
        cgroup=child.cgroup,
        cell=child.pid_cell,
        shared=not (child.user or sandbox),
        share_files=above > 0,
        namespaces=sandbox.namespaces if sandbox else 0,
    )


def _add(job: native.Job, operations: Iterable[Operation]) -> None:
    for operation in operations:
        operation.add(job)


def _hand_over(job: native.Job, wanted: list[int], inherited: int) -> None:
    """Descriptors to their places; those behind the ``inherited`` ones are closed by execve. The
    table is the child's own, so that what lies where one is put is no loss, unless it is to be
    handed over itself: that is lifted out of the way first.
    """
    wanted = [*wanted]
    end = 2 + len(wanted)
    free = (number for number in range(end, 2 * end) if number not in wanted)
    for index, descriptor in enumerate(wanted):
        if descriptor < end:
            wanted[index] = next(free)
            job.add(native.DUP3, descriptor, wanted[index], os.O_CLOEXEC, what="dup3")
    job.add(native.DUP3, wanted[0], 1, what="dup3")
    job.add(native.DUP3, wanted[0], 2, what="dup3")  # from here on, an error is in its log
    for index, descriptor in enumerate(wanted[1:]):
        flags = 0 if index < inherited else os.O_CLOEXEC
        job.add(native.DUP3, descriptor, 3 + index, flags, what="dup3")
    job.add(native.CLOSE_RANGE, end, _EVERY_DESCRIPTOR, what="close_range")
    job.add(native.CLOSE, 0, what="close", flags=MAY_FAIL)  # so that the next one gets this place
    job.add(native.OPENAT, _AT_FDCWD, job.text("/dev/null"), os.O_RDONLY, what="/dev/null")


def peek_death() -> tuple[int, int] | None:
    """One dead child, left to be buried: its pid, and its exit status or minus the signal that
    ended it. None: there is none.
    """
    return _wait(os.WEXITED | os.WNOHANG | os.WNOWAIT)


def bury(pid: int) -> None:
    """Take a dead child's pid out of the table of processes; nothing when that was done before."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        pass


def reap() -> tuple[int, int] | None:
    """Both at once: one dead child, buried."""
    return _wait(os.WEXITED | os.WNOHANG)


def _wait(options: int) -> tuple[int, int] | None:
    try:
        info = os.waitid(os.P_ALL, 0, options)
    except ChildProcessError:
        return None
    if info is None:
        return None
    status = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
    return info.si_pid, status


def prefer(nice: int) -> None:
    """Give this process a priority (setpriority(2)). Raises OSError without the privilege."""
    os.setpriority(os.PRIO_PROCESS, 0, nice)


def signal(pid: int, number: int) -> None:
    """Send a signal to a child; nothing when it is dead already. Not reaped, its pid is its own.

    The first process of a pid namespace does not get what it has no handler for
    (pid_namespaces(7)). What would have ended another one ends it, by SIGKILL.
    """
    if number not in _NOT_DEADLY and _is_deaf(pid, number):
        number = _SIGKILL
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _is_deaf(pid: int, number: int) -> bool:
    """Whether it is first in a namespace below ours, and neither handles nor ignores a signal."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file.read().splitlines())
        pids = fields[b"NSpid"].split()
        known = int(fields[b"SigCgt"], 16) | int(fields[b"SigIgn"], 16)
    except (OSError, ValueError, KeyError):
        return False
    return len(pids) > 1 and pids[-1] == b"1" and not known >> (number - 1) & 1


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
    """Start time of a process in clock ticks since boot (proc(5), stat, field 22); 0 if gone.

    Raises OSError when that is not known.
    """
    return _stat(pid, 19)


def parent(pid: int) -> int:
    """The parent of a process (proc(5), stat, field 4); 0 if it is gone. Raises OSError."""
    return _stat(pid, 1)


def _stat(pid: int, field: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[field])
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return 0


def cgroup_of(pid: int) -> str:
    """The cgroup v2 path of a process, such as ``/ainos/gpu``; empty if it is gone.

    Raises OSError when that is not known.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("0::"):
                    return line[3:].strip()
    except (FileNotFoundError, ProcessLookupError):
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
