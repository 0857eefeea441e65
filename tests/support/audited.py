"""Agents in audit mode in a real sandbox, with the service's part in a thread of the test.

>>> with Audited() as agent:                                         # doctest: +SKIP
...     agent.run(profile, ["/usr/bin/python3", "-I", "-c", "print(1)"])
(0, '1\n')
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ainit.audit.watch import Watch
from ainit.child import handed
from ainit.constants import LISTEN_FD
from ainit.linux import process
from ainit.linux.notified import Listener
from ainit.policy import grants, seccomp
from ainit.policy.grants import CALLS, CONNECT, EXECUTE, READ, WRITE
from ainit.policy.sandbox import Profile
from ainit.policy.usage import Usage
from ainit.sandbox import audit, endpoints, features
from ainit.sandbox.compose import compose
from ainit.sandbox.facts import Facts
from ainit.sandbox.handover import connect

USER = 61184
MACHINE = os.uname().machine


class Audited:
    """``directory`` holds what the test puts there; ``usage`` is the record."""

    def __init__(self) -> None:
        # Not in /tmp, which an agent has of its own.
        self.directory = Path(tempfile.mkdtemp(prefix="ainos-audit-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        (self.directory / "root").mkdir()
        self.usage = Usage(MACHINE)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(self.path("service"))
        self._listener.listen()
        self._troubles: list[BaseException] = []
        self.fixed = -1  # the device that nobody writes
        self.dies_at = 0  # the call at which the service dies, and another one follows it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        shutil.rmtree(self.directory)

    def path(self, name: str) -> str:
        """The path of something in the directory."""
        return f"{self.directory}/{name}"

    def paths(self, matter: str) -> list[str]:
        """What was used, below the directory."""
        prefix = f"{self.directory}/"
        return sorted(use.what.removeprefix(prefix) for use in self.usage.of(matter))

    def run(  # noqa: PLR0913 - each is one thing that an agent is given
        self,
        profile: Profile,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
        models: int = 0,
        bundle: str = "",
        sockets: Sequence[str] = (),
        audited: bool = True,
        egress: str = "",
        meanwhile: Callable[[int], None] = lambda _: None,
    ) -> tuple[int, str]:
        """Run a program: its status and what it said. ``meanwhile`` is called with its pid; the
        last ``models`` of the descriptors are models. ``egress`` is the socket of that service. Not
        ``audited`` it only has the sandbox.
        """
        free = LISTEN_FD + len(descriptors)
        channels = {endpoints.EGRESS: connect(egress)} if egress else {}
        if audited:
            channels[audit.AUDIT] = connect(self.path("service"))
        facts = Facts(
            "notes",
            USER,
            free=free,
            root=self.path("root"),
            bundle=bundle,
            files=range(free - models, free),
            program=argv[0],
            sockets=sockets,
            channels=channels,
        )
        steps = audit.operations(profile, facts) if audited else ()
        program = seccomp.program(profile.calls, MACHINE)
        reader, writer = os.pipe()
        child = process.Child(
            argv,
            environment or {},
            output=writer,
            descriptors=descriptors,
            directory=bundle or "/",
            user=USER,
            capabilities=(),
            sandbox=compose(profile, facts, features.read(), program, steps),
        )
        service = threading.Thread(target=self._serve, args=[profile])
        if audited:
            service.start()
        try:
            pid = process.spawn(child)
        finally:
            for descriptor in (writer, *channels.values()):
                os.close(descriptor)
        with open(reader, "rb") as output:
            try:
                meanwhile(pid)
            finally:
                said = output.read().decode("utf-8", "replace")
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if audited:
            service.join(30)
        assert not self._troubles, self._troubles
        return status, said

    def _serve(self, profile: Profile) -> None:
        try:
            self._watch(profile)
        except BaseException as trouble:  # noqa: BLE001 - the test tells of it
            self._troubles.append(trouble)

    def _watch(self, profile: Profile) -> None:
        self._listener.settimeout(20)
        connection = self._listener.accept()[0]
        connection.settimeout(20)
        with connection:
            message = handed.receive(connection)
        assert message is not None
        (descriptor,) = message.descriptors
        os.close(message.process)
        given = {
            READ: profile.read,
            WRITE: profile.write,
            EXECUTE: profile.execute,
            CONNECT: [grants.endpoint(*each) for each in profile.endpoints],
            CALLS: profile.calls,
        }
        self.usage.begin(grants.of(profile))
        self.usage.starts += 1
        hand = self.path("hand")
        watch = Watch(Listener(descriptor), self.usage, given, hand=hand, fixed=self.fixed)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        calls = 0
        while True:
            ((_, events),) = poll.poll(60_000)
            if events & select.POLLHUP:
                break
            calls += 1
            if calls == self.dies_at:
                listener = Listener(os.dup(descriptor))
                lost = listener.receive()
                assert lost is not None
                Path(hand).write_bytes(lost.id.to_bytes(8, "little"))
                watch = Watch(listener, self.usage, given, hand=hand, begun=True)
            else:
                watch.turn()
        watch.close()
