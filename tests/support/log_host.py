"""PID 1 as far as logs go: the real loop, pipes, rings, control socket and method, and a journal in
memory, so that it can start over as after a fault.

    with LogHost(folder) as host:
        host.start()                       # in a thread; or turn ``host.loop`` by hand
        host.do(lambda: host.logs.say("u", "starting"))
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from ainit.pid1.control import Client, Control
from ainit.pid1.gate import Gate
from ainit.pid1.journal import Forgetful, Role
from ainit.pid1.log_methods import LogMethods
from ainit.pid1.logs import Logs
from ainit.pid1.loop import READ, Loop
from ainit.pid1.relay import Relay
from ainit.wire.protocol import Call
from tests.support.wait import DEADLINE_SECONDS

T = TypeVar("T")


class Keeper(Forgetful):
    """Remembers what is kept, as the journal does."""

    def __init__(self) -> None:
        self.kept: dict[int, Role] = {}

    def keep(self, descriptor: int, role: Role) -> None:
        """Note it; a descriptor has one role, and a role one descriptor."""
        os.set_inheritable(descriptor, True)
        assert descriptor not in self.kept
        assert role not in self.kept.values()
        self.kept[descriptor] = role

    def drop(self, descriptor: int) -> None:
        """Forget it."""
        self.kept.pop(descriptor, None)

    def of(self, *prefix: str) -> dict[Role, int]:
        """What is kept for roles that begin so."""
        return {role: at for at, role in self.kept.items() if role[: len(prefix)] == prefix}


class LogHost:
    """One machine with these ``units``."""

    def __init__(self, folder: Path, units: tuple[str, ...] = ("u", "v", "w")) -> None:
        self.path = str(folder / "control")
        self.units = dict.fromkeys(units)
        self.keeper = Keeper()
        self._thread: threading.Thread | None = None
        self._wakeup, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._jobs: list[Callable[[], None]] = []
        self._build()

    def _build(self) -> None:
        self.loop = Loop()
        self.logs = Logs(self.loop, self.keeper)
        self.logs.resume({**self.keeper.of("pipe"), **self.keeper.of("ring")})
        self.methods = LogMethods(self.logs, self.units, self.loop)
        relay = Relay(self.loop, "")
        methods = {"Logs": self._logs}
        gate = Gate(self.logs.say, ())
        self.control = Control(self.loop, relay, self.path, methods, {}, self.keeper, gate)  # type: ignore[arg-type]
        self.loop.add(self._wakeup, READ, lambda _: None)

    def _logs(self, client: Client, call: Call) -> Mapping[str, object] | None:
        return self.methods.read(self.control, client, call)

    def start_over(self) -> None:
        """As after a fault: connections are gone, and whatever was not kept."""
        for client in self.control._clients.values():
            client.socket.close()
        os.close(self.control._reserve)
        self.control._listener.detach()
        self._build()

    def forget(self) -> None:
        """As after a reboot: the rings are empty."""
        for ring in self.logs._rings.values():
            self.keeper.drop(ring.descriptor)
            os.close(ring.descriptor)
        self.logs._rings.clear()

    def turn(self, count: int = 1) -> None:
        """Turn the loop, which then never waits."""
        for _ in range(count):
            os.write(self._wake, b".")
            self.loop.turn()
            os.read(self._wakeup, 4096)

    def start(self) -> None:
        """Turn the loop in a thread of its own from now on."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._running = True
        self._thread.start()

    def _run(self) -> None:
        while self._running:
            self.loop.turn()
            try:
                os.read(self._wakeup, 4096)  # before the jobs: one that comes now wakes us again
            except BlockingIOError:
                pass
            while self._jobs:
                self._jobs.pop(0)()

    def do(self, job: Callable[[], T]) -> T:
        """Have the thread do something between two turns; returns what it returned."""
        done = threading.Event()
        results: list[T] = []

        def work() -> None:
            results.append(job())
            done.set()

        self._jobs.append(work)
        os.write(self._wake, b".")
        assert done.wait(DEADLINE_SECONDS)
        return results[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._running = False
            os.write(self._wake, b".")
            self._thread.join(DEADLINE_SECONDS)
        for client in self.control._clients.values():
            client.socket.close()
        self.control._listener.close()
        os.close(self.control._reserve)
        for descriptor in (*self.keeper.kept, self._wakeup, self._wake):
            try:
                os.close(descriptor)
            except OSError:
                pass  # the listener, which is kept too
