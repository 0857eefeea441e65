"""The command: serve on what PID 1 hands over, or, started by hand, on a socket of its own.

python3 -m ainit.metrics [CONTROL]      the control socket, if it is another than PID 1's
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence

from ..child.notify import notify
from ..constants import CONTROL, LISTEN_FD, RUNTIME
from .server import Server
from .source import Source

SOCKET = RUNTIME + "/metrics.sock"
_BACKLOG = 16
_IDLE_SECONDS = 5.0  # how often a server without clients looks whether one lasts too long


def listeners(path: str) -> list[socket.socket]:
    """The sockets that were handed over (sd_listen_fds(3)), else one that is bound to ``path``."""
    count = int(os.environ.get("LISTEN_FDS") or 0)
    if count and os.environ.get("LISTEN_PID") == str(os.getpid()):
        return [socket.socket(fileno=LISTEN_FD + number) for number in range(count)]
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o666)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return [listener]


def main(arguments: Sequence[str]) -> int:
    """Run the service."""
    try:
        source = Source(arguments[0] if arguments else CONTROL)
        servers = [Server(listener, source.page) for listener in listeners(SOCKET)]
    except OSError as error:
        print(f"metrics: {error}", file=sys.stderr)
        return 1
    first, *others = servers
    for server in others:
        threading.Thread(target=server.serve_forever, args=(_IDLE_SECONDS,), daemon=True).start()
    notify("READY=1")
    first.serve_forever(_IDLE_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
