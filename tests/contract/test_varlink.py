"""The control socket, seen by systemd's varlinkctl and by our own client."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.child.client import Client
from ainit.wire import protocol
from ainit.wire.protocol import VarlinkError
from tests.support.idl import Interface
from tests.support.varlinkctl import command, varlinkctl
from tests.support.wait import wait_for

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = sorted((ROOT / "ainit/wire/interfaces").glob("*.varlink"))
CONTROL = Interface.named("org.ainos.Control")


@pytest.fixture
def control() -> Iterator[Path]:
    """The path of a control socket that PID 1's own code serves."""
    with tempfile.TemporaryDirectory(prefix="ainos-") as folder:
        host = [sys.executable, str(ROOT / "tests/support/control_host.py"), folder]
        with subprocess.Popen(host, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "ready\n"
                yield Path(folder, "control")
            finally:
                process.kill()


def called(control: Path, method: str, **parameters: object) -> dict[str, object]:
    """One call by varlinkctl."""
    done = varlinkctl("call", "--json=short", control, method, json.dumps(parameters))
    reply = json.loads(done.stdout)
    assert isinstance(reply, dict)
    return reply


@pytest.mark.parametrize("path", INTERFACES, ids=lambda path: path.stem)
def test_varlinkctl_accepts_our_interface_files(path: Path) -> None:
    assert varlinkctl("validate-idl", path, check=False).stderr == ""


def test_varlinkctl_reads_who_we_are(control: Path) -> None:
    info = json.loads(varlinkctl("info", "--json=short", control).stdout)
    assert info["product"] == "ainit"
    assert info["interfaces"] == [
        "org.varlink.service",
        "org.ainos.Control",
        "org.ainos.agent.Echo",
    ]


def test_varlinkctl_introspects_us_and_the_units_behind_us(control: Path) -> None:
    shown = varlinkctl("introspect", control, "org.ainos.Control").stdout
    assert "method Status() -> (" in shown
    assert "method Echo(" in varlinkctl("introspect", control, "org.ainos.agent.Echo").stdout


def test_varlinkctl_calls_us(control: Path) -> None:
    reply = called(control, "org.ainos.Control.Describe", name="worker")
    assert CONTROL.wrong_reply("Describe", reply) == []


def test_varlinkctl_calls_a_unit_through_us(control: Path) -> None:
    assert called(control, "org.ainos.agent.Echo.Echo", text="déjà vu") == {"text": "déjà vu"}


def test_varlinkctl_understands_our_errors(control: Path) -> None:
    done = varlinkctl(
        "call", control, "org.ainos.Control.Describe", '{"name":"nobody"}', check=False
    )
    assert done.returncode != 0
    assert "org.ainos.Control.NoSuchUnit" in done.stderr


def test_varlinkctl_follows_logs(control: Path) -> None:
    """``--more`` prints each reply as it comes (RFC 7464); the first holds the lines so far."""
    method, asked = "org.ainos.Control.Logs", '{"unit":"worker","follow":true}'
    follow = [*command(), "call", "--more", "--json=short", str(control), method, asked]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = json.loads(process.stdout.readline().removeprefix("\x1e"))
            called(control, "org.ainos.Control.Stop", name="worker")
            second = json.loads(process.stdout.readline().removeprefix("\x1e"))
        finally:
            process.kill()
    assert [line["text"] for line in first["lines"]] == ["starting", "ready"]
    assert second["lines"][0]["text"].startswith("stopping")


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("Status", {}),
        ("Describe", {"name": "unsigned"}),
        ("Logs", {"lines": 5}),
        ("Logs", {"unit": "echo"}),
        ("Measurements", {}),
        ("Restart", {"name": "worker"}),
        ("Stop", {"name": "worker"}),
        ("Start", {"name": "worker"}),
        ("Shutdown", {}),
    ],
)
def test_every_answer_has_the_shape_of_its_interface(
    control: Path, method: str, parameters: dict[str, object]
) -> None:
    with Client(str(control)) as client:
        reply = client.call(f"org.ainos.Control.{method}", parameters)
    assert CONTROL.wrong_reply(method, reply) == []


def test_quarantine_and_release_have_the_shape_of_their_interface(control: Path) -> None:
    with Client(str(control)) as client:

        def said(member: str, **parameters: str) -> dict[str, object]:
            reply = client.call(f"org.ainos.Control.{member}", {"name": "unsigned", **parameters})
            assert CONTROL.wrong_reply(member, reply) == []
            return reply

        def released() -> bool:
            try:
                said("Release")
            except VarlinkError as error:
                return "still being collected" not in str(error.parameters["reason"])
            return True

        said("Quarantine", reason="odd")
        said("Describe")
        wait_for(released, "its release")


def test_a_refused_unit_tells_why(control: Path) -> None:
    with Client(str(control)) as client:

        def judged() -> dict[str, object] | None:
            unit = client.call("org.ainos.Control.Describe", {"name": "unsigned"})["unit"]
            assert isinstance(unit, dict)
            return None if unit["state"] == "waiting" else unit

        unit = wait_for(judged, "the unit to be judged")
    assert unit is not None
    assert (unit["state"], unit["reason"]) == (
        "refused",
        "model magika: the signature does not match",
    )


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("org.ainos.Control.Start", {}, protocol.INVALID_PARAMETER),
        ("org.ainos.Control.Start", {"name": 7}, protocol.INVALID_PARAMETER),
        ("org.ainos.Control.Start", {"name": "nobody"}, "org.ainos.Control.NoSuchUnit"),
        ("org.ainos.Control.Dance", {}, protocol.METHOD_NOT_FOUND),
        ("org.ainos.Gpu.Status", {}, protocol.INTERFACE_NOT_FOUND),
        ("org.ainos.Control.Logs", {"follow": True}, "org.varlink.service.ExpectedMore"),
        (
            "org.varlink.service.GetInterfaceDescription",
            {"interface": "org.example"},
            protocol.INTERFACE_NOT_FOUND,
        ),
    ],
)
def test_errors_have_the_standard_names(
    control: Path, method: str, parameters: dict[str, object], error: str
) -> None:
    with Client(str(control)) as client:
        with pytest.raises(VarlinkError) as caught:
            client.call(method, parameters)
        assert caught.value.name == error
        assert client.call("org.varlink.service.GetInfo")["product"] == "ainit"


@pytest.mark.parametrize("junk", [b"{]\0", b"[]\0", b'{"method":1}\0', b'{"method":"x"}\0'])
def test_junk_closes_its_own_connection_only(control: Path, junk: bytes) -> None:
    with Client(str(control)) as hostile, Client(str(control)) as bystander:
        hostile._socket.sendall(junk)
        assert hostile._socket.recv(1) == b""
        assert bystander.call("org.varlink.service.GetInfo")["product"] == "ainit"


def test_calls_on_one_connection_are_answered_in_order(control: Path) -> None:
    with Client(str(control)) as client:
        calls = [
            protocol.call("org.ainos.agent.Echo.Echo", {"text": str(number)})
            for number in range(20)
        ]
        client._socket.sendall(b"".join(calls))
        answers = [client._receive()["parameters"] for _ in calls]
    assert answers == [{"text": str(number)} for number in range(20)]


def test_a_half_sent_call_delays_nobody(control: Path) -> None:
    with Client(str(control)) as slow, Client(str(control)) as quick:
        slow._socket.sendall(b'{"method":')
        assert quick.call("org.ainos.Control.Status")["machine"]
        slow._socket.sendall(b'"org.varlink.service.GetInfo"}\0')
        assert slow._receive()["parameters"]
