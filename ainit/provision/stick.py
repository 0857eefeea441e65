"""The machine configuration on a USB stick, for a machine that has none.

The stick is looked at only then: nobody mounts what is put into a machine in service. It has to
have a file system called AINOSCONFIG (ext4 or FAT, whose labels have eleven characters) with a
``machine.toml``. PID 1 checks, measures, carries out and keeps it as if an operator had sent it.

    adopt(Client(CONTROL, 60.0))
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from ..child import disk
from ..child.client import Client, VarlinkError
from ..constants import RUNTIME
from ..errors import RefusedError
from ..policy import origin

LABEL = "AINOSCONFIG"
FILE = "machine.toml"
_BYTES_MAX = 1 << 20
_SETTLE_S = 8.0  # from the driver of a stick to its partitions
_PAUSE_S = 0.5
_MOUNTED = f"{RUNTIME}/stick"

Mounted = Callable[[], AbstractContextManager[str]]


def mounted() -> AbstractContextManager[str]:
    """The stick, where only this program looks."""
    return disk.mounted(LABEL, _MOUNTED)


def adopt(
    client: Client, mounted: Mounted = mounted, pause: Callable[[float], object] = time.sleep
) -> str:
    """Have PID 1 take what is on the stick; returns what was done.

    Raises RefusedError where the machine takes none, or the file is wrong, with file and line.
    """
    status, plan = (client.call(f"org.ainos.Control.{name}") for name in ("Status", "GetPlan"))
    machine, base = status.get("machine"), plan.get("plan")
    if not isinstance(machine, dict) or not isinstance(base, dict):
        raise RefusedError("PID 1 does not say how this machine is configured")
    settings = base.get("machine")
    known = settings if isinstance(settings, dict) else {}
    if why := origin.refusal(str(machine.get("configuration")), known):
        return f"no stick is looked at: {why}"
    text = _found(mounted, pause)
    if not text:
        return f"no stick is called {LABEL}"
    try:
        given = {"files": {FILE: text}, "source": origin.STICK}
        client.call("org.ainos.Control.Configure", given)
    except VarlinkError as error:
        findings = error.parameters.get("findings")
        said = findings if isinstance(findings, list) else [error.parameters.get("reason", error)]
        raise RefusedError("; ".join(f"{LABEL}/{each}" for each in said)) from error
    return f"the configuration on {LABEL} is this machine's from now on"


def _found(mounted: Mounted, pause: Callable[[float], object]) -> str:
    """The text on the stick; nothing when there is no such stick after a while."""
    for _ in range(int(_SETTLE_S / _PAUSE_S)):
        try:
            with mounted() as root:
                return _text(f"{root}/{FILE}")
        except disk.NotThereError:
            pause(_PAUSE_S)
    return ""


def _text(path: str) -> str:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RefusedError(f"{LABEL}/{FILE} is no file")
            data = file.read(_BYTES_MAX + 1)
        if len(data) > _BYTES_MAX:
            raise RefusedError(f"{LABEL}/{FILE} is larger than {_BYTES_MAX} bytes")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{LABEL}/{FILE}:1: cannot be read: {error}") from error
