"""ainit itself: PID 1 of this checkout, over a plan that is compiled beforehand."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.host import REPOSITORY
from lib.supervisors.peer import RECORDS, SERVICE, START, Peer, write

sys.path.insert(1, str(REPOSITORY))

from ainit import constants
from ainit.child.client import Client
from ainit.child.compile import compile_plan
from ainit.errors import AinosError
from ainit.wire.codec import dumps

MACHINE = "[machine]\nhostname = 'bench'\n"
UNIT = f"""\
[service]
exec = ["{START}", "{{number}}", "{RECORDS}"]
type = "notify"
restart = "always"
[backoff]
first_s = 0
max_s = 0.01
limit = 0
"""
DONE = f"""\
[service]
exec = ["{SERVICE}", "once", "4294967294", "{RECORDS}"]
type = "oneshot"
restart = "never"
after = [{{all}}]
"""
CONTROL = "org.ainos.Control"
ANSWER_S = 60.0


def _configure(root: Path, count: int) -> None:
    names = [f"bench-{number}" for number in range(count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, unit in enumerate(names):
            write(folder / f"units/{unit}.toml", UNIT.format(number=number))
        everyone = ", ".join(f'"{unit}"' for unit in names)
        write(folder / "units/bench-done.toml", DONE.format(all=everyone))
        write(folder / "machine.toml", MACHINE)
        (folder / "agents").mkdir()
        machine = folder / "machine.toml"
        plan = compile_plan(machine, units=folder / "units", agents=folder / "agents")
    write(root / constants.PLAN.lstrip("/"), dumps(plan.to_record()))
    write(root / constants.DEFAULT_MACHINE.lstrip("/"), MACHINE)


def _socket(pid: int) -> str:
    return f"/proc/{pid}/root{constants.CONTROL}"


@contextmanager
def _control(pid: int) -> Iterator[Callable[[], None]]:
    with Client(_socket(pid), ANSWER_S) as client:
        yield lambda: _describe(client)


def _describe(client: Client) -> None:
    client.call(f"{CONTROL}.Describe", {"name": "bench-1"})


def _wait_answer(pid: int) -> None:
    end = time.monotonic() + ANSWER_S
    while True:
        try:
            with Client(_socket(pid), ANSWER_S) as client:
                _describe(client)
                return
        except AinosError:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


def _reexec(pid: int) -> None:
    """Ask, wait until the connection ends, then until PID 1 answers again."""
    with Client(_socket(pid), ANSWER_S) as client:
        client.call(f"{CONTROL}.Reexec")
        _wait_closed(client)
    _wait_answer(pid)


def _fault(pid: int) -> None:
    """A fatal signal instead of a request."""
    with Client(_socket(pid), ANSWER_S) as client:
        _describe(client)
        os.kill(pid, signal.SIGSEGV)
        _wait_closed(client)
    _wait_answer(pid)


def _wait_closed(client: Client) -> None:
    try:
        client.reply()
    except AinosError:
        pass  # the connection went with the process that was


NAME = "ainit"
PROGRAM = ("/usr/bin/python3", "-I", "-S", "/usr/lib/ainit/guest.py")
PEER = Peer(
    NAME,
    _configure,
    PROGRAM,
    note="type = notify, a cgroup and a log pipe each, journal",
    done=True,
    control=_control,
    reexec=_reexec,
    fault=_fault,
)
# The same, without what makes it survive faults.
FORGETFUL = Peer(
    "ainit, no journal", _configure, PROGRAM, done=True, environment={"BENCH_JOURNAL": "none"}
)
