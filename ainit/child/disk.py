"""A disk that somebody plugged in, by the label of its file system; mounted while it is read.

Read-only, and nothing on it is executed, is a device, or gives rights. ``sysfs`` and ``dev`` are
parameters, so that tests can lay out a machine in a directory.

    with mounted("MODELS") as path:
        os.listdir(path)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..constants import DISK
from ..errors import RefusedError
from ..linux import libc

_SUPERBLOCK = 2048  # bytes, in which every file system that we know says what it is
_FLAGS = libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
# Without replaying a journal, which would write.
_OPTIONS = {"ext4": "noload", "vfat": "utf8"}


class NotThereError(RefusedError):
    """No disk with this label is plugged in."""


def identify(start: bytes) -> tuple[str, str] | None:
    """Kind and label of the file system that begins so: ext4 (or its forebears), or FAT."""
    if start[0x438:0x43A] == b"\x53\xef":
        return "ext4", _text(start[0x478:0x488].partition(b"\0")[0])
    if start[0x1FE:0x200] == b"\x55\xaa":
        if start[0x52:0x57] == b"FAT32":
            return "vfat", _text(start[0x47:0x52])
        if start[0x36:0x3A] == b"FAT1":
            return "vfat", _text(start[0x2B:0x36])
    return None


def _text(label: bytes) -> str:
    return label.decode("utf-8", "replace").rstrip()


def find(label: str, sysfs: str = "/sys", dev: str = "/dev") -> tuple[str, str]:
    """Device and kind of the one file system on USB that is called ``label``. NotThereError for
    none, RefusedError for several.
    """
    found = []
    base = f"{sysfs}/class/block"
    for name in sorted(os.listdir(base)):
        if "/usb" not in os.path.realpath(f"{base}/{name}"):
            continue
        try:
            with open(f"{dev}/{name}", "rb") as file:
                known = identify(file.read(_SUPERBLOCK))
        except OSError:
            continue  # a reader without a card
        if known is not None and known[1] == label:
            found.append((f"{dev}/{name}", known[0]))
    what = f"a file system called {label} (ext4 or FAT)"
    if not found:
        raise NotThereError(f"no USB disk has {what}")
    if len(found) != 1:
        raise RefusedError(f"more than one USB disk has {what}")
    return found[0]


@contextmanager
def mounted(label: str, at: str = "") -> Iterator[str]:
    """Where the file system called ``label`` is, for as long; ``at`` is a place of one's
    own. Raises RefusedError or OSError.
    """
    device, kind = find(label)
    at = at or DISK
    os.makedirs(at, mode=0o700, exist_ok=True)
    with suppress(OSError):
        libc.unmount(at, libc.MNT_DETACH)  # what one left there that was killed
    libc.mount(device, at, kind, _FLAGS, _OPTIONS[kind])
    try:
        yield at
    finally:
        libc.unmount(at, libc.MNT_DETACH)


def inside(root: str, path: str) -> str:
    """``path`` below ``root``, wherever links on the disk lead. Raises RefusedError."""
    real = os.path.realpath(f"{root}/{path}")
    if real != os.path.realpath(root) and not real.startswith(os.path.realpath(root) + "/"):
        raise RefusedError(f"{path} leads out of the disk")
    return real
