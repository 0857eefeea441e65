"""Starts a child service or an agent as PID 1 does: with sockets and open models."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ainit.child.client import Client
from ainit.constants import LISTEN_FD
from tests.support.idl import Interface
from tests.support.wait import DEADLINE_SECONDS

REPOSITORY = Path(__file__).resolve().parents[2]

# What PID 1 does between fork and exec. Packages are found as in the image, where a .pth file leads
# to them: -I alone would hide this repository.
_START = """
import os, runpy, sys
os.dup2(int(sys.argv[1]), {listen})
os.environ["LISTEN_PID"] = str(os.getpid())
sys.path.append({repository!r})
{before}
runpy.{run}({what!r}, run_name="__main__")
"""


class Service:
    """A running service. Use it as a context manager; ``call`` asks it, ``output`` is what it said.

    ``what`` is a module's name, or the folder of an agent; ``models`` are handed over as open
    files; ``before`` is Python that runs first, to point constants at a test's folder. A call waits
    for ``deadline`` seconds.
    """

    def __init__(
        self,
        what: str | Path,
        folder: Path,
        *,
        models: Mapping[str, Path] | None = None,
        environment: Mapping[str, str] | None = None,
        before: str = "",
        wrapper: Sequence[str] = (),
    ) -> None:
        self.deadline = DEADLINE_SECONDS
        self._path = folder / "service"
        self._log = folder / "output"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._listener.listen()
        variables = {
            "PATH": os.environ["PATH"],
            "LISTEN_FDS": "1",
            "NOTIFY_SOCKET": str(folder / "notify"),
            **(environment or {}),
        }
        passed = [self._listener.fileno()]
        for name, path in (models or {}).items():
            descriptor = os.open(path, os.O_RDONLY)
            passed.append(descriptor)
            variable = "AINOS_MODEL_" + name.upper().replace("-", "_")
            variables[variable] = f"/proc/self/fd/{descriptor}"
        is_agent = isinstance(what, Path)
        code = _START.format(
            listen=LISTEN_FD,
            repository=str(REPOSITORY),
            before=before,
            run="run_path" if is_agent else "run_module",
            what="." if is_agent else what,
        )
        python = [sys.executable, "-I", "-c", code, str(self._listener.fileno())]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [*wrapper, *python],
                cwd=what if is_agent else "/",
                env=variables,
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for descriptor in passed[1:]:
            os.close(descriptor)

    def __enter__(self) -> Self:
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait_ready(self) -> None:
        ended = os.pidfd_open(self._process.pid)
        try:
            while True:
                news = self._notify.fileno()
                found, _, _ = select.select([news, ended], [], [], DEADLINE_SECONDS)
                if news not in found:
                    raise AssertionError(f"never became ready:\n{self.output()}")
                if b"READY=1" in self._notify.recv(4096).splitlines():
                    return
        finally:
            os.close(ended)

    def call(self, method: str, **parameters: object) -> dict[str, object]:
        """The reply of one call, which must be as its interface declares."""
        with Client(str(self._path), timeout=self.deadline) as client:
            reply = client.call(method, parameters)
        interface, _, member = method.rpartition(".")
        wrong = Interface.named(interface).wrong_reply(member, reply)
        assert not wrong, f"{method}: {wrong}"
        return reply

    def is_running(self) -> bool:
        """Whether the process has not ended: its socket outlives it, and answers nothing then."""
        return self._process.poll() is None

    def output(self) -> str:
        """What the service wrote so far."""
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """Kill it and take everything down."""
        self._process.kill()
        self._process.wait()
        self._listener.close()
        self._notify.close()
