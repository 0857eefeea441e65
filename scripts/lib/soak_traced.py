"""A sample of real system calls that fail: strace(1) injects the errors into a PID 1 in namespaces.

It is small, for each takes a second; what is complete is ``soak_syscalls``. Services sleep; one of
them is killed, restarted or looked at while one call of PID 1 fails; then each must be up, with one
process, and PID 1 must answer. Leaves out faults while PID 1 executes itself: one at a time.

    found = soak_traced.sample(200, seconds=600)
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ainit.errors import AinosError
from lib.host import HostError
from tests.pidns.machine import Machine
from tests.support.wait import wait_for

STRACE = Path("/usr/bin/strace")
SERVICES = 12
SLEEP = ["/bin/sleep", "1000000"]
LATEST_CALL = 12  # of its kind: a stimulus makes a few of each
SETTLED_SECONDS = 20.0
_WORDS = 300
_ENOUGH = 10
ERRORS = {
    "openat": ("EMFILE", "ENFILE", "ENOMEM", "EIO"),
    "read": ("EIO", "ENOMEM"),
    "write": ("ENOSPC", "EIO", "ENOMEM"),
    "pread64": ("EIO", "ENOMEM"),
    "pwrite64": ("ENOSPC", "EIO", "ENOMEM"),
    "splice": ("ENOSPC", "EIO", "ENOMEM"),
    "close": ("EIO",),
    "lseek": ("EIO",),
    "ftruncate": ("EIO", "ENOMEM"),
    "newfstatat": ("EIO", "ENOMEM"),
    "ioctl": ("ENOMEM",),
    "pipe2": ("EMFILE", "ENFILE", "ENOMEM"),
    "memfd_create": ("EMFILE", "ENFILE", "ENOMEM"),
    "mkdir": ("ENOSPC", "EIO", "ENOMEM"),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "epoll_wait": ("ENOMEM",),
    "accept4": ("EMFILE", "ENFILE", "ENOMEM", "ECONNABORTED"),
    "recvfrom": ("ECONNRESET", "ENOMEM"),
    "sendto": ("EPIPE", "ECONNRESET", "ENOMEM"),
    "getsockopt": ("ENOMEM",),
    "waitid": ("ENOMEM",),
    "kill": ("ESRCH", "EPERM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "dup2": ("EBUSY", "ENOMEM"),
}


@dataclass
class Traced:
    """What came of the samples. ``missed`` are those in which no call was left to fail."""

    injected: int = 0
    missed: int = 0
    trouble: list[str] = field(default_factory=list)


class Trace:
    """strace at PID 1 while the block runs; ``fired`` afterwards."""

    def __init__(self, machine: Machine, call: str, error: str, when: int) -> None:
        self._log = machine.directory / "trace"
        inject = f"inject={call}:error={error}:when={when}"
        self._argv = [
            str(STRACE), "-p", str(machine.init_host_pid), "-o", str(self._log),
            "-e", f"trace={call}", "-e", inject,
        ]  # fmt: skip
        self.fired = False

    def __enter__(self) -> Trace:  # noqa: PYI034 - final in effect
        self._strace = subprocess.Popen(self._argv, stderr=subprocess.PIPE, text=True)
        assert self._strace.stderr is not None
        while "attached" not in (line := self._strace.stderr.readline()):
            if not line:
                raise HostError("strace cannot attach to PID 1")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._strace.stderr is not None
        self._strace.send_signal(signal.SIGINT)
        self._strace.wait(60)
        self._strace.stderr.close()
        self.fired = "(INJECTED)" in self._log.read_text(encoding="utf-8")


class Box:
    """A machine of sleepers."""

    def __init__(self, seed: int) -> None:
        self.machine = Machine()
        self._chance = random.Random(seed)
        self._names = [f"s{number}" for number in range(SERVICES)]

    def __enter__(self) -> Box:  # noqa: PYI034 - final in effect
        again = {"first_s": 0.01, "factor": 1.0, "max_s": 0.01, "limit": 0}
        for name in self._names:
            self.machine.unit(name, command=SLEEP, backoff=again, restart="always")
        self.machine.boot()
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.destroy()

    def one(self, found: Traced) -> None:
        """One sample."""
        call = self._chance.choice(list(ERRORS))
        error = self._chance.choice(ERRORS[call])
        when = self._chance.randrange(1, LATEST_CALL)
        name = self._chance.choice(self._names)
        trace = Trace(self.machine, call, error, when)
        try:
            with trace:
                self._insist(lambda: self._stir(name))
                self._wait()
        except AssertionError as problem:
            raise AssertionError(f"{call} {error} at its call {when}: {problem}") from problem
        finally:
            found.injected += trace.fired
            found.missed += not trace.fired

    def _stir(self, name: str) -> None:
        machine = self.machine
        if self._chance.random() < 0.5:
            machine.call("Restart", name=name)
        else:
            machine.kill(machine.pid(name))
        machine.call("Logs", unit=name, lines=3)
        machine.call("Status")

    def _insist(self, act: Callable[[], None]) -> None:
        """As people would: whose connection broke asks again."""

        def done() -> bool:
            try:
                act()
            except (AinosError, AssertionError, StopIteration, OSError):
                return False
            return True

        wait_for(done, "PID 1 to answer", SETTLED_SECONDS)

    def _wait(self) -> None:
        wait_for(lambda: not self._problem(), f"all to be well: {self._problem()}", SETTLED_SECONDS)

    def _problem(self) -> str:
        """What is wrong with the machine, in words."""
        try:
            units = self.machine.call("Status")["units"]
        except (AinosError, OSError) as error:
            return f"PID 1 does not answer: {error}"
        assert isinstance(units, list)
        known = {str(unit["name"]): unit for unit in units}
        processes = self.machine.processes()
        zombies = [one.pid for one in processes if one.state == "Z"]
        sleepers = Counter(one.pid for one in processes if one.command == " ".join(SLEEP))
        wanted = Counter(known[name]["pid"] for name in self._names)
        down = [name for name in self._names if known[name]["state"] != "ready"]
        if down or zombies or sleepers != wanted:
            return f"down {down}, zombies {zombies}, {len(sleepers)} sleepers"
        return ""


def sample(count: int, seconds: float, seed: int = 1) -> Traced:
    """So many faults, or as many as the time allows."""
    if not STRACE.exists():
        raise HostError("real system calls fail by the hand of strace(1): install strace")
    found = Traced()
    until = time.monotonic() + seconds
    while found.injected < count and time.monotonic() < until:
        with Box(seed + found.injected + found.missed) as box:
            try:
                while found.injected < count and time.monotonic() < until:
                    box.one(found)
            except AssertionError as error:
                found.trouble.append(str(error)[:_WORDS])
                if len(found.trouble) >= _ENOUGH:
                    break
    return found
