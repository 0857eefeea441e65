"""Forks that try mutants, a few at a time, and what each may take of the machine.

Leaves out what a trial is: see ``mutant_trials``.

pool = Pool(jobs, judge); pool.add(module, mutant, trial, seconds); pool.drain()
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable

from lib.mutants import Mutant

WALL_FACTOR = 10  # of processor time: the machine may be busy
MEMORY_BYTES = 4 << 30
KILLED, SURVIVED = "killed", "survived"
UNTRIED = "untried"  # this way it cannot be
_STATUS = {SURVIVED: 0, KILLED: 1, UNTRIED: 2}


class Pool:
    """Forks, a few at a time; what each found out is told to ``judge``."""

    def __init__(self, jobs: int, judge: Callable[[str, Mutant, str], None]) -> None:
        self._jobs = jobs
        self._judge = judge
        self._running: dict[int, tuple[str, Mutant, float]] = {}

    def add(self, module: str, mutant: Mutant, trial: Callable[[], str], limit: int) -> None:
        """Try it in a fork, with a limit in seconds of processor time."""
        while len(self._running) >= self._jobs:
            self._wait()
        pid = os.fork()
        if not pid:
            os._exit(_tried(trial, limit))
        self._running[pid] = (module, mutant, time.monotonic() + WALL_FACTOR * limit)

    def drain(self) -> None:
        """Wait for all."""
        while self._running:
            self._wait()

    def _wait(self) -> None:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in self._running:
                module, mutant, _ = self._running.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                verdicts = [one for one, of_it in _STATUS.items() if of_it == code]
                self._judge(module, mutant, verdicts[0] if verdicts else KILLED)
                return
            for late, (_, _, deadline) in self._running.items():
                if time.monotonic() > deadline:
                    os.kill(late, signal.SIGKILL)
            time.sleep(0.005)


def bound(seconds: int) -> None:
    """Let this process end unless it is asked for more time before these seconds are over."""
    limit = int(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    signal.alarm(WALL_FACTOR * seconds)


def _tried(trial: Callable[[], str], limit: int) -> int:
    """The exit status of a fork. Whatever goes wrong is the mutant's fault."""
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    bound(limit)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return _STATUS[trial()]
    except BaseException:  # noqa: BLE001 - of a fork, whose parent goes on
        return _STATUS[KILLED]
