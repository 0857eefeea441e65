"""Files on the ESP: written while no loader takes them, shown at once, and gone at once.

A file has a name that no loader takes while it is written, on the mounted ESP. It gets the name
that counts by one character in place, on the ESP that is not mounted, and loses it with one byte
(`fat` says why).

    put(part, "EFI/Linux", "ainos_1+3-0.efj", source)
    show(part, "EFI/Linux", "ainos_1+3-0.efj", "ainos_1+3-0.efi")

===================  =====================================================================
`write_file`         a file's content
`sync_file`          fsync of it
`sync_directory`     fsync of its directory, and `Esp.flush`
`check_file`         it is read back from the device
`show`               the one character, and a flush
`discard`            the name, a flush, then what is behind it
===================  =====================================================================

`discard` frees no clusters that are not this file's alone: a power cut may have left two names of
the same (a firmware that was cut while it counted down). What is cut between name and clusters is
lost: 11 MB of a GiB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ..child import esp
from ..errors import UnavailableError
from ..linux import fat, files, gpt_disk

IMAGES = esp.IMAGES
_CHUNK = 1 << 20
Mounted = Callable[[], AbstractContextManager[str]]


class Esp:
    """The EFI system partition: ``device`` while it is not mounted, a directory while it is."""

    def __init__(self, device: str, mount: Mounted | None = None) -> None:
        self.device = device
        self.mounted = mount or (lambda: esp.mounted(writable=True))

    @contextmanager
    def opened(self) -> Iterator[gpt_disk.Disk]:
        """The device."""
        with gpt_disk.Device(self.device, writable=True) as disk:
            yield disk

    def flush(self) -> None:
        """Have the disk write what it holds back."""
        with self.opened() as disk:
            disk.flush()

    def names(self, folder: str = IMAGES) -> list[fat.Name]:
        """What is in a directory."""
        with self.opened() as disk:
            return fat.Volume(disk).directory(folder)

    def rename(self, folder: str, held: fat.Name, new: str) -> None:
        """Change characters of a name."""
        with self.opened() as disk:
            fat.rename(disk, held, new)


def put(part: Esp, folder: str, name: str, source: str) -> None:
    """Write a file that no loader takes, wait for it to be on the disk, and read it back. Raises
    UnavailableError when it reads otherwise.
    """
    with part.mounted() as root:
        with open(f"{root}/{folder}/{name}", "wb") as file:
            write_file(file.fileno(), source)
            sync_file(file.fileno())
        sync_directory(f"{root}/{folder}")
    part.flush()
    check_file(part, folder, name, source)


def write_file(descriptor: int, source: str) -> None:
    """Copy a file's content."""
    with open(source, "rb") as file:
        while data := file.read(_CHUNK):
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]


def sync_file(descriptor: int) -> None:
    """Wait for a file's content, its clusters and its size in the directory."""
    os.fsync(descriptor)


def sync_directory(path: str) -> None:
    """Wait for the names in a directory."""
    files.sync_directory(path)


def check_file(part: Esp, folder: str, name: str, source: str) -> None:
    """Compare a file on the ESP, which was unmounted since, with what it was made of."""
    if not has_content(part, folder, name, source):
        raise UnavailableError(f"{name} reads otherwise than it was written to the ESP")


def has_content(part: Esp, folder: str, name: str, source: str) -> bool:
    """Whether a file on the ESP is the same as another one."""
    with part.mounted() as root:
        path = f"{root}/{folder}/{name}"
        return os.path.exists(path) and _equal(path, source)


def show(part: Esp, folder: str, hidden: str, name: str) -> None:
    """Let the loader, or the firmware, find a file from now on."""
    part.rename(folder, one(part, folder, hidden), name)


def discard(part: Esp, folder: str, held: fat.Name) -> None:
    """Delete a file, whatever its name."""
    with part.opened() as disk:
        volume = fat.Volume(disk)
        sharing = [each for each in volume.directory(folder) if each.cluster == held.cluster]
        volume.delete(held, free=len(sharing) == 1)


def one(part: Esp, folder: str, name: str) -> fat.Name:
    """The file of this name. Raises UnavailableError."""
    for each in part.names(folder):
        if each.name == name:
            return each
    raise UnavailableError(f"{name} is not on the ESP")


def _equal(first: str, second: str) -> bool:
    with open(first, "rb") as one, open(second, "rb") as other:
        while data := one.read(_CHUNK):
            if data != other.read(_CHUNK):
                return False
        return not other.read(1)
