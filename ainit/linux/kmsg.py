"""Words for the operator: the kernel log, which reaches the console and survives PID 1."""

from __future__ import annotations

import os

ERROR = 3
WARNING = 4
NOTICE = 5
INFO = 6

_descriptor = -1


def log(text: str, level: int = NOTICE) -> None:
    """Write one line. Never raises and never blocks: a log must not stop PID 1."""
    global _descriptor
    try:
        if _descriptor < 0:
            _descriptor = os.open("/dev/kmsg", os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        line = text.replace("\n", " | ")[:900]
        os.write(_descriptor, f"<{level}>ainit: {line}\n".encode("utf-8", "replace"))
    except OSError:
        pass
