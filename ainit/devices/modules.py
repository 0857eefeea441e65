"""Kernel modules for the hardware there is: kmod's modprobe, asked with what devices say of
themselves (``MODALIAS``). The kernel starts no program, so nobody else loads a module.

An image without modules, whose drivers are all in the kernel, has no index, and nothing is run.

>>> loader = Loader(load)                                       # doctest: +SKIP
>>> loader.want(kernel.aliases()); loader.settle(30)            # doctest: +SKIP
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

MODPROBE = "/usr/sbin/modprobe"
INDEX = "/usr/lib/modules/{release}/modules.alias.bin"
BATCH = 64  # aliases on one command line
DEADLINE_S = 60.0  # the slowest driver probes of servers take tens of seconds
KILL_DEADLINE_S = 1.0  # what is held in a probe does not die
ALIASES_MAX = 4096  # a machine has hundreds; a device that invents names is not followed for ever
PROBLEMS_KEPT = 32
FULL = f"more than {ALIASES_MAX} names were asked for: the others are not tried"


def are_there(index: str = INDEX) -> bool:
    """Whether this image has modules for the running kernel."""
    return os.path.exists(index.format(release=os.uname().release))


def load(names: Iterable[str]) -> str:
    """Load the modules of these names or aliases; what went wrong, in words, or "".

    A name that no module answers to is no problem: its driver is in the kernel, or nowhere. Raises
    TimeoutError, with the names: what came after the slow one was not tried.
    """
    command = [MODPROBE, "--use-blacklist", "--quiet", "--all", "--", *names]
    with open(os.memfd_create("modprobe"), "w+b") as said:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
            )
        except OSError as error:
            return f"modprobe cannot be run: {error}"
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(KILL_DEADLINE_S)
            late = " ".join(command[5:])[:200]
            raise TimeoutError(f"modprobe did not end in {DEADLINE_S:g} s: {late}") from error
        said.seek(0)
        return said.read().decode("utf-8", "replace").strip().replace("modprobe: ", "")


class Loader:
    """Loads modules one batch after the other, off the caller's thread: a driver that takes long to
    find its device holds up no answer. Each name is asked for once."""

    def __init__(self, load: Callable[[Iterable[str]], str], done: Callable[[], object]) -> None:
        self._load = load
        self._done = done
        self._asked: set[str] = set()
        self._queue: queue.Queue[str] = queue.Queue()
        self.problems: deque[str] = deque(maxlen=PROBLEMS_KEPT)
        threading.Thread(target=self._run, name="modules", daemon=True).start()

    def want(self, names: Iterable[str]) -> None:
        """Ask for modules by name or alias; returns at once."""
        for name in sorted(set(names) - self._asked):
            if len(self._asked) >= ALIASES_MAX:
                if FULL not in self.problems:
                    self.problems.append(FULL)
                return
            self._asked.add(name)
            self._queue.put(name)

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything asked for was tried; False at the deadline."""
        tasks = self._queue
        with tasks.all_tasks_done:
            return tasks.all_tasks_done.wait_for(lambda: not tasks.unfinished_tasks, timeout_s)

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            for problem in self._try(batch):
                self.problems.append(problem)
                print(f"modules: {problem}", flush=True)
            self._done()
            for _ in batch:
                self._queue.task_done()

    def _try(self, batch: Sequence[str]) -> list[str]:
        """Load a batch, one by one when one of it is too slow; each line of what went wrong."""
        try:
            return self._load(batch).splitlines()
        except TimeoutError as error:
            if len(batch) == 1:
                return [str(error)]
            return [problem for name in batch for problem in self._try([name])]
