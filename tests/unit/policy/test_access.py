"""Who may call what."""

from __future__ import annotations

import pytest

from ainit.policy import access
from ainit.policy.access import is_allowed

READING = ["Status", "Describe", "Measurements", "Accounting", "Models", "List"]
ACTING = ["Start", "Stop", "Restart", "Logs", "Shutdown", "Reboot", "", "status"]


@pytest.mark.parametrize("member", [*READING, *ACTING])
def test_the_superuser_may_do_everything(member: str) -> None:
    assert is_allowed(0, "org.ainos.Control", member)


@pytest.mark.parametrize("member", READING)
def test_others_may_look(member: str) -> None:
    assert is_allowed(1000, "org.ainos.Control", member)


@pytest.mark.parametrize("member", ACTING)
def test_others_may_not_act(member: str) -> None:
    assert not is_allowed(1000, "org.ainos.Control", member)


@pytest.mark.parametrize(
    ("interface", "member", "allowed"),
    [
        ("org.varlink.service", "GetInfo", True),
        ("org.ainos.agent.FileType", "Identify", True),
        ("org.ainos.agentX", "Identify", False),
        ("org.ainos.Gpu", "Status", True),
        ("org.ainos.Gpu", "Allocate", False),
        ("org.ainos.Gpu", "Release", False),
        ("org.ainos.Attest", "Activate", False),
        ("org.example", "Status", False),
        ("", "Status", False),
    ],
)
def test_others_and_units(interface: str, member: str, allowed: bool) -> None:
    assert is_allowed(1000, interface, member) is allowed


def test_the_superuser_is_never_locked_out() -> None:
    assert access.connections(0) > access.connections(1000) > 0


def test_only_the_superuser_may_send_what_takes_much_memory() -> None:
    assert access.message_bytes(0) > access.message_bytes(1) == access.message_bytes(1000)
