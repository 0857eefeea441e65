"""Logs of a real PID 1: floods, blocked readers, restarts, and the service that keeps them."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ainit.child.client import Client
from ainit.errors import UnavailableError
from ainit.log.files import MARK, series
from ainit.wire import protocol
from tests.pidns.machine import ACTOR, CONTROL, Machine, toml
from tests.support.wait import wait_for

METHOD = f"{CONTROL}.Logs"
COUNT = """
import os, time
number = 0
while True:
    os.write(1, b"".join(b"%d\\n" % one for one in range(number, number + 10)))
    number += 10
    time.sleep(0.001)
"""
LOG = """
import sys
sys.path[:0] = [{repository!r}]
from ainit import constants
constants.STATE, constants.CONTROL = {state!r}, {control!r}
from ainit.log.__main__ import main
sys.exit(main())
"""


def counting(machine: Machine, name: str, **logs: object) -> None:
    """A unit that counts as fast as its pipe takes it, ten lines at a time."""
    service = {"exec": ["/usr/bin/python3", "-I", "-c", COUNT], "stop_timeout_s": 5}
    sections = {"service": service, **({"logs": logs} if logs else {})}
    (machine.directory / f"units/{name}.toml").write_text(toml(sections), encoding="utf-8")


def numbers(lines: object) -> list[int]:
    """The numbers that a counting unit wrote."""
    assert isinstance(lines, list)
    return [int(line["text"]) for line in lines if line["source"] == "unit"]


def dropped(machine: Machine, unit: str) -> int:
    found = machine.call("Logs", unit=unit, lines=0)["dropped"]
    assert isinstance(found, int)
    return found


def test_structured_records_priorities_and_pid_1s_own_words(machine: Machine) -> None:
    code = "print('<3>disk full'); print('{\"a\": [1]}'); print('plain', end='', flush=True)"
    machine.unit("service", command=["/usr/bin/python3", "-I", "-c", code], restart="never")
    machine.boot()
    machine.wait_log("service", "plain")
    lines = machine.call("Logs", unit="service")["lines"]
    assert isinstance(lines, list)
    own = [
        (line["text"], line["priority"], line["fields"])
        for line in lines
        if line["source"] == "unit"
    ]
    assert own == [("disk full", 3, None), ('{"a": [1]}', 6, {"a": [1]}), ("plain", 6, None)]
    assert [line["text"] for line in lines if line["source"] == "ainit"][:1] == ["starting"]


def test_floods_cost_their_own_lines_and_nobody_elses(machine: Machine) -> None:
    for number in range(4):
        machine.unit(f"flood{number}", "flood")
    counting(machine, "small", ring="64K")
    machine.unit("quiet", "pause")
    machine.boot()
    machine.wait_log("quiet", "paused")
    for number in range(4):
        wait_for(lambda: dropped(machine, f"flood{number}") > 2_000_000, "every flood to overrun")  # noqa: B023
    wait_for(lambda: dropped(machine, "small") > 0, "a ring of its own size to be full")
    assert machine.state("quiet") == "ready"
    assert dropped(machine, "quiet") == 0
    kept = machine.call("Logs", unit="small", lines=10_000)["lines"]
    found = numbers(kept)
    assert found == list(range(found[0], found[0] + len(found)))
    assert sum(len(str(number)) + 1 for number in found) <= 65536


def test_a_reader_that_does_not_read_holds_up_nobody(machine: Machine) -> None:
    machine.unit("flood", "flood")
    machine.unit("quiet", "pause")
    machine.boot()
    blocked = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    try:
        for channel in blocked:
            channel.connect(machine.control)
            channel.sendall(protocol.call(METHOD, {"follow": True, "cursors": {}}, more=True))
        start = dropped(machine, "flood")
        wait_for(lambda: dropped(machine, "flood") > start + 5_000_000, "the flood to go on")
        machine.call("Restart", name="quiet")
        machine.wait_state("quiet", "ready")
    finally:
        for channel in blocked:
            channel.close()


def test_a_follower_sees_every_line_of_every_incarnation_or_is_told(machine: Machine) -> None:
    counting(machine, "counter")
    machine.boot()
    with Client(machine.control, timeout=60) as follower:
        replies = follower.more(METHOD, {"unit": "counter", "follow": True, "cursors": {}})
        seen = numbers(next(replies)["lines"])
        while len(seen) < 500:
            seen += numbers(next(replies)["lines"])
        os.kill(host_pid(machine, "counter"), signal.SIGKILL)
        while 0 not in seen[500:]:
            reply = next(replies)
            assert reply["dropped"] == 0
            seen += numbers(reply["lines"])
    second = 500 + seen[500:].index(0)
    assert seen[:second] == list(range(second))
    assert seen[second:] == list(range(len(seen) - second))


def host_pid(machine: Machine, unit: str) -> int:
    inside = machine.pid(unit)
    return next(one.host_pid for one in machine.processes() if one.pid == inside)


def test_an_orphan_of_an_earlier_incarnation_is_read_on(machine: Machine) -> None:
    """``stubborn`` leaves a grandchild with its own session, which outlives the main process."""
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    path = sys.argv[1]\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "    print('from the orphan', flush=True)\n"
        "    time.sleep(3600)\n"
        "print('main', flush=True)\n"
    )
    mark = machine.directory / "speak"
    command = ["/usr/bin/python3", "-I", "-c", code, str(mark)]
    machine.unit("parent", command=command, type="forking", restart="never")
    machine.boot()
    machine.wait_log("parent", "main")
    mark.touch()
    machine.wait_log("parent", "from the orphan")


@contextmanager
def kept(machine: Machine) -> Iterator[Path]:
    """A machine with the log service; gives the folder of its files."""
    code = LOG.format(
        repository=str(Path(__file__).resolve().parents[2]),
        state=f"{machine.directory}/state",
        control=machine.control,
    )
    machine.unit(
        "log",
        command=["/usr/bin/python3", "-I", "-c", code],
        type="notify",
        provides=["org.ainos.Log"],
        essential=False,
    )
    machine.boot()
    machine.wait_state("log", "ready")
    yield machine.directory / "state/log"


def written(folder: Path, unit: str) -> list[str]:
    """The lines in a unit's files, the oldest first; a batch that is being written is not there."""
    found: list[str] = []
    for path in reversed(series(folder, unit)):
        with suppress(FileNotFoundError):
            batches, mark, _ = path.read_bytes().rpartition(MARK)
            if mark:
                records = [json.loads(line) for line in batches.splitlines()]
                found += [record["text"] for record in records if record.get("source") == "unit"]
    return found


