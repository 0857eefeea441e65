"""A sealed state is given up: its keys are destroyed, and the next boot makes a new one.

First the header is named unfinished, in one write that survives a power cut: the next boot then
formats and seals anew, as after a first boot that was interrupted (`first`). Then every key slot is
destroyed. What is mapped stays usable until the machine restarts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from ..child import esp
from ..errors import RefusedError
from ..linux.luks import Volume
from . import first
from .vault import LABEL, UNFINISHED


def reset(
    device: str,
    boot_partition: Callable[[], AbstractContextManager[str]] = esp.mounted,
    volumes: Callable[[str], Volume] = Volume,
) -> str:
    """Give it up; returns what was done. Raises RefusedError where no new one could be made."""
    with boot_partition() as boot:
        if not os.path.exists(f"{boot}/{first.SEED}"):
            raise RefusedError(f"{first.SEED} is not on the boot partition: nothing to start from")
    with volumes(device) as volume:
        volume.load()
        if volume.label not in (LABEL, UNFINISHED):
            raise RefusedError(f"{device} is a LUKS2 volume, {volume.label!r}, but not ours")
        volume.name(UNFINISHED)
        for slot in volume.slots():
            volume.drop(slot)
    return "the keys of the state are destroyed; the next boot makes a new one"
