"""Who may call what."""

from __future__ import annotations

import pytest

from ainit.policy import access
from ainit.policy.access import is_allowed
from ainit.wire import interface_text

READING = [
    "Status", "Describe", "Measurements", "Accounting", "Models", "List", "Queue", "Explain",
    "Health", "Readings",
]  # fmt: skip
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
        ("org.ainos.Gpu", "Plan", True),
        ("org.ainos.Gpu", "Progress", True),
        ("org.ainos.Gpu", "Events", True),
        ("org.ainos.Gpu", "Apply", False),
        ("org.ainos.Gpu", "Allocate", False),
        ("org.ainos.Gpu", "Release", False),
        ("org.ainos.Gpu", "Cordon", False),
        ("org.ainos.Gpu", "Uncordon", False),
        ("org.ainos.Control", "Revoke", False),
        ("org.ainos.Egress", "List", True),
        ("org.ainos.Egress", "Drop", False),
        ("org.ainos.Attest", "Activate", False),
        ("org.example", "Status", False),
        ("", "Status", False),
    ],
)
def test_others_and_units(interface: str, member: str, allowed: bool) -> None:
    assert is_allowed(1000, interface, member) is allowed


@pytest.mark.parametrize(
    ("method", "least"),
    [
        ("org.varlink.service.GetInfo", "viewer"),
        ("org.ainos.Control.Status", "viewer"),
        ("org.ainos.Store.Models", "viewer"),
        ("org.ainos.Attest.Evidence", "viewer"),
        ("org.ainos.Attest.Channel", "viewer"),
        ("org.ainos.Attest.Authority", "viewer"),
        ("org.ainos.Identity.Status", "viewer"),
        ("org.ainos.Identity.Verdict", "operator"),
        ("org.ainos.agent.Speech.Detect", "viewer"),
        ("org.ainos.Gpu.Plan", "viewer"),
        ("org.ainos.Gpu.Apply", "operator"),
        ("org.ainos.Control.Restart", "operator"),
        ("org.ainos.Control.Logs", "operator"),
        ("org.ainos.Gpu.Readings", "viewer"),
        ("org.ainos.Gpu.Cordon", "operator"),
        ("org.ainos.Control.Revoke", "admin"),
        ("org.ainos.Control.Run", "operator"),
        ("org.ainos.Control.Jobs", "operator"),
        ("org.ainos.Control.CancelJob", "operator"),
        ("org.ainos.Gpu.Queue", "viewer"),
        ("org.ainos.Crash.Show", "operator"),
        ("org.ainos.Audit.List", "viewer"),
        ("org.ainos.Audit.Propose", "operator"),
        ("org.ainos.Audit.Overlay", "operator"),
        ("org.ainos.Audit.Audit", "admin"),
        ("org.ainos.Audit.Apply", "admin"),
        ("org.ainos.Audit.Revert", "admin"),
        ("org.ainos.Store.Verify", "operator"),
        ("org.ainos.Control.Reboot", "admin"),
        ("org.ainos.Control.Configure", "admin"),
        ("org.ainos.Control.Reexec", "admin"),
        ("org.ainos.Store.Add", "admin"),
        ("org.ainos.Update.AddModel", "admin"),
        ("org.ainos.Store.Remove", "admin"),
        ("org.ainos.Gpu.Allocate", "admin"),
        ("org.example.Start", "admin"),
        (".Start", "admin"),
    ],
)
def test_a_role_may_what_the_one_below_may_and_more(method: str, least: str) -> None:
    interface, _, member = method.rpartition(".")
    may = [role for role in access.ROLES if access.is_allowed_role(role, interface, member)]
    assert may == list(access.ROLES[access.ROLES.index(least) :])
    assert access.changes(interface, member) is (least != "viewer")


@pytest.mark.parametrize("role", ["", "root", "Admin", "viewers"])
def test_a_role_that_is_none_may_nothing(role: str) -> None:
    assert not access.is_allowed_role(role, "org.ainos.Control", "Status")
    assert not access.is_allowed_role(role, "org.ainos.Attest", "Evidence")


@pytest.mark.parametrize("member", ["Quarantine", "Release"])
def test_quarantine_is_for_those_who_may_everything(member: str) -> None:
    control = "org.ainos.Control"
    may = [role for role in access.ROLES if access.is_allowed_role(role, control, member)]
    assert may == [access.ADMIN]
    assert [uid for uid in (0, 1000) if access.is_allowed(uid, control, member)] == [0]
    message = {"method": f"{control}.{member}", "parameters": {"name": "a", "by": "root"}}
    assert access.owned(message, "kim")["parameters"] == {"name": "a", "by": "kim"}


@pytest.mark.parametrize("unit", ["network", "remote"])
def test_only_an_admin_stops_what_an_admin_comes_through(unit: str) -> None:
    control = "org.ainos.Control"
    may = [role for role in access.ROLES if access.is_allowed_role(role, control, "Stop", unit)]
    assert may == ["admin"]
    assert access.is_allowed_role("operator", control, "Stop", unit) is False
    assert access.is_allowed_role("operator", control, "Restart", unit)
    assert access.is_allowed_role("operator", control, "Stop", "speech")


def test_what_operators_may_is_there() -> None:
    """A method that was renamed would be allowed to nobody."""
    for method in access.OPERATING:
        interface, _, member = method.rpartition(".")
        assert f"\nmethod {member}(" in interface_text(interface)


def test_the_superuser_is_never_locked_out() -> None:
    assert access.connections(0) > access.connections(1000) > 0


def test_only_the_superuser_may_send_what_takes_much_memory() -> None:
    assert access.message_bytes(0) > access.message_bytes(1) == access.message_bytes(1000)
