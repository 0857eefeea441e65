"""Files that survive a power cut: replaced as a whole, or not at all."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``: whoever reads finds the old or the new file, at any moment.

    Raises OSError; then the old file is untouched.
    """
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    sync_directory(directory)


def close(descriptors: Iterable[int]) -> None:
    """Close each. Linux closes a descriptor even where close(2) reports an error, which would be
    one of writing; so these are for descriptors that nothing was written through.
    """
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            pass


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
