"""Agents whose sandbox is learned from a day of use, and the one that somebody wrote by hand.

A day is replayed at once: of a shipped agent a call every five minutes, of one that keeps notes in
git what it does in a day.

>>> with Audited() as agent:                                         # doctest: +SKIP
...     found = Shipped(agent, "speech").learn()
...     found.ratio, found.denied
(1.0, 0)
"""

from __future__ import annotations

import base64
import os
import select
import shutil
import signal
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from ainit.child.client import Client
from ainit.policy import grants, sandbox, shadow
from ainit.policy.learn import propose
from ainit.policy.sandbox import Profile
from ainit.policy.usage import Usage
from tests.support import models
from tests.support.audited import MACHINE, USER, Audited
from tests.support.service import REPOSITORY

Table = Mapping[str, object]

AGENTS = REPOSITORY / "rootfs-overlay/usr/lib/ainos/agents"
PACKAGES = os.path.dirname(os.path.dirname(onnxruntime.__file__))
CALLS_OF_A_DAY = 24 * 12
START = """
import runpy, sys
sys.path += sys.argv[1:]
runpy.run_path(".", run_name="__main__")
"""
# What a careless manifest would give.
WIDE: dict[str, object] = {
    "read": ["/srv", "/opt", "/var/log"],
    "execute": ["/usr/bin", "/usr/sbin"],
    "network": "loopback",
    "system_calls": list(sandbox.CLASSES),
}
REQUESTS: dict[str, Callable[[int], tuple[str, Mapping[str, object]]]] = {
    "filetype": lambda minute: (
        "org.ainos.agent.FileType.Identify",
        {"content": base64.b64encode(b"#!/bin/sh\necho %d\n" % minute * (minute % 50)).decode()},
    ),
    "speech": lambda minute: (
        "org.ainos.agent.Speech.Detect",
        {"audio": base64.b64encode(bytes(3200 + 320 * (minute % 10))).decode()},
    ),
}


@dataclass(frozen=True, slots=True)
class Learned:
    """``things`` are what each sandbox allows; ``denied`` counts what of the day the learned one
    would deny, and replies that were others under it; ``beyond`` is what it allows and the one
    that was written by hand does not.
    """

    wide: int
    by_hand: int
    things: int
    denied: int
    beyond: list[str]

    @property
    def ratio(self) -> float:
        """Of what the learned sandbox allows to what the other does; 1 when neither does."""
        return (self.things or 1) / (self.by_hand or 1)


class Watched:
    """An agent with the sandbox that a careless manifest gives, and the one written by hand."""

    wide: Table
    by_hand: Table

    def __init__(self, agent: Audited) -> None:
        self.agent = agent

    def profile(self, table: Table) -> Profile:
        """What it may by a table of its manifest."""
        return Profile(table)

    def day(self, table: Table) -> list[Any]:
        """A day of use: its replies."""
        raise NotImplementedError

    def learn(self) -> Learned:
        """Record a day, learn a sandbox of it, and replay the day in that."""
        self.agent.usage = Usage(MACHINE)
        replies = self.day(self.wide)
        recorded = self.agent.usage
        found = propose(self.profile(self.wide), recorded)
        learned, by_hand = self.profile(found.table), self.profile(self.by_hand)
        denied = [*found.denied, *shadow.denials(learned, recorded)]
        self.agent.usage = Usage(MACHINE)
        again = self.day(found.table)
        assert len(again) == len(replies), "it did another day's work"
        other = sum(one != two for one, two in zip(replies, again, strict=True))
        assert not propose(learned, self.agent.usage).is_tighter, "there was more to learn"
        return Learned(
            items(self.wide),
            items(self.by_hand),
            items(found.table),
            len(denied) + other,
            [str(each) for each in grants.beyond(learned, by_hand)],
        )


def items(table: Table) -> int:
    """How many things a sandbox allows."""
    return len(grants.of(Profile(table)))


class Shipped(Watched):
    """A shipped agent with its model, and a socket for its callers. By hand its sandbox is nothing,
    as its manifest says, and of the host what is the root's on a machine.
    """

    def __init__(self, agent: Audited, name: str) -> None:
        super().__init__(agent)
        self.name = name
        self.bundle = agent.directory / "bundle"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(AGENTS / name, self.bundle, ignore=ignored)
        if name == "filetype":
            (self.bundle / "data").mkdir()
            for each in (models.MAGIKA_CONFIG, models.MAGIKA_KNOWLEDGE):
                models.extract(each, self.bundle / "data")
        self.packages = [PACKAGES, agent.path("packages")]
        shutil.copytree(REPOSITORY / "ainit", f"{self.packages[1]}/ainit", ignore=ignored)
        model = {"filetype": models.MAGIKA, "speech": models.SILERO}[name]
        self.model = models.extract(model, agent.directory)
        with open(AGENTS / name / "manifest.toml", "rb") as file:
            self.by_hand = {**tomllib.load(file)["sandbox"], "read": self.packages}
        self.wide = {**WIDE, "read": ["/srv", "/opt", "/var/log", *self.packages]}

    def profile(self, table: Table) -> Profile:
        """With the GPU that its manifest asks for."""
        return Profile(table, has_gpu=True)

    def day(self, table: Table) -> list[Any]:
        """Its answers, less what they took."""
        found: list[Any] = []
        called = socket.socket(socket.AF_UNIX)
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        paths = [self.agent.path(name) for name in ("called", "told")]
        with called, told:
            for channel, path in zip((called, told), paths, strict=True):
                Path(path).unlink(missing_ok=True)
                channel.bind(path)
                os.chmod(path, 0o666)
            called.listen()
            model = os.open(self.model, os.O_RDONLY | os.O_CLOEXEC)

            def use(pid: int) -> None:
                ended = os.pidfd_open(pid)
                try:
                    while ended not in (
                        news := select.select([told.fileno(), ended], [], [], 60)[0]
                    ):
                        assert news, "it became neither ready nor did it end"
                        if b"READY=1" in told.recv(4096).splitlines():
                            break
                    else:
                        return
                    with Client(paths[0], timeout=60) as client:
                        for minute in range(CALLS_OF_A_DAY):
                            answer = client.call(*REQUESTS[self.name](minute))
                            found.append({**answer, "latency_ms": 0})
                finally:
                    os.close(ended)
                    os.kill(pid, signal.SIGKILL)

            variable = {"filetype": "MAGIKA", "speech": "SILERO_VAD"}[self.name]
            status, said = self.agent.run(
                self.profile(table),
                ["/usr/bin/python3", "-I", "-c", START, *self.packages],
                environment={
                    "LISTEN_FDS": "1",
                    "NOTIFY_SOCKET": paths[1],
                    f"AINOS_MODEL_{variable}": "/proc/self/fd/4",
                    "OMP_NUM_THREADS": "1",
                },
                descriptors=[called.fileno(), model],
                models=1,
                bundle=str(self.bundle),
                sockets=[paths[1]],
                meanwhile=use,
            )
            os.close(model)
        assert status == -signal.SIGKILL, said
        return found


class Notes(Watched):
    """One that keeps notes in git."""

    def __init__(self, agent: Audited) -> None:
        super().__init__(agent)
        self.notes = agent.path("notes")
        for name in ("notes", "drafts"):
            (agent.directory / name).mkdir()
            os.chown(agent.directory / name, USER, USER)
        self.wide = {
            "read": ["/srv", "/opt"],
            "write": [self.notes, agent.path("drafts")],
            "execute": ["/usr/bin/git", "/usr/lib/git-core", "/usr/bin/make", "/usr/sbin"],
            "network": "loopback",
            "system_calls": list(sandbox.CLASSES),
        }
        self.by_hand = {
            "write": [self.notes],
            "execute": ["/usr/bin/git", "/usr/lib/git-core"],
            "system_calls": ["processes"],
        }

    def day(self, table: Table) -> list[Any]:
        """What git says, with notes that begin anew."""
        shutil.rmtree(f"{self.notes}/.git", ignore_errors=True)
        found = []
        named = ["-c", "user.name=notes", "-c", "user.email=notes@localhost"]
        for command in (
            ["init", "--quiet"],
            [*named, "commit", "--quiet", "--allow-empty", "--message=one"],
            ["gc", "--quiet"],
            ["log", "--format=%s"],
        ):
            argv = ["/usr/bin/git", "-C", self.notes, *command]
            found.append(self.agent.run(Profile(table), argv, environment={"HOME": "/tmp"}))
        return found


AGENT_NAMES = (*sorted(REQUESTS), "notes")


def watched(agent: Audited, name: str) -> Watched:
    """The agent of this name."""
    return Notes(agent) if name == "notes" else Shipped(agent, name)
