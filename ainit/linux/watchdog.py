"""The hardware watchdog: resets the machine when PID 1 stops turning (watchdog-api.rst)."""

from __future__ import annotations

import fcntl
import os

_WDIOC_SETTIMEOUT = 0xC0045706
_WDIOC_SETPRETIMEOUT = 0xC0045708
_PRETIMEOUT_SHARE = 6
_DEVICE = "/dev/watchdog0"


class Watchdog:
    """Open means armed. A machine without one has ``armed`` False, and every call does nothing.

    ``kept`` is a device that is open already: closing it, over a re-exec, would stop the watch.
    """

    def __init__(self, seconds: int, path: str = _DEVICE, kept: int = -1) -> None:
        self._descriptor = kept
        if kept >= 0:
            return
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return
        # Some time before the reset the kernel panics, because a panic leaves its log behind.
        for request, value in (
            (_WDIOC_SETTIMEOUT, seconds),
            (_WDIOC_SETPRETIMEOUT, seconds // _PRETIMEOUT_SHARE),
        ):
            try:
                fcntl.ioctl(self._descriptor, request, bytearray(value.to_bytes(4, "little")))
            except OSError:
                pass  # a device with a fixed timeout, or without a warning, is still petted

    @property
    def armed(self) -> bool:
        """Whether the hardware is watching."""
        return self._descriptor >= 0

    @property
    def descriptor(self) -> int:
        """Its device; -1 when there is none."""
        return self._descriptor

    def pet(self) -> None:
        """Start the countdown anew."""
        if self._descriptor >= 0:
            try:
                os.write(self._descriptor, b".")
            except OSError:
                pass
