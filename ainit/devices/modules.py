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
from collections.abc import Callable, Iterable

MODPROBE = "/usr/sbin/modprobe"
INDEX = "/usr/lib/modules/{release}/modules.alias.bin"
BATCH = 64  # aliases on one command line
DEADLINE_S = 60.0  # the slowest driver probes of servers take tens of seconds
ALIASES_MAX = 4096  # a machine has hundreds; a device that invents names is not followed for ever
PROBLEMS_KEPT = 32


def are_there(index: str = INDEX) -> bool:
    """Whether this image has modules for the running kernel."""
    return os.path.exists(index.format(release=os.uname().release))


def load(names: Iterable[str]) -> str:
    """Load the modules of these names or aliases; what went wrong, in words, or "".

    A name that no module answers to is no problem: its driver is in the kernel, or nowhere.
    """
    command = [MODPROBE, "--use-blacklist", "--quiet", "--all", "--", *names]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"modprobe did not end in {DEADLINE_S:g} s: {' '.join(command[5:])[:200]}"
    except OSError as error:
        return f"modprobe cannot be run: {error}"
    return done.stderr.decode("utf-8", "replace").strip().replace("modprobe: ", "")


class Loader:
    """Loads modules one batch after the other, off the caller's thread: a driver that takes long to
    find its device holds up no answer. Each name is asked for once."""

    def __init__(self, load: Callable[[Iterable[str]], str], done: Callable[[], object]) -> None:
        self._load = load
        self._done = done
        self._asked: set[str] = set()
        self._queue: queue.Queue[str] = queue.Queue()
        self.problems: deque[str] = deque(maxlen=PROBLEMS_KEPT)
        self._idle = threading.Event()
        self._idle.set()
        threading.Thread(target=self._run, name="modules", daemon=True).start()

    def want(self, names: Iterable[str]) -> None:
        """Ask for modules by name or alias; returns at once."""
        for name in sorted(set(names) - self._asked):
            if len(self._asked) >= ALIASES_MAX:
                return
            self._asked.add(name)
            self._idle.clear()
            self._queue.put(name)

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything asked for was tried; False at the deadline."""
        return self._idle.wait(timeout_s)

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            if problem := self._load(batch):
                self.problems.append(problem)
                print(f"modules: {problem}", flush=True)
            if self._queue.empty():
                self._idle.set()
            self._done()
