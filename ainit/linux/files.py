"""Files that survive a power cut: replaced as a whole, or not at all."""

from __future__ import annotations

import os


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


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
