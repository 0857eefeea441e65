"""QEMU's machine protocol: the few commands that drive a machine from outside, and its events.

with Qmp(socket) as qmp: qmp.execute("system_reset")
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lib.host import HostError

COMMAND_DEADLINE_S = 10.0


class QmpError(HostError):
    """QEMU refused a command, or does not answer any more."""


class Qmp:
    """One connection to QEMU's monitor. Events that arrive meanwhile are kept in order."""

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
            self._receive(time.monotonic() + COMMAND_DEADLINE_S)  # the greeting
            self.execute("qmp_capabilities")
        except OSError as error:
            self.close()
            raise QmpError(f"{path}: {error.strerror or error}") from error
        except QmpError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def execute(self, command: str, **arguments: object) -> Any:
        """Run one command and return what it returns. Raises QmpError."""
        deadline = time.monotonic() + COMMAND_DEADLINE_S
        message = {"execute": command, "arguments": arguments}
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{command}: QEMU has ended") from error
        while True:
            answer = self._receive(deadline)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QmpError(f"{command}: {answer['error']['desc']}")
            elif "return" in answer:
                return answer["return"]

    def drain(self, deadline_s: float = 0.0) -> None:
        """Take in the events that have arrived, or arrive until the deadline or QEMU's end."""
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                self.events.append(self._receive(deadline))
            except QmpError:
                return

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(1 << 16)
            except OSError as error:
                raise QmpError("QEMU does not answer on its monitor") from error
            if not data:
                raise QmpError("QEMU has closed its monitor")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer
