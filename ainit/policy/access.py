"""Who may call what on the control socket.

The superuser may call everything. Others may look, and may ask agents to work: nothing that changes
the machine.
"""

from __future__ import annotations

from ..constants import CLIENTS, CLIENTS_RESERVED, MESSAGE_BYTES, MESSAGE_BYTES_OTHERS

AGENTS = "org.ainos.agent."
_READING = frozenset(("Status", "Describe", "Accounting", "Measurements", "Models", "List"))


def is_allowed(uid: int, interface: str, member: str) -> bool:
    """Whether a peer with this user ID may call ``interface.member``.

    >>> is_allowed(1000, "org.ainos.Control", "Reboot")
    False
    """
    if uid == 0 or interface == "org.varlink.service" or interface.startswith(AGENTS):
        return True
    return interface.startswith("org.ainos.") and member in _READING


def connections(uid: int) -> int:
    """How many connections there may be for one more of this user to be accepted.

    Some are kept for the superuser, so that nobody can lock it out.
    """
    return CLIENTS if uid == 0 else CLIENTS - CLIENTS_RESERVED


def message_bytes(uid: int) -> int:
    """How long a message of this user may be: parsed, it can take many times that in PID 1."""
    return MESSAGE_BYTES if uid == 0 else MESSAGE_BYTES_OTHERS
