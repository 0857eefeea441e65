"""The ``bridge`` service: the port org.ainos.control leads to PID 1's control socket."""

from __future__ import annotations

import socket
import sys

from ..constants import CONTROL
from ..errors import AinosError
from .port import open_port, wait_port
from .proxy import Peer, Proxy

PORT = "org.ainos.control"
CONNECT_SECONDS = 10.0


def connect() -> Peer:
    """A new connection to PID 1. Raises OSError."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        channel.settimeout(CONNECT_SECONDS)
        channel.connect(CONTROL)
    except BaseException:
        channel.close()
        raise
    return Peer(channel.fileno(), channel.close)


def main() -> int:
    """Run the service."""
    try:
        proxy = Proxy(open_port(wait_port(PORT)), connect)
        while True:
            proxy.turn()
    except (AinosError, OSError) as error:
        print(f"bridge: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
