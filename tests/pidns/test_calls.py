"""Agents that call each other under a real PID 1: who may call whom, and what is written of it."""

from __future__ import annotations

import json

import pytest

from tests.pidns.machine import Machine, Record
from tests.support.wait import wait_for

ECHO, OTHER = "org.ainos.agent.Echo", "org.ainos.agent.Other"
ABOUT = "org.varlink.service"
ANSWERS = """
import json, socket
server = socket.socket(fileno=3)
print("up", flush=True)
while True:
    channel, _ = server.accept()
    with channel:
        call = b""
        while not call.endswith(b"\\0"):
            call += channel.recv(65536)
        answer = {"parameters": {"heard": json.loads(call[:-1])["method"]}}
        channel.sendall(json.dumps(answer).encode() + b"\\0")
"""
CALLS = """
import json, os, signal, socket
def call(method, **parameters):
    with socket.socket(socket.AF_UNIX) as channel:
        try:
            channel.connect(CONTROL)
        except OSError as error:
            return {"error": error.strerror}
        channel.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\\0")
        answer = b""
        while not answer.endswith(b"\\0"):
            answer += channel.recv(65536)
        return json.loads(answer[:-1])
for method, parameters in ASKED:
    answer = call(method, **parameters)
    print(json.dumps([method, answer.get("error") or answer["parameters"]]), flush=True)
"""
WAITS = "signal.pause()\n"
AS_ITS_CHILD = """
if os.fork() == 0:
    os.setsid()
    print(json.dumps(["child", call("org.ainos.agent.Echo.Say")["parameters"]]), flush=True)
    print(json.dumps(["child", call("org.ainos.Control.Status")["error"]]), flush=True)
    os._exit(0)
"""
DENIED = f"{ABOUT}.PermissionDenied"


@pytest.fixture
def agents(machine: Machine) -> Machine:
    """A machine with a TPM and two agents that answer."""
    machine.tpm()
    machine.agent("echo", ANSWERS, provides=[ECHO])
    machine.agent("other", ANSWERS, provides=[OTHER])
    return machine


def caller(
    machine: Machine, asked: list[tuple[str, Record]], *more: str, **sandbox: object
) -> None:
    """An agent ``notes`` that asks all of this once the others are up."""
    code = f"CONTROL = {machine.control!r}\nASKED = {asked!r}\n" + CALLS + "".join(more) + WAITS
    machine.agent("notes", code, sandbox=sandbox, after=["echo", "other"])


def answers(machine: Machine, count: int) -> list[tuple[str, object]]:
    """What the caller printed: what it asked, and the answer or the error."""

    def found() -> list[tuple[str, object]] | None:
        lines = [json.loads(line) for line in machine.log("notes") if line.startswith("[")]
        return [(line[0], line[1]) for line in lines] if len(lines) >= count else None

    got = wait_for(found, f"{count} answers")
    assert got is not None
    return got


def decisions(machine: Machine) -> list[Record]:
    """What PID 1 wrote into the caller's log as records."""
    lines = machine.call("Logs", unit="notes", lines=1000)["lines"]
    assert isinstance(lines, list)
    return [line["fields"] for line in lines if line["source"] == "ainit" and line["fields"]]


def test_what_is_listed_is_answered_and_nothing_else(agents: Machine) -> None:
    describe = f"{ABOUT}.GetInterfaceDescription"
    asked: list[tuple[str, Record]] = [
        (f"{ECHO}.Say", {}),
        (f"{OTHER}.Say", {}),
        ("org.ainos.Control.Status", {}),
        ("org.ainos.Control.Describe", {"name": "notes"}),
        ("org.ainos.Control.Stop", {"name": "echo"}),
        (describe, {"interface": OTHER}),
        (f"{ABOUT}.GetInfo", {}),
    ]
    caller(agents, asked, network=["agent:echo"])
    agents.boot()
    found = answers(agents, len(asked))
    assert found[0] == (f"{ECHO}.Say", {"heard": f"{ECHO}.Say"})
    assert found[1:6] == [(method, DENIED) for method, _ in asked[1:6]]
    assert isinstance(found[6][1], dict)
    assert found[6][1]["product"] == "ainit"
    assert [(each["decision"], each["call"]) for each in decisions(agents)] == [
        ("forbid" if 1 <= place <= 5 else "permit", method)
        for place, (method, _) in enumerate(asked)
    ]
    assert [(each["provider"], each["rule"]) for each in decisions(agents)][:3] == [
        ("echo", "agent:echo"),
        ("other", "default"),
        ("PID 1", "default"),
    ]
    assert not any("Say" in line for line in agents.log("other"))


def test_a_process_that_it_starts_is_still_the_agent(agents: Machine) -> None:
    caller(agents, [], AS_ITS_CHILD, network=["agent:echo"], system_calls=["processes"])
    agents.boot()
    assert answers(agents, 2) == [("child", {"heard": f"{ECHO}.Say"}), ("child", DENIED)]
    assert [each["decision"] for each in decisions(agents)] == ["permit", "forbid"]


@pytest.mark.parametrize("sandbox", [{}, {"network": "loopback"}], ids=["none", "loopback"])
def test_who_lists_nobody_has_no_control_socket(agents: Machine, sandbox: Record) -> None:
    caller(agents, [(f"{ECHO}.Say", {})], **sandbox)
    agents.boot()
    assert answers(agents, 1) == [(f"{ECHO}.Say", "No such file or directory")]
    assert decisions(agents) == []


def test_a_pid_1_that_begins_anew_goes_by_the_same_rules(agents: Machine) -> None:
    caller(agents, [(f"{ECHO}.Say", {}), (f"{OTHER}.Say", {})], network=["agent:echo"])
    agents.boot()
    answers(agents, 2)
    agents.call("Reexec")
    agents.wait_state("notes", "ready")
    agents.call("Restart", name="notes")
    assert [answer for _, answer in answers(agents, 4)[2:]] == [{"heard": f"{ECHO}.Say"}, DENIED]
