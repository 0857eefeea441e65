"""The disks of one machine: copy-on-write overlays, so that an image is never written.

disks = Disks(files, image); disks.attach(2); disks.alter(edit)
A disk may be larger than the image is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lib.host import run
from lib.qemu import Files

DEADLINE_S = 300.0


class Disks:
    """Overlays over ``image``, a raw disk image."""

    def __init__(self, files: Files, image: Path) -> None:
        self._files = files
        self._image = image

    def attach(self, count: int, gib: int = 0) -> None:
        """Make ``count`` disks that hold the same image, of its size or of ``gib``."""
        self.remove()
        for number in range(count):
            self._overlay(number, self._image, gib)

    def alter(self, edit: Callable[[Path], None]) -> None:
        """Let ``edit`` change the first disk, as a raw image, with everything written to it so far.

        The other disks, and the image, stay as they are.
        """
        raw = self._files.directory / "disk0.img"
        changed = self._files.directory / "disk0.changed.img"
        overlay = str(self._files.disk(0))
        run(["qemu-img", "convert", "-O", "raw", overlay, str(changed)], timeout=DEADLINE_S)
        edit(changed)
        changed.rename(raw)
        self._overlay(0, raw)

    def remove(self) -> None:
        """Throw away what was written."""
        for pattern in ("disk*.qcow2", "disk*.img"):
            for path in self._files.directory.glob(pattern):
                path.unlink()

    def _overlay(self, number: int, base: Path, gib: int = 0) -> None:
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw"]
        size = [f"{gib}G"] if gib else []
        run([*command, str(self._files.disk(number)), *size], timeout=DEADLINE_S)
