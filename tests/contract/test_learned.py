"""What is learned of the shipped agents, and of one that keeps notes, beside the sandbox that
somebody wrote by hand: as many things, and the same replies afterwards.

Each runs with far too wide a sandbox first. A day of use is replayed: a call every five minutes.
"""

from __future__ import annotations

import base64
import os
import select
import shutil
import signal
import socket
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from ainit.child.client import Client
from ainit.policy import grants, sandbox, shadow
from ainit.policy.learn import propose
from ainit.policy.sandbox import Profile
from ainit.policy.usage import Usage
from tests.support import models
from tests.support.audited import MACHINE, USER, Audited
from tests.support.service import REPOSITORY

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


@pytest.fixture
def agent() -> Iterator[Audited]:
    with Audited() as made:
        yield made


def items(table: Mapping[str, object]) -> int:
    """How many things a sandbox allows."""
    return len(grants.of(Profile(table)))


class Shipped:
    """A shipped agent with its model, and a socket for its callers."""

    def __init__(self, agent: Audited, name: str) -> None:
        self.agent = agent
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

    def profile(self, table: Mapping[str, object]) -> Profile:
        """With the GPU that its manifest asks for."""
        return Profile(table, has_gpu=True)

    def day(self, table: Mapping[str, object], minutes: int) -> list[Any]:
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
                        for minute in range(minutes):
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


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_a_shipped_agent(agent: Audited, name: str) -> None:
    """By hand it is nothing, as its manifest says, and of the host what is the root's there."""
    shipped = Shipped(agent, name)
    with open(AGENTS / name / "manifest.toml", "rb") as file:
        by_hand = {**tomllib.load(file)["sandbox"], "read": shipped.packages}
    wide = {**WIDE, "read": ["/srv", "/opt", "/var/log", *shipped.packages]}
    answers = shipped.day(wide, CALLS_OF_A_DAY)
    assert len(answers) == CALLS_OF_A_DAY
    found = propose(shipped.profile(wide), agent.usage)
    assert not found.denied
    assert items(wide) == 15
    assert items(found.table) <= 1.1 * items(by_hand)
    assert not grants.beyond(shipped.profile(found.table), shipped.profile(by_hand)), (
        "and no other ones"
    )
    recorded, agent.usage = agent.usage, Usage(MACHINE)
    assert shadow.denials(shipped.profile(found.table), recorded) == []
    assert shipped.day(found.table, 60) == answers[:60]
    assert not propose(shipped.profile(found.table), agent.usage).is_tighter


def test_one_that_keeps_notes_in_git(agent: Audited) -> None:
    notes = agent.directory / "notes"
    for name in ("notes", "drafts"):
        (agent.directory / name).mkdir()
        os.chown(agent.directory / name, USER, USER)
    wide = {
        "read": ["/srv", "/opt"],
        "write": [str(notes), agent.path("drafts")],
        "execute": ["/usr/bin/git", "/usr/lib/git-core", "/usr/bin/make", "/usr/sbin"],
        "network": "loopback",
        "system_calls": list(sandbox.CLASSES),
    }
    by_hand = {
        "write": [str(notes)],
        "execute": ["/usr/bin/git", "/usr/lib/git-core"],
        "system_calls": ["processes"],
    }
    named = ["-c", "user.name=notes", "-c", "user.email=notes@localhost"]

    def day(table: Mapping[str, object]) -> str:
        said = ""
        for command in (
            ["init", "--quiet"],
            [*named, "commit", "--quiet", "--allow-empty", "--message=one"],
            ["gc", "--quiet"],
            ["log", "--format=%s"],
        ):
            argv = ["/usr/bin/git", "-C", str(notes), *command]
            status, said = agent.run(Profile(table), argv, environment={"HOME": "/tmp"})
            assert status == 0, said
        return said

    assert day(wide) == "one\n"
    found = propose(Profile(wide), agent.usage)
    assert not found.denied
    assert items(found.table) <= 1.1 * items(by_hand)
    assert not grants.beyond(Profile(found.table), Profile(by_hand)), "and no other ones"
    agent.usage = Usage(MACHINE)
    assert day(found.table) == "one\none\n"
