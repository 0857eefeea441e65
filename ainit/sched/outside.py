"""What the GPU service hears from the rest of the machine, and tells it: the configuration, the
device service, PID 1.

>>> revoke("speech", "MIG-…", "GPU 1: Xid 79 (fallen off the bus)")   # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from ..child.client import Client
from ..child.notify import notify
from ..constants import CONTROL, GPUS, MACHINE_JSON
from ..linux.inotify import IN_MOVED_TO, Inotify
from ..wire.codec import loads
from . import bus

DEADLINE_S = 2.0


def expected(path: str = MACHINE_JSON) -> int | None:
    """How many GPUs the machine's configuration says there are now; None when it says nothing."""
    try:
        with open(path, "rb") as file:
            machine = loads(file.read())
    except (OSError, ValueError):
        return None
    gpu = machine.get("gpu") if isinstance(machine, dict) else None
    number = gpu.get("expected") if isinstance(gpu, dict) else None
    return number if isinstance(number, int) else None


def revoke(agent: str, uuid: str, reason: str, control: str = CONTROL) -> None:
    """Have PID 1 give a unit another instance. Raises AinosError; VarlinkError when it will not."""
    with Client(control, timeout=DEADLINE_S) as client:
        client.call("org.ainos.Control.Revoke", {"name": agent, "uuid": uuid, "reason": reason})


def say(findings: Sequence[str]) -> None:
    """Tell PID 1 what is wrong; nothing, when it does not listen."""
    for finding in findings:
        print(finding, flush=True)
    try:
        notify("X_AINOS_FINDINGS=" + "; ".join(findings))
    except OSError as error:
        print(f"PID 1 is not told: {error}", flush=True)


class Bus:
    """The file in which the device service says which GPUs are on the bus."""

    def __init__(self, changed: Callable[[tuple[str, ...]], object], path: str = GPUS) -> None:
        self._changed = changed
        self._path = path
        self._inotify = Inotify()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._inotify.add(os.path.dirname(path), IN_MOVED_TO)

    def fileno(self) -> int:
        """Readable when the file may be another: then ``look``."""
        return self._inotify.fileno()

    def look(self) -> None:
        """Read the file, if there is one, and tell of it."""
        self._inotify.read()
        try:
            with open(self._path, "rb") as file:
                addresses = bus.parse(file.read())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            print(f"{self._path} cannot be read: {error}", flush=True)
            return
        self._changed(addresses)

    def close(self) -> None:
        """Wait for it no longer."""
        self._inotify.close()
