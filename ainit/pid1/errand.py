"""A child that PID 1 waits for, before its loop turns: bounded in time, and in what it may say."""

from __future__ import annotations

import os
import select

from ..linux import process

_OUTPUT_BYTES = 16 * 1024
_DYING_MS = 5000.0  # who waits for a disk dies when that answers, and PID 1's loop buries him


def run(argv: list[str], environment: dict[str, str], seconds: float) -> tuple[int, str]:
    """Its wait status, and what it wrote; a status of -1 when it did not end in time."""
    output = os.memfd_create("errand", os.MFD_CLOEXEC)
    try:
        pid = process.spawn(process.Child(argv, environment, output=output))
        ended = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            if not poll.poll(seconds * 1000):
                os.kill(pid, 9)
                if poll.poll(_DYING_MS):
                    os.waitpid(pid, 0)
                return -1, ""
        finally:
            os.close(ended)
        _, status = os.waitpid(pid, 0)
        said = os.pread(output, _OUTPUT_BYTES, 0)
    finally:
        os.close(output)
    return status, said.decode("utf-8", "replace").strip()
