"""Triggers, probes and credentials on a whole PID 1, also while it executes itself anew."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pidns.machine import Machine
from tests.support.wait import wait_for

# Answers every connection with its pid, as a daemon that knows nothing of ainit.
DAEMON = """
import os, socket
assert os.environ["LISTEN_FDS"] == "1" and os.environ["LISTEN_FDNAMES"] == "web"
assert os.environ["LISTEN_PID"] == str(os.getpid())
print("began", flush=True)
server = socket.socket(fileno=3)
while True:
    peer, _ = server.accept()
    peer.sendall(str(os.getpid()).encode())
    peer.close()
"""
COUNT = "import sys; open(sys.argv[1], 'a').write('x')"
EMPTY = COUNT + "; import os; os.unlink(sys.argv[2])"


def python(code: str, *arguments: object) -> str:
    """An ``exec`` key that runs a program."""
    words = ["/usr/bin/python3", "-I", "-c", code, *map(str, arguments)]
    return f"exec = {json.dumps(words)}\nstop_timeout_s = 30"


def write(machine: Machine, name: str, text: str) -> None:
    (machine.directory / f"units/{name}.toml").write_text(f"[service]\n{text}")


def ask(path: Path) -> int:
    """A conversation with the daemon: its pid."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        return int(client.recv(64))


def boots(machine: Machine, name: str) -> int:
    return machine.log(name).count("began")


def reexec(machine: Machine) -> None:
    """Execute PID 1 anew and wait until it answers again."""
    machine.call("Reexec")
    wait_for(machine._answers, "PID 1 to answer again")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_size(path: Path, least: int) -> None:
    wait_for(lambda: size(path) >= least, f"{path} to have {least} bytes")


@pytest.fixture
def daemon(machine: Machine) -> Machine:
    sock = machine.directory / "web"
    write(
        machine,
        "web",
        f"{python(DAEMON)}\n[[socket]]\nlisten = 'unix:{sock}'\nname = 'web'\n"
        "[activation]\non_demand = true\n",
    )
    return machine


def test_the_first_connection_starts_a_daemon_that_answers_it(daemon: Machine) -> None:
    daemon.boot()
    assert daemon.state("web") == "inactive"
    assert ask(daemon.directory / "web")
    assert daemon.describe("web")["trigger"] == f"a connection to unix:{daemon.directory}/web"
    assert boots(daemon, "web") == 1


def test_a_daemon_that_crashes_or_was_stopped_costs_no_connection(daemon: Machine) -> None:
    daemon.boot()
    first = ask(daemon.directory / "web")
    daemon.kill(first)
    wait_for(lambda: daemon.describe("web")["pid"] != first, "its end")
    second = ask(daemon.directory / "web")
    daemon.call("Stop", name="web")
    daemon.wait_state("web", "inactive")
    third = ask(daemon.directory / "web")
    assert len({first, second, third}) == 3
    assert boots(daemon, "web") == 3


@pytest.mark.parametrize("up", [False, True])
def test_pid_1_that_executes_itself_anew_keeps_the_socket(daemon: Machine, up: bool) -> None:
    daemon.boot()
    before = ask(daemon.directory / "web") if up else 0
    reexec(daemon)
    assert daemon.state("web") == ("ready" if up else "inactive")
    after = ask(daemon.directory / "web")
    assert (after == before) == up
    reexec(daemon)
    assert ask(daemon.directory / "web") == after
    assert boots(daemon, "web") == 1


def test_a_daemon_that_leaves_its_clients_waiting_is_held(machine: Machine) -> None:
    sock = machine.directory / "x"
    write(
        machine,
        "broken",
        f"exec = ['/bin/true']\ntype = 'oneshot'\nrestart = 'never'\n"
        f"[[socket]]\nlisten = 'unix:{sock}'\n[activation]\non_demand = true\n",
    )
    machine.boot()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(sock))
        found = machine.wait_state("broken", "failed")
        assert found["reason"] == f"what waits at unix:{sock} started it 20 times in 10 s"
        reexec(machine)
        assert machine.state("broken") == "failed"


def test_a_timer_goes_on_over_a_new_pid_1(machine: Machine) -> None:
    count = machine.directory / "count"
    write(
        machine,
        "tick",
        f"{python(COUNT, count)}\ntype = 'oneshot'\nrestart = 'never'\n[timer]\nevery_s = 0.3\n",
    )
    machine.boot()
    for _ in range(3):
        before = size(count)
        wait_size(count, before + 2)
        reexec(machine)
    assert machine.describe("tick")["trigger"] == "its timer: 0.3 s after its last start"


def changed(path: Path) -> None:
    """One event: a file that is made in place has changed then, and again when it is closed."""
    new = path.with_suffix(".new")
    new.write_text("more")
    new.rename(path)


