"""Confirm this boot: the machine is healthy, so the running entry gets its tries back.

Runs once, as a unit of the stage ``healthy``. With ``--condemn``, which PID 1 runs for a unit that
says so when its tries are used up, the entry loses its tries instead, and the next boot takes
another. Mounts the ESP that the loader came from, renames and unmounts again; a machine that was
not started by systemd-boot has nothing to confirm.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from .. import constants
from ..child import esp
from ..errors import AinosError
from ..linux import efi
from ..linux.files import sync_directory
from . import slots

# Raises the floor of a state that is sealed, now that this image has shown that it works.
_COMMIT = ("/usr/bin/python3", "-I", "-m", "ainit.seal", "commit")


def rename(directory: str, path: str, following: Callable[[str], str] = slots.rearmed) -> str:
    """Rename the counted entry ``path`` below the mounted ESP; returns the new name."""
    below, name = slots.split(path)
    target = following(name)
    folder = os.path.join(directory, below)
    if name != target:
        os.rename(os.path.join(folder, name), os.path.join(folder, target))
        sync_directory(folder)
    return target


def main(arguments: Sequence[str]) -> int:
    """The command."""
    condemn = list(arguments) == ["--condemn"]
    path = efi.loader_text("LoaderBootCountPath")
    if not path:
        print("not started by a counted entry: nothing to confirm")
        return 0
    what = "condemned" if condemn else "confirmed"
    try:
        with esp.mounted(writable=True) as directory:
            name = rename(directory, path, slots.condemned if condemn else slots.rearmed)
        print(f"{what}: {name}", flush=True)
        if not condemn and os.path.exists(constants.SEAL):
            os.execv(_COMMIT[0], _COMMIT)
    except (AinosError, OSError) as error:
        print(f"the boot could not be {what}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
