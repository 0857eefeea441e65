"""The seam to fs-verity: cover a file, ask for its digest, read it under the kernel's eyes."""

from __future__ import annotations

import os
from typing import Protocol

from ..linux import fsverity


class Cover(Protocol):
    """What the store needs of a file system that guards files against change."""

    def enable(self, descriptor: int) -> None:
        """Cover an open file from now on; a file that is covered already stays so.

        Raises NotCoveredError where that is impossible, OSError while someone writes to it.
        """
        ...

    def measure(self, descriptor: int) -> bytes:
        """The digest (32 bytes) of a covered file. Raises NotCoveredError."""
        ...

    def read(self, descriptor: int, size: int) -> bytes:
        """At most ``size`` bytes, none at the end. Raises OSError (EIO) for a page that changed."""
        ...


class KernelCover:
    """fs-verity as the kernel does it."""

    def enable(self, descriptor: int) -> None:
        """See Cover."""
        fsverity.enable(descriptor)

    def measure(self, descriptor: int) -> bytes:
        """See Cover."""
        return fsverity.measure(descriptor)

    def read(self, descriptor: int, size: int) -> bytes:
        """See Cover."""
        return os.read(descriptor, size)
