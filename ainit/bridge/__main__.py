"""The ``bridge`` service: the port org.ainos.control leads to PID 1's control socket."""

from __future__ import annotations

import sys

from ..child.client import local
from ..constants import CONTROL
from ..errors import AinosError
from .port import open_port, wait_port
from .proxy import Peer, Proxy

PORT = "org.ainos.control"
CONNECT_SECONDS = 10.0


def connect() -> Peer:
    """A new connection to PID 1. Raises OSError."""
    channel = local(CONTROL, CONNECT_SECONDS)
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
