"""When persistent timers elapsed last, kept on the state partition over a reboot.

One small file a unit, replaced as a whole. Not synced: PID 1 waits for no disk, and what a power
cut can cost is that a unit is started once more after it. A file that cannot be read counts as
none, and one that cannot be written is the caller's to tell.

>>> stamps = Stamps("/var/lib/ainos/timers")                    # doctest: +SKIP
>>> stamps.write("backup", 1764547200); stamps.read("backup")   # doctest: +SKIP
1764547200
"""

from __future__ import annotations

import os

_DIGITS = 12  # of seconds since 1970


class Stamps:
    """The files below ``directory``, which is made when the first is written."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def read(self, name: str) -> int | None:
        """Seconds since 1970 in UTC; None when nothing is known."""
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(f"{self._directory}/{name}", flags)
        except OSError:
            return None
        try:
            text = os.read(descriptor, _DIGITS + 2).strip()
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return int(text) if text.isdigit() and len(text) <= _DIGITS else None

    def write(self, name: str, at: int) -> None:
        """Replace a unit's stamp. Raises OSError; then the old one is untouched."""
        os.makedirs(self._directory, mode=0o755, exist_ok=True)
        temporary = f"{self._directory}/.{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o644)
        try:
            os.write(descriptor, b"%d\n" % at)
        finally:
            os.close(descriptor)
        os.rename(temporary, f"{self._directory}/{name}")
