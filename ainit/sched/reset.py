"""A reset of one GPU, which NVIDIA's ``nvidia-smi`` does, for NVML has no call for it.

It takes seconds, and needs a GPU that nobody has open, this service included. Leaves out who may
have one, and what follows: see ``care``.

>>> resets.begin(opening, "GPU-…", "GPU 1", now); resets.finish(opening, now)   # doctest: +SKIP
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import Protocol

SMI = "/usr/bin/nvidia-smi"
DEADLINE_S = 180.0
_KILL_S = 1.0  # what is held in the driver does not die
_SAID_MAX = 512


class Reset:
    """A reset under way. Raises OSError when the program cannot be started."""

    def __init__(self, uuid: str, now: float) -> None:
        self.uuid = uuid
        self._end = now + DEADLINE_S
        self._said = open(os.memfd_create("reset"), "w+b")  # noqa: SIM115 - closed by result
        command = [SMI, "--gpu-reset", f"--id={uuid}"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._said, stderr=subprocess.STDOUT
            )
        except OSError:
            self._said.close()
            raise

    def result(self, now: float) -> str | None:
        """None while it is under way, "" when it was done, and otherwise why not, in words."""
        status = self._process.poll()
        if status is None and now < self._end:
            return None
        if status is None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILL_S)
            why = f"it did not end in {DEADLINE_S:g} s"
        else:
            self._said.seek(0)
            said = self._said.read(_SAID_MAX).decode("utf-8", "replace")
            words = " ".join(said.split())
            why = "" if status == 0 else words or f"status {status}"
        self._said.close()
        return why


class Host(Protocol):
    """Who has the driver open; ``opening.Opening`` does."""

    def hold(self, reason: str) -> None: ...
    def free(self) -> None: ...
    def reopen(self) -> None: ...


class Resets:
    """One reset at a time, and how the last ones of each GPU failed."""

    def __init__(self) -> None:
        self._under_way: Reset | None = None
        self.failed: dict[str, str] = {}

    @property
    def uuid(self) -> str:
        """The GPU that is being reset; "" when none is."""
        return self._under_way.uuid if self._under_way else ""

    def begin(self, host: Host, uuid: str, name: str, now: float) -> None:
        """Have the driver let go, and reset. Raises OSError; then nothing has changed."""
        host.hold(f"{name} is being reset")
        try:
            self._under_way = Reset(uuid, now)
        except OSError:
            host.free()
            host.reopen()
            raise
        self.failed.pop(uuid, None)

    def finish(self, host: Host, now: float) -> str:
        """The GPU whose reset was done since this was asked last; "" when none was."""
        if self._under_way is None or (why := self._under_way.result(now)) is None:
            return ""
        uuid, self._under_way = self._under_way.uuid, None
        print(f"{uuid}: {f'not reset: {why}' if why else 'reset'}", flush=True)
        if why:
            self.failed[uuid] = why
        host.free()
        host.reopen()
        return "" if why else uuid
