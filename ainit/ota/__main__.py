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
from ..errors import AinosError, UnavailableError
from ..linux import block, efi, libc
from ..linux.files import sync_directory
from . import slots

_MOUNTPOINT = constants.RUNTIME + "/esp"


def _esp() -> str:
    """The device of the ESP that the loader came from."""
    wanted = efi.loader_text("LoaderDevicePartUUID").lower()
    found = [part.name for part in block.partitions() if part.uuid == wanted]
    if len(found) != 1:
        raise UnavailableError(f"the ESP {wanted or '(unknown)'} was found {len(found)} times")
    return f"/dev/{found[0]}"


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
    os.makedirs(_MOUNTPOINT, exist_ok=True)
    try:
        flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
        libc.mount(_esp(), _MOUNTPOINT, "vfat", flags, "umask=0077")
        try:
            following = slots.condemned if condemn else slots.rearmed
            name = rename(_MOUNTPOINT, path, following)
            print(f"{'condemned' if condemn else 'confirmed'}: {name}")
        finally:
            libc.unmount(_MOUNTPOINT)
    except (AinosError, OSError) as error:
        what = "condemned" if condemn else "confirmed"
        print(f"the boot could not be {what}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
