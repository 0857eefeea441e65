"""The EFI system partition that the loader came from, mounted for as long as it is needed.

with mounted() as directory:
    os.listdir(f"{directory}/EFI/Linux")
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..constants import RUNTIME
from ..errors import UnavailableError
from ..linux import block, efi, libc

IMAGES = "EFI/Linux"


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
    directory = f"{RUNTIME}/esp"
    source = device()
    os.makedirs(directory, exist_ok=True)
    libc.mount(source, directory, "vfat", flags, "umask=0077")
    try:
        yield directory
    finally:
        libc.unmount(directory)
