"""Where a machine configuration may come from. PURE.

    state > SMBIOS > image            at boot: the first that has one
    stick                             while none of these says who may steer the machine

Whoever stands at a machine must not become its operator by putting a stick into it. So a stick is
for a machine that nobody has configured yet, and what it brought lies on the state from then on.

>>> refusal("/var/lib/ainos/config/machine.toml", {})
'this machine has a configuration: /var/lib/ainos/config/machine.toml'
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT = "default"  # what the image brings
STICK = "stick"


def refusal(configuration: str, machine: Mapping[str, object]) -> str:
    """Why a machine takes no configuration from a stick, or nothing. ``configuration`` is what it
    says in its status, ``machine`` the settings in force.
    """
    if configuration != DEFAULT:
        return f"this machine has a configuration: {configuration}"
    remote = machine.get("remote")
    if isinstance(remote, dict) and remote.get("operators"):
        return "this machine's image says who may steer it"
    return ""
