"""The EFI system partition that the loader came from, mounted for as long as it is needed.

with mounted() as directory:
    os.listdir(f"{directory}/EFI/Linux")
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..constants import RUNTIME
from ..errors import UnavailableError
from ..linux import block, efi, libc

IMAGES = "EFI/Linux"
_PLACE = f"{RUNTIME}/esp"


def device() -> str:
    """The ESP that the loader came from. Raises UnavailableError."""
    wanted = efi.loader_text("LoaderDevicePartUUID").lower()
    found = [part.name for part in block.partitions() if part.uuid == wanted]
    if len(found) != 1:
        raise UnavailableError(f"the ESP {wanted or '(unknown)'} was found {len(found)} times")
    return f"/dev/{found[0]}"


@contextmanager
def mounted(*, writable: bool = False) -> Iterator[str]:
    """The directory that it is mounted at. Raises UnavailableError or OSError."""
    flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    flags |= 0 if writable else libc.MS_RDONLY
    directory = _PLACE
    source = device()
    os.makedirs(directory, exist_ok=True)
    libc.mount(source, directory, "vfat", flags, "umask=0077")
    try:
        yield directory
    finally:
        libc.unmount(directory)


def forget(mounts: str = "/proc/self/mounts") -> None:
    """Unmount what a process left mounted for writing that was killed: nobody could mount it for
    reading any more, and what is changed beside a mount is not what that one knows. For whoever is
    the only one that writes.
    """
    with open(mounts, encoding="utf-8", errors="replace") as file:
        found = [line.split() for line in file]
    for _, place, _, options, *_ in found:
        if place == _PLACE and "rw" in options.split(","):
            with suppress(OSError):
                libc.unmount(_PLACE)
