"""The control socket of a real PID 1: who may do what, and what bad peers can do to it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

import pytest

from ainit.child.client import Client, VarlinkError
from ainit.errors import UnavailableError
from tests.pidns.machine import CONTROL, Machine, Record
from tests.support.wait import wait_for

NOBODY = 65534
DESCRIBE = "org.varlink.service.GetInterfaceDescription"
ECHO = "org.ainos.agent.Echo"


def as_nobody(action: Callable[[], object]) -> object:
    """The JSON value that ``action`` returns in a process without privileges."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, json.dumps(action()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:
        answer = file.read()
    assert os.waitpid(pid, 0)[1] == 0
    value: object = json.loads(answer)
    return value


def error_of(machine: Machine, member: str, **parameters: object) -> str:
    try:
        machine.call(member, **parameters)
    except VarlinkError as error:
        return error.name
    return ""


def raw(machine: Machine) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.connect(machine.control)
    channel.settimeout(60)
    return channel


@pytest.fixture
def running(machine: Machine) -> Machine:
    machine.unit("service", "pause")
    machine.unit("echo", "provide", "org.ainos.agent.Echo", "/dev/null", provides=[ECHO])
    machine.boot()
    machine.wait_state("service", "ready")
    return machine


def test_an_unprivileged_peer_may_look(running: Machine) -> None:
    units = as_nobody(lambda: running.call("Status")["units"])
    assert isinstance(units, list)
    assert [unit["name"] for unit in units] == ["echo", "service"]
    assert as_nobody(lambda: running.describe("service")["state"]) == "ready"


def test_an_unprivileged_peer_may_ask_an_agent(running: Machine) -> None:
    answer = as_nobody(lambda: running.call(f"{ECHO}.Echo", text="grüße"))
    assert answer == {"text": "grüße"}


@pytest.mark.parametrize("member", ["Start", "Stop", "Restart", "Logs", "Shutdown", "Reboot"])
def test_an_unprivileged_peer_may_not_act(running: Machine, member: str) -> None:
    before = running.describe("service")
    name = as_nobody(lambda: error_of(running, member, name="service"))
    assert name == "org.varlink.service.PermissionDenied"
    assert running.describe("service") == {**before, "memory_bytes": None}


@pytest.mark.parametrize(
    "data",
    [
        b"hello\0",
        b"\0",
        b"[]\0",
        b"3\0",
        b'{"method":3}\0',
        b'{"method":"Status"}\0',
        b'{"method":"org.ainos.Control.Status","parameters":[]}\0',
        b'{"method":"\xff"}\0',
        b'{"method":"\\x"}\0',
        b"[" * 100_000 + b"\0",
        b'{"a":' * 100_000 + b"\0",
        b"x" * (4 * 1024 * 1024 + 1),
    ],
    ids=lambda data: data[:30].decode("latin-1"),
)
def test_malformed_varlink_closes_that_client_only(running: Machine, data: bytes) -> None:
    with Client(running.control, timeout=60) as other:
        other.call(f"{CONTROL}.Status")
        with raw(running) as channel:
            try:
                channel.sendall(data)
                assert channel.recv(1) == b""
            except (BrokenPipeError, ConnectionResetError):
                pass  # closed while we were still talking
        assert other.call(f"{CONTROL}.Describe", {"name": "service"})["unit"]


def test_unknown_names_are_answered_with_varlink_errors(running: Machine) -> None:
    assert error_of(running, "Nothing") == "org.varlink.service.MethodNotFound"
    assert error_of(running, "org.example.X.Y") == "org.varlink.service.InterfaceNotFound"
    assert error_of(running, "Describe", name="nobody") == f"{CONTROL}.NoSuchUnit"
    assert error_of(running, "Describe") == "org.varlink.service.InvalidParameter"
    assert error_of(running, "Describe", name=3) == "org.varlink.service.InvalidParameter"
    assert error_of(running, "Logs", follow=True) == "org.varlink.service.ExpectedMore"


def test_the_interfaces_describe_themselves(running: Machine) -> None:
    info = running.call("org.varlink.service.GetInfo")
    assert info["interfaces"] == ["org.varlink.service", CONTROL, ECHO]
    for name in ("org.varlink.service", CONTROL, ECHO):
        text = str(running.call(DESCRIBE, interface=name)["description"])
        assert f"interface {name}\n" in text


