"""Agents with their models, started as PID 1 starts them, in the sandbox or without it.

Their Python packages are this host's, which an agent may read besides what its manifest lists. The
time until READY begins where PID 1 begins to make the sandbox.

    with shipped("filetype") as stand, stand.start(sandboxed=True) as agent:
        agent.ready_s, agent.call(*REQUESTS["filetype"][0])
"""

from __future__ import annotations

import base64
import compileall
import os
import select
import shutil
import signal
import socket
import sysconfig
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ainit.child.client import Client
from ainit.linux import process
from ainit.policy import config, sandbox, seccomp
from ainit.sandbox import features
from ainit.sandbox.compose import compose
from ainit.sandbox.facts import Facts
from lib import models
from lib.host import REPOSITORY, HostError
from tests.support import models as packages
from tests.support.probed import USER

PYTHON = "/usr/bin/python3"
AGENTS = REPOSITORY / "rootfs-overlay/usr/lib/ainos/agents"
MODELS = {
    "filetype": ("AINOS_MODEL_MAGIKA", packages.MAGIKA),
    "speech": ("AINOS_MODEL_SILERO_VAD", packages.SILERO),
}
DEADLINE_S = 60.0
UNTRUE = "latency_ms"  # of an answer: how long it took is another one each time
Request = tuple[str, Mapping[str, object]]  # method and parameters
_START = """
import runpy, sys
sys.path += {paths!r}
runpy.run_path(".", run_name="__main__")
"""


def _sound() -> bytes:
    with wave.open(str(REPOSITORY / "tests/data/speech.wav")) as file:
        return bytes(file.readframes(file.getnframes()))


def _requests() -> dict[str, list[Request]]:
    texts = ["Makefile", "pyproject.toml", "README.md", "scripts/lint", "ainit/linux/native.c"]
    contents = [(REPOSITORY / name).read_bytes() for name in (*texts, "tests/data/speech.wav")]
    contents += [Path(PYTHON).read_bytes()[: 1 << 20], b"", b"1234567", bytes(20_000)]
    sound = _sound()
    sounds = [sound, b"", bytes(64_000), sound[: len(sound) // 4 * 2], sound * 6]

    def asked(method: str, name: str, values: Sequence[bytes]) -> list[Request]:
        return [(method, {name: base64.b64encode(each).decode()}) for each in values]

    return {
        "filetype": asked("org.ainos.agent.FileType.Identify", "content", contents),
        "speech": asked("org.ainos.agent.Speech.Detect", "audio", sounds),
    }


REQUESTS = _requests()


class Agent:
    """One that runs. ``ready_s`` is how long that took; its answers are those of its interface."""

    def __init__(self, pid: int, path: str, ready_s: float) -> None:
        self.ready_s = ready_s
        self._pid = pid
        self._client = Client(path, DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        """The reply. Raises AinosError."""
        return self._client.call(method, dict(parameters))


class Stand:
    """One agent, laid out for being started many times: its directory and its model. ``data`` names
    what of the image's packages becomes part of it.
    """

    def __init__(self, source: Path, variable: str, model: Path, data: str = "") -> None:
        name = self._name = source.name
        self._folder = Path(tempfile.mkdtemp(prefix="ainos-agent-"))
        self._folder.chmod(0o755)
        (self._folder / "root").mkdir()
        self._bundle = self._folder / "bundle"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, self._bundle, ignore=ignored)
        models.agent_data(data, self._bundle)
        compileall.compile_dir(self._bundle, quiet=2)
        self._variable = variable
        self._model = os.open(model, os.O_RDONLY | os.O_CLOEXEC)
        manifest = self._bundle / "manifest.toml"
        unit, findings = config.agent(manifest.read_text(), str(manifest), name, "")
        if findings:
            raise HostError("; ".join(map(str, findings)))
        site = os.path.realpath(sysconfig.get_path("purelib"))
        package = self._folder / "packages"
        shutil.copytree(REPOSITORY / "ainit", package / "ainit", ignore=ignored)
        compileall.compile_dir(package, quiet=2)
        self._code = _START.format(paths=[site, str(package)])
        record = {**unit.sandbox, "read": [site, str(package)]}
        self._profile = sandbox.Profile(record)
        self._environment: Mapping[str, str] = unit.environment
        self._features = features.read()
        self._program = seccomp.program(self._profile.calls, os.uname().machine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._model)
        shutil.rmtree(self._folder)

    def start(self, *, sandboxed: bool) -> Agent:
        """Start it and wait until it says READY. Raises HostError."""
        place = Path(tempfile.mkdtemp(dir=self._folder))
        place.chmod(0o755)
        path, notify, log = (place / name for name in ("socket", "notify", "log"))
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
            log.open("wb") as output,
        ):
            listener.bind(str(path))
            listener.listen()
            told.bind(str(notify))
            notify.chmod(0o666)
            began = time.perf_counter()
            pid = process.spawn(
                self._child([listener.fileno(), self._model], notify, output.fileno(), sandboxed)
            )
            try:
                _wait_ready(told, pid, log)
                return Agent(pid, str(path), time.perf_counter() - began)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise

    def _child(
        self, descriptors: Sequence[int], notify: Path, output: int, sandboxed: bool
    ) -> process.Child:
        child = process.Child(
            [PYTHON, "-I", "-c", self._code],
            {
                **self._environment,
                "LISTEN_FDS": "1",
                "NOTIFY_SOCKET": str(notify),
                self._variable: "/proc/self/fd/4",
            },
            output=output,
            descriptors=descriptors,
            directory=str(self._bundle),
            user=USER,
            capabilities=(),
        )
        if sandboxed:
            facts = Facts(
                self._name,
                USER,
                free=5,
                root=str(self._folder / "root"),
                bundle=str(self._bundle),
                files=[4],
                program=PYTHON,
                sockets=[str(notify)],
            )
            child.sandbox = compose(self._profile, facts, self._features, self._program)
        return child


@contextmanager
def shipped(name: str) -> Iterator[Stand]:
    """An agent of the image, with its model."""
    variable, model = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = packages.extract(model, Path(folder))
        with Stand(AGENTS / name, variable, file, name) as stand:
            yield stand


def _wait_ready(told: socket.socket, pid: int, log: Path) -> None:
    ended = os.pidfd_open(pid)
    try:
        while True:
            news = told.fileno()
            found, _, _ = select.select([news, ended], [], [], DEADLINE_S)
            if news not in found:
                said = log.read_text(errors="replace")[-1000:]
                raise HostError(f"it never became ready: {said}")
            if b"READY=1" in told.recv(4096).splitlines():
                return
    finally:
        os.close(ended)


def disagreements(name: str) -> list[str]:
    """Requests that an agent answers otherwise in its sandbox than without it."""
    wrong = []
    with (
        shipped(name) as stand,
        stand.start(sandboxed=False) as free,
        stand.start(sandboxed=True) as locked,
    ):
        for number, request in enumerate(REQUESTS[name]):
            expected, found = (
                {key: value for key, value in agent.call(*request).items() if key != UNTRUE}
                for agent in (free, locked)
            )
            if found != expected:
                wrong.append(f"{name}, request {number}: {found} instead of {expected}")
    return wrong
