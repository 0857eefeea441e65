"""Carry standard input and output to a port of this host's loopback address.

QEMU runs one for each connection that a guest makes to an address that is forwarded (guestfwd).

    python3 carry.py PORT
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_CHUNK = 65536


def main(port: int) -> None:
    """Until both sides have ended."""
    with socket.create_connection(("127.0.0.1", port), 60) as channel:
        channel.settimeout(None)

        def send() -> None:
            while data := os.read(0, _CHUNK):
                channel.sendall(data)
            channel.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        while data := channel.recv(_CHUNK):
            os.write(1, data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
