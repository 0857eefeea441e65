"""Services that attack PID 1 and their neighbours: alone, in pairs, and with the powers of root.

One machine for all of them. The neighbours keep their processes over everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lib import soak_hostile
from lib.machine import Machine
from lib.process import wait_until
from lib.soak_hostile import SINGLES, Ground

from tests.qemu import hostile, story

Data = dict[str, Any]

# Each attack with one other; every pair is for `make soak-supervisor`, and so are those of ten
# thousand zombies, which take minutes to make on emulated processors.
_QUICK = [name for name in hostile.ATTACKS if name != "zombies"]
PAIRS = tuple(zip(_QUICK, _QUICK[1:] + _QUICK[:1], strict=True))

ATTEMPTS = "refused seize errno 1, attach errno 1, descriptor errno 1, memory errno 13"
# Root with every capability tries to stop PID 1.
TRACER = """\
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
os.write(1, b"refused\\n" if libc.ptrace(16, 1, None, None) < 0 else b"stopped PID 1\\n")
"""
OWNER_SOCKET = "/run/owner/socket"
OWNER = """\
import os, socket
listener = socket.socket(fileno=3)
while True:
    channel, _ = listener.accept()
    channel.sendall(b"owner")
    channel.close()
"""
# What root can do to the name of somebody else's socket.
TAKE = (
    f"import os, socket; os.unlink('{OWNER_SOCKET}'); "
    f"s = socket.socket(socket.AF_UNIX); s.bind('{OWNER_SOCKET}')"
)
ASK = (
    f"import socket; s = socket.socket(socket.AF_UNIX); s.connect('{OWNER_SOCKET}'); "
    "print(s.recv(9).decode())"
)
# Its user is PID 1's own, which is all that it takes to send a signal: that is another matter.
POWERLESS = hostile.Attack(
    hostile.PTRACE.replace(
        "told =", "del attempts['kill'], attempts['fault'], attempts['watched']\ntold =", 1
    ),
    hostile.ATTACKS["ptrace"].shown,
)
UNITS = {
    **hostile.units(),
    "ptrace-powerless": hostile.attacker(POWERLESS, "user = 0\ncapabilities = []"),
    "tracer": f"[service]\n{hostile.command(TRACER)}\nrestart = 'never'\nautostart = false\n"
    "essential = false\n",
    "owner": f"[service]\n{hostile.command(OWNER)}\nessential = false\n"
    f"[[socket]]\nlisten = 'unix:{OWNER_SOCKET}'\n",
}


@pytest.fixture(scope="module")
def ground(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The machine with its neighbours and attackers, at rest."""
    with Machine(image, tmp_path_factory.mktemp("machine")) as machine:
        machine.alter(soak_hostile.install(tmp_path_factory.mktemp("units"), UNITS))
        story.boot(machine)
        yield Ground(machine)
        machine.power_off()


def told(machine: Machine, name: str, word: str) -> str:
    """A line of a unit that holds the word, once there is one."""
    found: list[str] = []

    def look() -> bool:
        lines = machine.call("org.ainos.Control.Logs", {"unit": name, "lines": 100})["lines"]
        found[:] = [line["text"] for line in lines if word in line["text"]]
        return bool(found)

    assert wait_until(look, soak_hostile.DEADLINE_S), f"{name} never said {word}"
    return found[-1]


def in_python(machine: Machine, code: str) -> str:
    """What a line of Python says that root runs."""
    return story.in_shell(machine, f'/usr/bin/python3 -I -S -c "{code}" 2>&1').strip()


@pytest.mark.parametrize("names", [*SINGLES, *PAIRS], ids="+".join)
def test_neighbours_live_on(ground: Ground, names: tuple[str, ...]) -> None:
    outcome = ground.attack(names)
    soak_hostile.keep(outcome)
    assert outcome.problems == ()
    assert (outcome.restarts, outcome.faults) == (0, 0)
    assert ("log-flood" in names) == (outcome.dropped > hostile.FLOOD_BYTES)


def test_root_without_capabilities_may_not_trace_pid_1(ground: Ground) -> None:
    call, name = ground.machine.call, "ptrace-powerless"
    call("org.ainos.Control.Start", {"name": name})
    assert ATTEMPTS in told(ground.machine, name, hostile.EVIDENCE)
    call("org.ainos.Control.Stop", {"name": name})
    story.until(ground.machine, name, lambda unit: unit["state"] == "inactive")


def test_root_with_every_capability_may_not_trace_pid_1(ground: Ground) -> None:
    ground.machine.call("org.ainos.Control.Start", {"name": "tracer"})
    assert told(ground.machine, "tracer", "refused") == "refused"
    story.until(ground.machine, "tracer", lambda unit: unit["state"] == "exited")


def test_a_name_that_root_took_away_is_back_with_the_next_start(ground: Ground) -> None:
    before = story.until(ground.machine, "owner", lambda unit: unit["state"] == "ready")
    assert in_python(ground.machine, ASK) == "owner"
    assert in_python(ground.machine, TAKE) == ""
    assert "ConnectionRefusedError" in in_python(ground.machine, ASK)
    ground.machine.call("org.ainos.Control.Restart", {"name": "owner"})
    story.until_ready_again(ground.machine, before)
    assert in_python(ground.machine, ASK) == "owner"
