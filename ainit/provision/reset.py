"""A machine becomes as it was new: marked while it runs, done at the next boot.

The mark is a file on the state. The boot finds it before anything uses the state, and it is the
last that goes: after a power cut the next boot begins anew. Leaves out what is left on the disk of
removed files, and a sealed state, whose header is erased instead (`ainit.seal.reset`).

    mark(STATE, ["models"])     # on request; then the machine restarts
    wipe(STATE)                 # PID 1 has it done
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection

from ..constants import RESET
from ..errors import RefusedError
from ..linux import files
from ..wire.codec import dumps, loads

MARK = os.path.basename(RESET)
KEPT = ("config", "models")  # what may be kept
_STAYS = "lost+found"
_SKELETON = ("config", "models/incoming", "models/objects", "models/names")


def mark(state: str, keep: Collection[str]) -> None:
    """Have the next boot wipe the state but ``keep``. Raises RefusedError or OSError."""
    if unknown := set(keep) - set(KEPT):
        raise RefusedError(f"{min(unknown)} cannot be kept: {', '.join(KEPT)} can")
    if not os.path.ismount(state):
        raise RefusedError("there is no state to reset")
    files.replace(f"{state}/{MARK}", dumps(sorted(keep)).encode())


def wipe(state: str) -> str:
    """Remove everything but what is kept; the mark last. Returns what was done. Raises OSError.

    A mark that cannot be read keeps nothing: it was there, so somebody wanted this.
    """
    kept = _kept(f"{state}/{MARK}")
    for name in os.listdir(state):
        if name not in (MARK, _STAYS, *kept):
            _remove(f"{state}/{name}")
    for folder in _SKELETON:
        os.makedirs(f"{state}/{folder}", exist_ok=True)
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.sync()
        os.unlink(f"{state}/{MARK}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return f"the state was reset{', but for ' + ' and '.join(kept) if kept else ''}"


def _kept(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            found = loads(file.read(4096))
    except (OSError, ValueError):
        return []
    return [name for name in KEPT if name in found] if isinstance(found, list) else []


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
