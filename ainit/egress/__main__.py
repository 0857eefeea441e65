"""The command: serve on what PID 1 hands over: its interface's socket, agents' sockets, its store.

python3 -m ainit.egress
"""

from __future__ import annotations

import os
import socket
import sys
import threading

from ..constants import LISTEN_FD
from .service import Egress

_SOCKETS = 2  # that of its interface, and the one where agents' sockets are handed over
_STACK_BYTES = 256 << 10  # of a thread, which resolves a name at most


def main() -> int:
    """Run the service."""
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if len(names) < _SOCKETS or os.environ.get("LISTEN_PID") != str(os.getpid()):
        print("no sockets were handed over: start this through ainit", file=sys.stderr)
        return 1
    threading.stack_size(_STACK_BYTES)
    interface, listener = (socket.socket(fileno=LISTEN_FD + each) for each in range(_SOCKETS))
    stored = [*zip(names, range(LISTEN_FD, LISTEN_FD + len(names)), strict=True)][_SOCKETS:]
    Egress(listener, stored).serve(interface)
    return 0


if __name__ == "__main__":
    sys.exit(main())
