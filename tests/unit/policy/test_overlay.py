"""An overlay may take away, and nothing else."""

from __future__ import annotations

import pytest

from ainit.policy import overlay, plan
from ainit.policy.plan import Unit
from ainit.wire.codec import canonical

MANIFEST = {
    "read": ["/srv"],
    "write": ["/var/lib/notes"],
    "execute": ["/usr/bin/git"],
    "network": ["192.0.2.7:443", "agent:speech"],
    "system_calls": ["processes", "jit"],
}


def agent(table: dict[str, object] | None = None) -> Unit:
    unit = Unit("notes", plan.AGENT)
    unit.sandbox = MANIFEST if table is None else table
    unit.capabilities = ["CAP_NET_BIND_SERVICE"]
    return unit


@pytest.mark.parametrize(
    "table",
    [
        {},
        MANIFEST,
        {"read": ["/srv/a", "/var/lib/notes", "/usr/bin/git"]},
        {"write": ["/var/lib/notes/a"], "network": "loopback"},
        {"network": ["agent:speech"], "system_calls": ["jit"]},
    ],
)
def test_what_is_no_looser_is_taken(table: dict[str, object]) -> None:
    found = overlay.profile(agent(), overlay.dump("notes", table))
    assert found.read == tuple(table.get("read", ()))  # type: ignore[arg-type]
    assert found.capabilities == ("CAP_NET_BIND_SERVICE",)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"read": ["/etc/shadow"]}, "read /etc/shadow"),
        ({"write": ["/srv"]}, "write /srv"),
        ({"read": ["/srv", "/srvx"]}, "read /srvx"),
        ({"execute": ["/srv/a"]}, "execute /srv/a"),
        ({"system_calls": ["ipc"]}, "system calls ipc"),
        ({"network": ["192.0.2.8:443"]}, "connect 192.0.2.8:443"),
        ({"network": ["agent:other"]}, "call other"),
        ({"execute_written": True}, "execute written"),
        ({"certificate": True}, "certificate"),
        ({"certificate": 1}, "neither"),
        ({"read": ["/srv/../etc"]}, "plain"),
        ({"read": ["/srv//a"]}, "plain"),
        ({"read": ["/srv/a/"]}, "plain"),
        ({"read": ["srv"]}, "plain"),
        ({"read": "/srv"}, "no list"),
        ({"read": [7]}, "no list"),
        ({"network": "all"}, "network"),
        ({"capabilities": ["CAP_SYS_ADMIN"]}, "table"),
        ({"execute_written": "yes"}, "neither"),
    ],
)
def test_what_is_looser_or_malformed_is_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        overlay.profile(agent(), overlay.dump("notes", table))


def test_of_agents_all_or_none_are_taken_away() -> None:
    """Calls are decided by the manifest, and only without any there is no way to ask."""
    unit = agent({"network": ["agent:speech", "agent:notes-of-others"]})
    assert not overlay.profile(unit, overlay.dump("notes", {})).agents
    with pytest.raises(ValueError, match="calls of notes-of-others go by the manifest"):
        overlay.profile(unit, overlay.dump("notes", {"network": ["agent:speech"]}))


def test_without_a_network_there_is_none_to_add() -> None:
    with pytest.raises(ValueError, match="internet"):
        overlay.profile(agent({}), overlay.dump("notes", {"network": "loopback"}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        overlay.dump("other", {}),
        canonical({"schema": 2, "agent": "notes", "sandbox": {}}),
        canonical({"schema": 1, "agent": "notes", "sandbox": []}),
        canonical({"schema": 1, "agent": "notes", "sandbox": {}, "more": 1}),
    ],
)
def test_what_is_no_overlay_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is the parser's own
        overlay.profile(agent(), data)


def test_a_service_has_none() -> None:
    with pytest.raises(ValueError, match="no agent"):
        overlay.profile(Unit("notes", plan.SERVICE), overlay.dump("notes", {}))
