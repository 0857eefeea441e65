"""Short work that PID 1 has a child do for it: compile a configuration, choose the other slot.

Asynchronous, with a deadline, and a callback that is called once. A job does not outlive a fault of
PID 1: whoever takes over kills what is left of it and asks again if need be.
"""

from __future__ import annotations

import os

from ..linux import files, process
from ..policy.plan import SERVICE, Unit
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..linux.cgroup import Tree

_GROUP = Unit("jobs.ainit", SERVICE)  # a name that no unit can have
_OUTPUT_BYTES = 65536
_SIGKILL = 9


class Job:
    """One child under way."""

    __slots__ = ("deadline", "done", "late", "output")

    def __init__(self, output: int, deadline: float, done: Callable[[int, str], None]) -> None:
        self.output = output
        self.deadline = deadline
        self.done = done
        self.late = False


class Jobs:
    """Every job, in the cgroup ``jobs`` beside the services'."""

    def __init__(self, events: loop.Loop, cgroups: Tree) -> None:
        self._cgroups = cgroups
        self._jobs: dict[int, Job] = {}
        cgroups.kill(_GROUP.name)
        events.hook(self._expire)

    def run(self, argv: Sequence[str], seconds: float, done: Callable[[int, str], None]) -> None:
        """Start ``argv``; ``done(status, output)`` when it ended, or was killed after ``seconds``.

        Raises OSError when it cannot be started.
        """
        output = os.memfd_create("job", os.MFD_CLOEXEC)
        group = -1
        try:
            group = self._cgroups.prepare_unit(_GROUP)
            child = process.Child(argv, {"PATH": "/usr/bin"}, output=output, cgroup=group)
            pid = process.spawn(child)
        except BaseException:
            files.close([output])
            raise
        finally:
            files.close([group] if group >= 0 else [])
        self._jobs[pid] = Job(output, loop.now() + seconds, done)

    def exited(self, pid: int, status: int) -> bool:
        """A child died. False when it was none of these."""
        job = self._jobs.pop(pid, None)
        if job is None:
            return False
        try:
            text = os.pread(job.output, _OUTPUT_BYTES, 0).decode("utf-8", "replace").strip()
        finally:
            files.close([job.output])
        job.done(status, "it took too long" if job.late else text)
        return True

    def _expire(self, now: float) -> float:
        for pid, job in self._jobs.items():
            if now >= job.deadline and not job.late:
                job.late = True
                process.signal(pid, _SIGKILL)
        waiting = [job.deadline for job in self._jobs.values() if not job.late]
        return min(waiting, default=0.0)
