"""The ``shell`` service: the port org.ainos.shell leads to a shell on a terminal of its own.

A shell starts when a host connects and is killed, with everything it started, when the host goes.
"""

from __future__ import annotations

import os
import pty
import signal
import sys

from ..errors import AinosError
from .port import open_port, wait_port
from .proxy import Peer, Proxy

PORT = "org.ainos.shell"
SHELL = ("/bin/busybox", "sh", "-i")


def start(command: tuple[str, ...] = SHELL) -> Peer:
    """A shell in a session of its own, which the terminal controls."""
    pid, descriptor = pty.fork()
    if pid == 0:
        try:
            os.execv(command[0], command)
        finally:
            os._exit(127)

    def close() -> None:
        os.close(descriptor)
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)

    return Peer(descriptor, close)


def main() -> int:
    """Run the service."""
    try:
        proxy = Proxy(open_port(wait_port(PORT)), start)
        while True:
            proxy.turn()
    except (AinosError, OSError) as error:
        print(f"shell: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
