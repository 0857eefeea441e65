"""virtio-serial ports, found by name without udev."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..errors import DeadlineError

SYSFS = "/sys/class/virtio-ports"
DEV = "/dev"


def find(name: str, sysfs: str = SYSFS, dev: str = DEV) -> str | None:
    """The device of the port that QEMU calls ``name``, or None while there is none."""
    try:
        entries = sorted(os.listdir(sysfs))
    except FileNotFoundError:
        return None
    for entry in entries:
        try:
            with open(f"{sysfs}/{entry}/name", encoding="utf-8") as file:
                if file.read().strip() == name:
                    return f"{dev}/{entry}"
        except OSError:
            continue  # it went away, or its name is still to come
    return None


def wait_port(
    name: str,
    seconds: float = 15.0,
    *,
    look: Callable[[str], str | None] = find,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """The device of the port ``name``, as soon as the driver shows it (sysfs tells nobody).

    Raises DeadlineError after ``seconds``.
    """
    pause = 0.1
    for _ in range(max(1, round(seconds / pause))):
        if (found := look(name)) is not None:
            return found
        sleep(pause)
    raise DeadlineError(f"no virtio-serial port {name} after {seconds:g} s")


def open_port(path: str) -> int:
    """Open a port for a proxy. Raises OSError; a port can be opened once."""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
