"""The control socket as an agent meets it: what it may call, and what is written about that."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.constants import CLIENTS_AGENT, LOG_LINE_BYTES
from ainit.pid1.gate import Gate
from ainit.pid1.logs import Logs
from ainit.pid1.loop import Loop
from ainit.policy import access
from ainit.policy.plan import AGENT, Unit
from ainit.wire.codec import loads
from ainit.wire.protocol import SERVICE, Call
from tests.unit.pid1.wires import Wires

ECHO, OTHER = "org.ainos.agent.Echo", "org.ainos.agent.Other"
STATUS = "org.ainos.Control.Status"
DENIED = {"error": f"{SERVICE}.PermissionDenied", "parameters": {}}
USER = 61184


def units(caller: int = USER) -> list[Unit]:
    notes, echo, other = (Unit(name, AGENT) for name in ("notes", "echo", "other"))
    notes.user, echo.user, other.user = caller, 61185, 61186
    notes.sandbox = {"network": ["agent:echo"]}
    echo.provides, other.provides = [ECHO], [OTHER]
    return [notes, echo, other]


class Said(list[tuple[str, object]]):
    """What the gate wrote, by agent."""

    def __call__(self, agent: str, text: str) -> None:
        self.append((agent, loads(text)))


def call(method: str, **parameters: object) -> Call:
    return Call({"method": method, "parameters": parameters})


def decision(what: str, method: str, provider: str | None, rule: str) -> dict[str, object]:
    return {"decision": what, "call": method, "provider": provider, "rule": rule}


def test_every_decision_is_in_the_caller_s_log() -> None:
    said = Said()
    gate = Gate(said, units())
    assert gate.permits(USER, call(f"{ECHO}.Echo"))
    assert not gate.permits(USER, call(STATUS))
    assert not gate.permits(USER, call("org.example.Nobody.Call"))
    assert said == [
        ("notes", decision("permit", f"{ECHO}.Echo", "echo", "agent:echo")),
        ("notes", decision("forbid", STATUS, "PID 1", "default")),
        ("notes", decision("forbid", "org.example.Nobody.Call", None, "default")),
    ]


def test_a_description_is_its_provider_s() -> None:
    gate = Gate(Said(), units())
    describe = f"{SERVICE}.GetInterfaceDescription"
    assert gate.permits(USER, call(describe, interface=ECHO))
    assert not gate.permits(USER, call(describe, interface=OTHER))


@pytest.mark.parametrize("user", [0, 1000])
def test_who_is_no_agent_is_decided_as_before_and_not_logged(user: int) -> None:
    said = Said()
    gate = Gate(said, units())
    for method in (STATUS, "org.ainos.Control.Reboot", f"{OTHER}.Call"):
        asked = call(method)
        assert gate.permits(user, asked) == access.is_allowed(user, asked.interface, asked.member)
    assert said == []


def test_who_cannot_be_told_from_another_may_nothing() -> None:
    twin = Unit("twin", AGENT)
    twin.user = USER
    said = Said()
    gate = Gate(said, [*units(), twin])
    assert not gate.permits(USER, call(f"{ECHO}.Echo"))
    assert not gate.permits(USER, call(f"{SERVICE}.GetInfo"))
    assert said == []


def test_another_plan_is_gone_by() -> None:
    gate = Gate(Said(), units())
    changed = units()
    changed[0].sandbox = {"network": ["agent:other"]}
    gate.configure(changed)
    assert not gate.permits(USER, call(f"{ECHO}.Echo"))
    assert gate.permits(USER, call(f"{OTHER}.Echo"))


def test_an_agent_has_its_share_of_the_connections() -> None:
    gate = Gate(Said(), units())
    assert gate.admits(USER, [USER] * (CLIENTS_AGENT - 1) + [1000] * 20)
    assert not gate.admits(USER, [USER] * CLIENTS_AGENT)
    assert gate.admits(61185, [USER] * CLIENTS_AGENT)
    assert gate.admits(1000, [1000] * CLIENTS_AGENT)
    assert not gate.admits(1000, [0] * access.connections(1000))


def test_a_flood_of_calls_costs_the_caller_its_oldest_lines() -> None:
    logs = Logs(Loop())
    logs.limits = {"notes": 4096}
    gate = Gate(logs.say, units())
    for number in range(200):
        gate.permits(USER, call(f"{ECHO}.Call{number}"))
    gate.permits(USER, call(f"org.example.{'x' * LOG_LINE_BYTES}.Call"))
    lines, dropped = logs.select("notes", 1000)
    assert dropped > 0
    assert 0 < len(lines) < 200
    assert all(line["source"] == "ainit" for line in lines)
    fields = [line["fields"] for line in lines]
    assert fields[-2] == decision("permit", f"{ECHO}.Call199", "echo", "agent:echo")
    assert isinstance(fields[-1], dict)


def test_a_call_that_is_not_permitted_reaches_nobody(
    sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wires = Wires(sockets, {ECHO: "echo"}, plan=units())
    monkeypatch.setattr(Gate, "permits", lambda gate, user, call: call.interface == SERVICE)
    with wires.service("echo"), wires.peer() as peer:
        for method in (STATUS, f"{ECHO}.Echo", f"{SERVICE}.GetInfo"):
            peer.send(method)
        assert [peer.receive(), peer.receive()] == [DENIED, DENIED]
        assert "parameters" in peer.receive()
        assert wires.calls == []
    wires.close()
