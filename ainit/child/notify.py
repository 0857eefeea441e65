"""Readiness and the store of descriptors, as sd_notify(3) and sd_pid_notify_with_fds(3) describe
them: one datagram each to ``NOTIFY_SOCKET``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence


def notify(state: str) -> bool:
    """Tell the supervisor ``state`` (``READY=1``, ``STATUS=…``, ``WATCHDOG=1``, ``STOPPING=1``).

    Returns False when nobody listens, so that a service also runs by hand.
    """
    return _send(state, ())


def store(name: str, descriptors: Sequence[int]) -> bool:
    """Have the supervisor keep descriptors for the next process of this service, which finds them
    behind its sockets, in order, each named ``name`` in LISTEN_FDNAMES. As `notify`.
    """
    return _send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", descriptors)


def forget(name: str) -> bool:
    """Have the supervisor close what was stored as ``name``. As `notify`."""
    return _send(f"FDSTOREREMOVE=1\nFDNAME={name}", ())


def _send(state: str, descriptors: Sequence[int]) -> bool:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(5.0)
        channel.connect(address)
        if descriptors:
            socket.send_fds(channel, [state.encode()], descriptors)
        else:
            channel.send(state.encode())
    return True