def test_the_files_hold_every_line_once_though_their_writer_is_killed(machine: Machine) -> None:
    machine.unit("service", command=[*ACTOR, "pause"])
    counting(machine, "counter", ring="4M")
    with kept(machine) as folder:
        wait_for(lambda: "paused" in written(folder, "service"), "the line to be in the file")
        for _ in range(3):
            at = len(written(folder, "counter"))
            machine.kill(machine.pid("log"))
            wait_for(lambda: len(written(folder, "counter")) > at + 500, "more lines")  # noqa: B023
            machine.wait_state("log", "ready")
        machine.call("Stop", name="counter")
        machine.wait_state("counter", "inactive")
        wait_for(lambda: last(machine) in written(folder, "counter"), "the last line")
        found = [int(text) for text in written(folder, "counter")]
        assert found == list(range(len(found)))
        reply = machine.call("org.ainos.Log.Read", unit="service")
        assert isinstance(reply["lines"], list)
        assert "paused" in [line["text"] for line in reply["lines"]]


def last(machine: Machine) -> str:
    return str(numbers(machine.call("Logs", unit="counter", lines=50)["lines"])[-1])


@pytest.mark.parametrize("how", ["Reexec", "follow"])
def test_nothing_is_lost_or_repeated_over_a_restart_of_pid_1(machine: Machine, how: str) -> None:
    counting(machine, "counter", ring="4M")
    machine.boot()
    cursors: dict[str, object] = {}
    seen: list[int] = []
    for turn in range(1, 6):
        try:
            with Client(machine.control, timeout=60) as follower:
                parameters = {"unit": "counter", "follow": True, "cursors": cursors}
                for reply in follower.more(METHOD, parameters):
                    seen += numbers(reply["lines"])
                    assert isinstance(reply["cursors"], dict)
                    cursors |= reply["cursors"]
                    assert reply["dropped"] == 0
                    if len(seen) > 500 * turn:
                        if how == "follow":
                            break
                        machine.call("Reexec")
        except UnavailableError:
            assert how == "Reexec"
    assert seen == list(range(len(seen)))
    assert len(seen) > 2500
