"""Who may call what: users of the machine on the control socket, operators over the network.

The superuser may call everything. Others may look, and may ask agents to work: nothing that changes
the machine. Operators have a role each (``[remote]`` in the machine configuration).
"""

from __future__ import annotations

from ..constants import CLIENTS, CLIENTS_RESERVED, MESSAGE_BYTES, MESSAGE_BYTES_OTHERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

AGENTS = "org.ainos.agent."
_READING = frozenset(
    (
        "Status", "Describe", "Accounting", "Measurements", "Models", "List", "Queue", "Explain",
        "Health", "Readings",
        "Plan", "Progress", "Events",  # of GPUs
        "History",  # of updates
    )
)  # fmt: skip

VIEWER = "viewer"  # looks, and attests
OPERATOR = "operator"  # in addition reads logs and crashes, starts and stops units, runs jobs, and
# partitions and cordons GPUs.
ADMIN = "admin"  # everything that the superuser may
ROLES = (VIEWER, OPERATOR, ADMIN)
ATTESTATION = "org.ainos.Attest"  # an interface that changes nothing, whoever calls it
OPERATING = frozenset(
    {
        "org.ainos.Control.Logs", "org.ainos.Control.Start", "org.ainos.Control.Stop",
        "org.ainos.Control.Restart", "org.ainos.Control.ReloadUnit", "org.ainos.Control.Trigger",
        "org.ainos.Control.Run", "org.ainos.Control.Jobs", "org.ainos.Control.CancelJob",
        "org.ainos.Gpu.Apply", "org.ainos.Gpu.Cordon", "org.ainos.Gpu.Uncordon",
        "org.ainos.Gpu.Reset",
        "org.ainos.Control.GetPlan", "org.ainos.Audit.Propose", "org.ainos.Audit.Overlay",
        "org.ainos.Crash.Show", "org.ainos.Crash.File",
        "org.ainos.Identity.Verdict", "org.ainos.Log.Boots", "org.ainos.Log.Read",
        "org.ainos.Store.Job", "org.ainos.Store.Verify",
        "org.ainos.Update.Check", "org.ainos.Update.Job",
    }
)  # fmt: skip
_SIGNED = {  # a method, and its parameter that says who asked
    "org.ainos.Control.Run": "owner",
    "org.ainos.Control.Quarantine": "by",
    "org.ainos.Control.Release": "by",
}
KEPT_UP = ("network", "remote")  # without these an admin could not come any more
_ANYBODY = 65534


def is_allowed(uid: int, interface: str, member: str) -> bool:
    """Whether a peer with this user ID may call ``interface.member``.

    >>> is_allowed(1000, "org.ainos.Control", "Reboot")
    False
    """
    if uid == 0 or interface == "org.varlink.service" or interface.startswith(AGENTS):
        return True
    return interface.startswith("org.ainos.") and member in _READING


def is_allowed_role(role: str, interface: str, member: str, unit: object = None) -> bool:
    """Whether an operator with this role may call ``interface.member``, perhaps for a unit.

    >>> is_allowed_role(OPERATOR, "org.ainos.Control", "Restart")
    True
    >>> is_allowed_role(OPERATOR, "org.ainos.Control", "Configure")
    False
    """
    if role == ADMIN:
        return True
    if interface == ATTESTATION or is_allowed(_ANYBODY, interface, member):
        return role in ROLES
    if member == "Stop" and unit in KEPT_UP:
        return False
    return role == OPERATOR and f"{interface}.{member}" in OPERATING


def owned(message: Mapping[str, object], operator: str) -> Mapping[str, object]:
    """A call of an operator's as it is passed on: a job that he has run is charged to him, and a
    quarantine that he begins or ends says so.

    >>> owned({"method": "org.ainos.Control.Run", "parameters": {"owner": "root"}}, "kim")
    {'method': 'org.ainos.Control.Run', 'parameters': {'owner': 'kim'}}
    """
    parameters, key = message.get("parameters", {}), _SIGNED.get(str(message.get("method")))
    if key is None or not isinstance(parameters, dict):
        return message
    return {**message, "parameters": {**parameters, key: operator}}


def changes(interface: str, member: str) -> bool:
    """Whether a call is one that a viewer may not make: those are worth a line in a log."""
    return not is_allowed_role(VIEWER, interface, member)


def connections(uid: int) -> int:
    """How many connections there may be for one more of this user to be accepted.

    Some are kept for the superuser, so that nobody can lock it out.
    """
    return CLIENTS if uid == 0 else CLIENTS - CLIENTS_RESERVED


def message_bytes(uid: int) -> int:
    """How long a message of this user may be: parsed, it can take many times that in PID 1."""
    return MESSAGE_BYTES if uid == 0 else MESSAGE_BYTES_OTHERS