def test_a_call_is_relayed_to_the_unit_that_provides_it(running: Machine) -> None:
    assert running.call(f"{ECHO}.Echo", text="x" * 100_000) == {"text": "x" * 100_000}


def test_a_service_that_dies_over_a_call_is_reported_and_comes_back(running: Machine) -> None:
    assert error_of(running, f"{ECHO}.Die") == f"{CONTROL}.Unavailable"
    # The listening socket outlives the service, so a call made meanwhile waits for the next one.
    assert running.call(f"{ECHO}.Echo", text="again") == {"text": "again"}
    assert running.describe("echo")["restarts"] == 1


def test_calls_sent_together_are_answered_in_order(running: Machine) -> None:
    with raw(running) as channel:
        texts = [str(number) for number in range(50)]
        for text in texts:
            message: Record = {"method": f"{ECHO}.Echo", "parameters": {"text": text}}
            channel.sendall(json.dumps(message).encode() + b"\0")
        received = b""
        while received.count(b"\0") < len(texts):
            received += channel.recv(65536)
    replies = [json.loads(frame) for frame in received.split(b"\0")[:-1]]
    assert [reply["parameters"]["text"] for reply in replies] == texts


def test_a_client_that_never_reads_cannot_make_pid_1_grow(running: Machine) -> None:
    """It is not answered further until it reads; the others are."""
    with raw(running) as channel:
        channel.setblocking(False)
        asks = {"method": DESCRIBE, "parameters": {"interface": CONTROL}}
        calls = (json.dumps(asks).encode() + b"\0") * 50
        answered = 0
        while answered < 100 << 20:
            try:
                channel.send(calls)
            except BlockingIOError:
                break  # back pressure: PID 1 reads no more of it
            running.call("Describe", name="service")  # PID 1 has seen what was sent before
            answered += 50 * 2048
        assert resident_kib(running) < 64 * 1024


def resident_kib(machine: Machine) -> int:
    with open(f"/proc/{machine.init_host_pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_more_clients_than_there_is_room_for(running: Machine) -> None:
    """The ones too many are let go; the ones that are in are served."""
    with Client(running.control, timeout=60) as first:
        first.call(f"{CONTROL}.Status")
        others = [raw(running) for _ in range(100)]
        assert first.call(f"{CONTROL}.Status")
        for channel in others:
            channel.close()
    wait_for(lambda: answers(running), "room for a new client")


def answers(machine: Machine) -> bool:
    try:
        return bool(machine.call("Status"))
    except UnavailableError:
        return False


def test_a_flood_of_logs_is_bounded_and_counted(machine: Machine) -> None:
    machine.unit("flood", "flood")
    machine.unit("quiet", "pause")
    machine.boot()
    machine.wait_log("quiet", "paused")

    def dropped() -> int:
        found = machine.call("Logs", unit="flood", lines=0)["dropped"]
        assert isinstance(found, int)
        return found

    wait_for(lambda: dropped() > 5_000_000, "the flood to overrun its ring")
    for _ in range(20):
        assert machine.state("quiet") == "ready"
    assert sum(len(line) for line in machine.log("flood")) <= 256 * 1024
    assert machine.log("quiet") == ["starting", "ready", "paused"]
    assert resident_kib(machine) < 64 * 1024


def test_logs_are_followed(machine: Machine) -> None:
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_log("service", "paused")
    with Client(machine.control, timeout=60) as follower:
        replies = follower.more(f"{CONTROL}.Logs", {"unit": "service", "follow": True})
        assert "paused" in [line["text"] for line in lines_of(next(replies))]
        machine.call("Restart", name="service")
        seen: list[str] = []
        while "paused" not in seen:
            seen += [str(line["text"]) for line in lines_of(next(replies))]
    assert "stopping: restarted on request" in seen


def lines_of(reply: Record) -> list[Record]:
    lines = reply["lines"]
    assert isinstance(lines, list)
    return lines


def test_a_machine_is_reset_by_its_name_alone(machine: Machine) -> None:
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_state("service", "ready")
    for given, why in (
        ({"name": "other"}, "this machine is called test"),
        ({"name": "test"}, "there is no state to reset"),  # of its own, in namespaces
        ({"name": "test", "keep": ["log"]}, "log cannot be kept"),
    ):
        with pytest.raises(VarlinkError, match="Refused") as error:
            machine.call("Reset", **given)
        assert why in str(error.value.parameters["reason"])
    with pytest.raises(VarlinkError, match="InvalidParameter"):
        machine.call("Reset", name="test", keep=[1])