@pytest.mark.parametrize(
    ("key", "happen"), [("exists", Path.touch), ("changed", changed), ("not_empty", Path.mkdir)]
)
def test_a_path_starts_a_unit_once_each_time(
    machine: Machine, key: str, happen: Callable[[Path], None]
) -> None:
    count, path = machine.directory / "count", machine.directory / "deep" / "path"
    code = COUNT
    if key == "exists":
        code = EMPTY
    elif key == "not_empty":
        code = COUNT + "; import os; os.rmdir(sys.argv[2] + '/job')"
    write(
        machine,
        "work",
        f"{python(code, count, path)}\ntype = 'oneshot'\nrestart = 'never'\n"
        f"[[path]]\n{key} = '{path}'\n",
    )
    machine.boot()
    assert machine.state("work") == "inactive"
    path.parent.mkdir()
    for times in (1, 2):
        if key == "not_empty":
            path.mkdir(exist_ok=True)
        happen(path / "job" if key == "not_empty" else path)
        wait_size(count, times)
        machine.wait_state("work", "exited")
        reexec(machine)
    # A file that is replaced says so once more by itself: while the unit runs, a change, too.
    assert size(count) in ((2, 3) if key == "changed" else (2,))


def test_a_path_whose_unit_runs_is_no_reason_for_a_second_by_a_new_pid_1(machine: Machine) -> None:
    count, path = machine.directory / "count", machine.directory / "path"
    path.touch()
    code = COUNT + "; import signal; signal.pause()"
    write(machine, "work", f"{python(code, count)}\n[[path]]\nexists = '{path}'\n")
    machine.boot()
    machine.wait_state("work", "ready")
    pid = machine.pid("work")
    wait_size(count, 1)
    for _ in range(3):
        reexec(machine)
    assert (machine.pid("work"), size(count)) == (pid, 1)


def test_a_unit_that_fails_its_probe_is_started_anew(machine: Machine) -> None:
    well = machine.directory / "well"
    well.touch()
    write(
        machine,
        "patient",
        f"exec = ['/bin/sleep', 'inf']\nstop_timeout_s = 30\n"
        f"[backoff]\nfirst_s = 0.01\n"
        f"[probe]\nexec = ['/usr/bin/test', '-e', '{well}']\ninterval_s = 0.1\nfailures = 2\n",
    )
    machine.boot()
    first = machine.wait_state("patient", "ready")["pid"]
    reexec(machine)  # which has to go on asking
    well.unlink()
    wait_for(lambda: machine.describe("patient")["pid"] not in (first, 0, None), "another process")
    well.touch()
    words = "its probe failed 2 times in a row: /usr/bin/test exited with status 1"
    assert words in machine.log("patient")


def test_a_unit_is_ready_when_it_takes_its_first_connection(machine: Machine) -> None:
    path = machine.directory / "late"
    code = (
        "import os, socket, sys, time\n"
        "while not os.path.exists(sys.argv[1] + '.go'): time.sleep(0.01)\n"
        "server = socket.socket(socket.AF_UNIX)\n"
        "server.bind(sys.argv[1])\n"
        "server.listen()\n"
        "while True: server.accept()[0].close()\n"
    )
    write(
        machine,
        "late",
        f"{python(code, path)}\n"
        f"[probe]\nconnect = 'unix:{path}'\nreadiness = true\ninterval_s = 0.2\n",
    )
    machine.boot()
    assert machine.state("late") == "starting"
    Path(f"{path}.go").touch()
    machine.wait_state("late", "ready")


def test_credentials_are_for_the_unit_alone_and_only_while_it_is_up(machine: Machine) -> None:
    secret = machine.directory / "secret"
    secret.write_text("swordfish")
    secret.chmod(0o600)
    code = (
        "import os, signal\n"
        "path = os.environ['CREDENTIALS_DIRECTORY']\n"
        "print(os.getuid(), open(path + '/token').read(), oct(os.stat(path).st_mode), flush=True)\n"
        "signal.pause()\n"
    )
    write(
        machine, "vault", f"{python(code)}\nuser = 4321\ncredentials = {{ token = '{secret}' }}\n"
    )
    write(
        machine,
        "empty",
        f"{python(code)}\nessential = false\ncredentials = {{ token = '{secret}.none' }}\n",
    )
    machine.boot()
    machine.wait_log("vault", "4321 swordfish 0o40500")
    reason = machine.wait_state("empty", "refused")["reason"]
    assert reason == (
        f"credential token of empty: {secret}.none cannot be opened: No such file or directory"
    )
    where = machine.directory / "run/credentials"
    assert os.listdir(where) == ["vault"]
    machine.call("Stop", name="vault")
    machine.wait_state("vault", "inactive")
    wait_for(lambda: os.listdir(where) == [], "the directory to be gone")


def test_a_device_of_a_unit_is_looked_for_by_the_child(machine: Machine) -> None:
    write(machine, "modem", "exec = ['/bin/true']\n[[device]]\nSUBSYSTEM = 'tty'\n")
    machine.boot()
    wanted = (machine.directory / "run/devices.json").read_text()
    assert wanted == '{"modem":[{"SUBSYSTEM":"tty"}]}'
    assert machine.state("modem") == "inactive"
    machine.call("Trigger", name="modem", reason="the device ttyS0 appeared")
    found = wait_for(lambda: machine.describe("modem"), "its record")
    assert found["trigger"] == "the device ttyS0 appeared"
