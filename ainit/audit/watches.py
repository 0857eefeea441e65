"""All agents that are in audit mode now: from a listener that was handed over to its end.

Each listener is also kept by PID 1 (``FDSTORE=1``), with a name that leads to a note of whose it
is: when this service dies, its agents wait at their next call that is told of, and the service that
follows takes them up. Were it kept by nobody, each of these calls would fail with ENOSYS. What is
new to a record is noted at once for that one. To the state partition it is written every minute, a
start with what was used in it: after a power cut none is counted of which something is missing.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..child import handed
from ..child.notify import forget, store
from ..constants import AUDITED
from ..errors import AinosError
from ..linux import files
from ..linux.notified import Listener
from ..policy.grants import CALLS, CONNECT, EXECUTE, READ, WRITE
from ..policy.usage import Usage, Use
from ..wire.codec import dumps, loads
from .files import Files
from .watch import Watch

_FLUSH_SECONDS = 60.0

Grants = list[tuple[str, str]]


@dataclass(slots=True)
class Told:
    """What PID 1 says of a process whose calls are told of."""

    agent: str
    is_probe: bool
    has_gpu: bool
    grants: Grants

    @classmethod
    def read(cls, data: bytes) -> Told:
        """Raises ValueError for what PID 1 would not say."""
        try:
            record = loads(data)
            assert isinstance(record, dict)
            grants = [(str(matter), str(what)) for matter, what in record["grants"]]
            return cls(str(record["agent"]), bool(record["probe"]), bool(record["gpu"]), grants)
        except (AssertionError, KeyError, TypeError) as error:
            raise ValueError(f"no record of a listener: {error!r}") from error

    def of(self, matter: str) -> list[str]:
        """What it is granted of a matter."""
        return [what for one, what in self.grants if one == matter]


class Watches:
    """``observe`` and ``forget`` are the service's loop, to be set before anything is watched.
    ``fixed``: see ``View``.
    """

    def __init__(
        self, kept: Files, *, machine: str, directory: str = AUDITED, fixed: int = -1
    ) -> None:
        self.observe: Callable[[int, Callable[[], None]], None] = lambda *_: None
        self.forget: Callable[[int], None] = lambda _: None
        self._files = kept
        self._machine = machine
        self._directory = Path(directory)
        self._fixed = fixed
        self._usages: dict[str, Usage] = {}
        self._running: dict[str, tuple[str, Watch, float, bool]] = {}  # see _watch
        self._following = 1
        self._flush_at = time.monotonic() + _FLUSH_SECONDS
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def agents(self) -> set[str]:
        """Those that are watched now."""
        return {name for name, _, _, _ in self._running.values()}

    def usage(self, name: str) -> Usage:
        """The record of an agent as it is now. Raises OSError, ValueError."""
        self._count(time.monotonic())
        known = self._usages.get(name)
        return known or self._files.usage(name) or Usage(self._machine)

    def begin_anew(self, name: str) -> None:
        """Forget what is recorded of an agent. Raises OSError."""
        if name in self._usages:
            self._usages[name].clear()
            self._write(name)
        else:
            self._files.remove(name)

    def accept(self, listener: socket.socket) -> None:
        """Somebody connects: PID 1, for a process that is about to be an agent."""
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            if not handed.is_of_superuser(connection):
                raise OSError("not PID 1")
            connection.setblocking(False)
        except OSError:
            connection.close()
            return
        self.observe(connection.fileno(), lambda: self._hear(connection))

    def _hear(self, connection: socket.socket) -> None:
        try:
            message = handed.receive(connection)
        except BlockingIOError:
            return
        except (AinosError, OSError) as error:
            print(f"nothing was handed over: {error}", file=sys.stderr, flush=True)
            message = None
        self.forget(connection.fileno())
        connection.close()
        if message is not None:
            os.close(message.process)
            self._take(message)

    def _take(self, message: handed.HandedOver) -> None:
        """Begin to watch. What cannot be is left: its process then fails at its first such call."""
        try:
            told = Told.read(message.record)
            (descriptor,) = message.descriptors
            usage = self._usages.get(told.agent) or self._files.usage(told.agent)
            usage = self._usages[told.agent] = usage or Usage(self._machine)
        except (OSError, ValueError) as error:
            print(f"what was handed over is not watched: {error}", file=sys.stderr, flush=True)
            for number in message.descriptors:
                os.close(number)
            return
        label = f"{told.agent}.{self._following}"
        self._following += 1
        self._replace(f"{label}.json", message.record)
        store(label, [descriptor])
        usage.begin(told.grants)
        usage.starts += not told.is_probe
        self._replace(f"{told.agent}.begun", dumps(usage.to_record()).encode("ascii"))
        self._watch(label, told, descriptor)

    def resume(self, label: str, descriptor: int) -> None:
        """Go on with what an earlier service watched, and PID 1 kept."""
        try:
            told = Told.read((self._directory / f"{label}.json").read_bytes())
            if told.agent not in self._usages:
                self._usages[told.agent] = self._as_it_was(told.agent)
        except (OSError, ValueError) as error:
            print(f"{label} is not watched any more: {error}", file=sys.stderr, flush=True)
            forget(label)
            os.close(descriptor)
            return
        number = label.rpartition(".")[2]
        self._following = max(self._following, int(number) + 1 if number.isdigit() else 1)
        self._watch(label, told, descriptor, begun=True)

    def _watch(self, label: str, told: Told, descriptor: int, *, begun: bool = False) -> None:
        watch = Watch(
            Listener(descriptor),
            self._usages[told.agent],
            {matter: told.of(matter) for matter in (READ, WRITE, EXECUTE, CONNECT, CALLS)},
            new=lambda use: self._note(told.agent, use),
            has_gpu=told.has_gpu,
            hand=str(self._directory / label),
            begun=begun,
            fixed=self._fixed,
        )
        self._running[label] = told.agent, watch, time.monotonic(), told.is_probe
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)

        def turn() -> None:
            """Its listener is readable, or nobody makes calls any more."""
            for _, events in poll.poll(0):
                if events & select.POLLIN:
                    watch.turn()
                else:
                    self._end(label, descriptor)

        self.observe(descriptor, turn)

    def _end(self, label: str, descriptor: int) -> None:
        self._count(time.monotonic())
        self.forget(descriptor)
        name, watch, _, _ = self._running.pop(label)
        watch.close()
        forget(label)
        for path in (self._directory / label, self._directory / f"{label}.json"):
            path.unlink(missing_ok=True)
        self._write(name)
        if name not in self.agents():
            del self._usages[name]

    def tick(self) -> float:
        """Write down what is new, now and then; returns the seconds until then."""
        now = time.monotonic()
        if now >= self._flush_at:
            self.flush()
            self._flush_at = now + _FLUSH_SECONDS
        return self._flush_at - now

    def flush(self) -> None:
        """Write down what is known."""
        self._count(time.monotonic())
        for name in self._usages:
            self._write(name)

    def _count(self, now: float) -> None:
        """Add up the time that agents were watched, until now."""
        for label, (name, watch, since, is_probe) in self._running.items():
            if not is_probe:
                self._usages[name].seconds += now - since
            self._running[label] = name, watch, now, is_probe

    def _note(self, name: str, use: Use | None) -> None:
        """A use that is in no file so far: the next service knows of it, should this one die."""
        if use is not None:
            with open(self._directory / f"{name}.new", "ab", buffering=0) as file:
                file.write(dumps(use.to_record()).encode("ascii") + b"\n")

    def _as_it_was(self, name: str) -> Usage:
        """The record as the service that died had it."""
        begun, new = (self._directory / f"{name}.{end}" for end in ("begun", "new"))
        usage = Usage.from_record(loads(begun.read_bytes())) if begun.exists() else None
        usage = usage or self._files.usage(name) or Usage(self._machine)
        for line in new.read_bytes().splitlines() if new.exists() else ():
            usage.keep(Use.from_record(loads(line)))
        return usage

    def _replace(self, name: str, data: bytes) -> None:
        files.replace(str(self._directory / name), data, 0o600)

    def _write(self, name: str) -> None:
        try:
            self._files.keep(name, self._usages[name])
            for end in ("begun", "new"):
                (self._directory / f"{name}.{end}").unlink(missing_ok=True)
        except OSError as error:  # the state partition is full, perhaps: later, then
            print(f"{name}: its record is not kept: {error}", file=sys.stderr, flush=True)


def names(environment: Mapping[str, str]) -> list[str]:
    """The names of the descriptors that PID 1 handed over (sd_listen_fds(3))."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    return environment.get("LISTEN_FDNAMES", "").split(":")
