"""Agents that have a certificate under a real PID 1; a unit of the test's own plays the issuer."""

from __future__ import annotations

import os
from pathlib import Path

from ainit.policy.assembly import AGENT_UID_FIRST
from tests.pidns.machine import Machine

SHOWS = """
import os, signal
def show():
    names = sorted(os.listdir("/run/identity"))
    print("has", names, open("/run/identity/agent.pem").read(), flush=True)
signal.signal(signal.SIGUSR1, lambda *_: show())
try:
    show()
except OSError as error:
    print("has none:", error.strerror, flush=True)
while True:
    signal.pause()
"""
ISSUES = """
import json, os, signal, socket, sys
for name, user in json.loads(os.environ["AINOS_SETTINGS"])["agents"].items():
    folder = sys.argv[1] + "/" + name
    os.makedirs(folder)
    for file, text in (("agent.pem", "first of " + name), ("ca.pem", "authority")):
        with open(folder + "/" + file, "w") as written:
            written.write(text)
        os.chown(folder + "/" + file, 0, user)
        os.chmod(folder + "/" + file, 0o440)
    os.chown(folder, 0, user)
    os.chmod(folder, 0o750)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
    channel.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""
WAITS = """
import os, signal, socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
    channel.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


def issuer(machine: Machine, code: str) -> Path:
    """The unit of certificates; returns where it puts them."""
    folder = machine.directory / "run/identity"
    machine.unit(
        "identity",
        command=["/usr/bin/python3", "-I", "-c", code, str(folder)],
        provides=["org.ainos.Identity"],
        configured_by="identity",
        type="notify",
    )
    return folder


def replace(path: Path, text: str, group: int) -> None:
    """As the service does it."""
    (path.parent / "new").write_text(text)
    (path.parent / "new").chmod(0o440)
    os.chown(path.parent / "new", 0, group)
    (path.parent / "new").rename(path)


def test_an_agent_has_its_own_and_sees_it_renewed(machine: Machine) -> None:
    machine.tpm()
    folder = issuer(machine, ISSUES)
    for name in ("notes", "speech"):
        machine.agent(name, SHOWS, sandbox={"certificate": True}, reload_signal="USR1")
    machine.agent("other", SHOWS)
    machine.boot()
    for name in ("notes", "speech"):
        machine.wait_log(name, f"has ['agent.pem', 'ca.pem'] first of {name}")
    machine.wait_log("other", "has none: No such file or directory")
    replace(folder / "notes/agent.pem", "second", (folder / "notes").stat().st_gid)
    machine.call("ReloadUnit", name="notes")
    machine.wait_log("notes", "has ['agent.pem', 'ca.pem'] second")


def test_it_is_not_started_while_there_is_none(machine: Machine) -> None:
    machine.tpm()
    folder = issuer(machine, WAITS)
    machine.agent("notes", SHOWS, sandbox={"certificate": True})
    machine.agent("other", SHOWS)
    machine.boot()
    found = machine.wait_state("notes", "backoff")
    assert found["reason"] == "cannot start: it has no certificate; `ainitctl identity` says why"
    machine.wait_state("other", "ready")
    (folder / "notes").mkdir(parents=True)
    replace(folder / "notes/agent.pem", "late", AGENT_UID_FIRST)
    (folder / "notes").chmod(0o755)
    machine.wait_log("notes", "has ['agent.pem'] late")
