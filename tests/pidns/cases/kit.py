"""What the cases share: puppets, which do as they are told, and words for what cases often do.

A puppet is a service that executes Python that a test sends it, so that a case says step by step
what happens when, and nothing waits for a length of time. Leaves out the machine itself.

    puppet(machine, "a", type="notify")
    machine.boot()
    tell(machine, "a", "notify(b'READY=1')")
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from ainit.child.client import VarlinkError
from tests.pidns.machine import ACTOR, CONTROL, Machine, toml
from tests.support.wait import wait_for

FAST = {"first_s": 0.01, "factor": 1, "max_s": 3600}  # and failures are not forgotten meanwhile
NEVER = {"first_s": 3600, "max_s": 3600}  # a backoff that no case waits for
PATIENCE_SECONDS = 60.0
PAUSE = ["/usr/bin/sleep", "inf"]
TRUE = ["/usr/bin/true"]
FALSE = ["/usr/bin/false"]


def shell(text: str) -> list[str]:
    """A command that runs a line of shell."""
    return ["/bin/sh", "-c", text]


def text(command: list[str], **keys: object) -> str:
    """A unit file; ``backoff``, ``probe``, ``timer``, ``resources`` and ``logs`` are tables, and
    ``more`` is TOML that follows.
    """
    more = str(keys.pop("more", ""))
    service: dict[str, object] = {"exec": command, "stop_timeout_s": 30, **keys}
    sections: dict[str, Mapping[str, object]] = {}
    for table in ("backoff", "probe", "timer", "resources", "logs", "activation"):
        if (value := service.pop(table, None)) is not None:
            assert isinstance(value, dict)
            sections[table] = value
    return toml({"service": service, **sections}) + more


def unit(machine: Machine, name: str, command: list[str], **keys: object) -> None:
    """A unit of the image that runs ``command``. See ``text``."""
    path = machine.directory / f"units/{name}.toml"
    path.write_text(text(command, **keys), encoding="utf-8")


def target(machine: Machine, name: str, **keys: object) -> None:
    """A target of the image."""
    path = machine.directory / f"units/{name}.toml"
    path.write_text(toml({"service": {"type": "target", **keys}}), encoding="utf-8")


def string(machine: Machine, name: str) -> str:
    """Where a puppet is told what to do."""
    return f"{machine.directory}/puppets/{name}"


def puppet(machine: Machine, name: str, **keys: object) -> None:
    """A unit of the image that does what it is told; one of type notify is not ready until then,
    unless ``ready`` is given.
    """
    folder = machine.directory / "puppets"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)  # for puppets of other users, too
    verb = "ready-puppet" if keys.pop("ready", False) else "puppet"
    if verb == "ready-puppet":
        keys.setdefault("type", "notify")
    unit(machine, name, [*ACTOR, verb, string(machine, name)], **keys)


def tell(machine: Machine, name: str, code: str) -> object:
    """Have a puppet execute ``code``; returns its ``answer``. None when it dies of it."""

    def connected() -> socket.socket | None:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(PATIENCE_SECONDS)
        try:
            channel.connect(string(machine, name))
        except OSError:
            channel.close()
            return None
        return channel

    with wait_for(connected, f"the puppet {name}") as channel:  # type: ignore[union-attr]
        channel.sendall(code.encode())
        channel.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while chunk := channel.recv(65536):
                found += chunk
        except ConnectionResetError:
            pass
    return json.loads(found) if found else None


def status(machine: Machine, name: str, words: str) -> None:
    """Have a puppet say a status and wait until PID 1 has heard it, and all that came before."""
    tell(machine, name, f"notify(b'STATUS={words}')")
    wait_for(lambda: machine.describe(name)["status_text"] == words, f"{name} to say {words}")


def replaced(machine: Machine, name: str, pid: int) -> int:
    """Wait until a unit is ready with another process than ``pid``; returns it."""

    def other() -> int:
        found = machine.describe(name)
        new = found["pid"] if found["state"] == "ready" else 0
        return new if isinstance(new, int) and new != pid else 0

    return wait_for(other, f"another process of {name}")


def booted(machine: Machine, *names: str) -> Machine:
    """Boot and wait until these are ready."""
    machine.boot()
    for name in names:
        machine.wait_state(name, "ready")
    return machine


def reexec(machine: Machine) -> None:
    """Execute PID 1 anew and wait until it answers again."""
    machine.call("Reexec")
    wait_for(machine._answers, "PID 1 to answer again")


def break_pid_1(machine: Machine, number: int = signal.SIGSEGV) -> None:
    """Have PID 1 run into a fault and wait until it is there again."""
    faults = header(machine)["faults"]
    os.kill(machine.init_host_pid, number)

    def again() -> bool:
        return machine._answers() and header(machine)["faults"] != faults

    wait_for(again, "PID 1 to have taken up")


def header(machine: Machine) -> dict[str, object]:
    """What Status says of the machine itself."""
    found = machine.call("Status")["machine"]
    assert isinstance(found, dict)
    return found


def error(machine: Machine, member: str, **parameters: object) -> str:
    """The name of the error that a call is answered with, without its interface; or nothing."""
    try:
        machine.call(member, **parameters)
    except VarlinkError as problem:
        return problem.name.removeprefix(f"{CONTROL}.")
    return ""


def configure(machine: Machine, **files: str) -> dict[str, list[str]]:
    """Change units of the machine's own: name → text, empty to remove it; returns the change."""
    given = {f"units/{name}.toml": content for name, content in files.items()}
    change = machine.call("Configure", files=given)["change"]
    assert isinstance(change, dict)
    return change


def findings(machine: Machine, **files: str) -> list[str]:
    """What is wrong with a configuration that is refused."""
    given = {f"units/{name}.toml": content for name, content in files.items()}
    with pytest.raises(VarlinkError, match="InvalidConfiguration") as problem:
        machine.call("Configure", files=given)
    found = problem.value.parameters["findings"]
    assert isinstance(found, list)
    return found


def lines(path: Path) -> list[str]:
    """The lines of a file that services write; none when it is not there."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def alone(machine: Machine) -> None:
    """Wait until PID 1 is the only process of the machine."""
    wait_for(lambda: [one.pid for one in machine.processes()] == [1], "PID 1 to be alone")
