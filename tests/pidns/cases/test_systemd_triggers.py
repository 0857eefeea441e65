"""What starts a unit: ported from systemd's test-path, TEST-63-PATH, the tests of sockets
(poll-limit, socket-on-failure and issue-… of TEST-07-PID1) and of timers, and probes beside them.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.pidns.cases.kit import (
    FAST,
    NEVER,
    PAUSE,
    TRUE,
    booted,
    puppet,
    reexec,
    replaced,
    shell,
    string,
    target,
    tell,
    unit,
)
from tests.pidns.machine import ACTOR, Machine
from tests.support.wait import wait_for

HOUR = 3600
ONESHOT: dict[str, object] = {"type": "oneshot", "restart": "never"}


def runs(machine: Machine, name: str) -> int:
    """How often a unit was started."""
    return machine.log(name).count("starting")


def wait_runs(machine: Machine, name: str, count: int) -> None:
    wait_for(lambda: runs(machine, name) >= count, f"{name} to run {count} times")
    machine.wait_state(name, "exited", "ready")


def listen(*addresses: str, on_demand: bool = False, name: str = "") -> str:
    """The sockets of a unit."""
    tables = [f"[[socket]]\nlisten = '{address}'\n" for address in addresses]
    if name:
        tables = [f"{table}name = '{name}-{index}'\n" for index, table in enumerate(tables)]
    return "".join(tables) + ("[activation]\non_demand = true\n" if on_demand else "")


def connect(address: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, kind)
    channel.settimeout(60)
    channel.connect(address)
    return channel


# test-path, TEST-63-PATH


def test_systemd_path_exists(machine: Machine) -> None:
    """A path that appears starts the unit, each time anew."""
    path = machine.directory / "x"
    unit(machine, "a", shell(f"rm {path}"), **ONESHOT, more=f"[[path]]\nexists = '{path}'\n")
    machine.boot()
    assert machine.state("a") == "inactive"
    for times in (1, 2):
        path.touch()
        wait_runs(machine, "a", times)
        wait_for(lambda: not path.exists(), "it to be removed")
    assert machine.describe("a")["trigger"] == f"{path} exists"


def test_systemd_path_exists_already(machine: Machine) -> None:
    """One that is there at boot starts it at once."""
    path = machine.directory / "x"
    path.touch()
    unit(machine, "a", shell(f"rm {path}"), **ONESHOT, more=f"[[path]]\nexists = '{path}'\n")
    machine.boot()
    wait_runs(machine, "a", 1)


def test_systemd_path_changed(machine: Machine) -> None:
    """A file that is written, replaced or removed starts it; one that is only read does not."""
    path = machine.directory / "x"
    path.write_text("1")
    unit(machine, "a", TRUE, **ONESHOT, more=f"[[path]]\nchanged = '{path}'\n")
    machine.boot()
    path.read_text()
    path.write_text("two")
    wait_runs(machine, "a", 1)
    other = machine.directory / "y"
    other.write_text("three")
    other.rename(path)
    wait_runs(machine, "a", 2)
    path.unlink()
    wait_runs(machine, "a", 3)


def test_systemd_path_directorynotempty(machine: Machine) -> None:
    """A directory that gets an entry starts it; an empty one that is made does not."""
    path = machine.directory / "spool"
    more = f"[[path]]\nnot_empty = '{path}'\n"
    unit(machine, "a", shell(f"rm {path}/*"), **ONESHOT, more=more)
    machine.boot()
    path.mkdir()
    reexec(machine)
    assert machine.state("a") == "inactive"
    (path / "job").touch()
    wait_runs(machine, "a", 1)


def test_systemd_path_makedirectory(machine: Machine) -> None:
    """Directories above may come, go and come again."""
    path = machine.directory / "some/where/x"
    unit(machine, "a", shell(f"rm {path}"), **ONESHOT, more=f"[[path]]\nexists = '{path}'\n")
    machine.boot()
    for times in (1, 2):
        path.parent.mkdir(parents=True)
        path.touch()
        wait_runs(machine, "a", times)
        wait_for(lambda: not path.exists(), "it to be removed")
        path.parent.rmdir()
        path.parent.parent.rmdir()


def test_systemd_path_unit(machine: Machine) -> None:
    """A target can be triggered, and pulls in what it needs."""
    path = machine.directory / "x"
    target(machine, "group", requires=["member"])
    with open(machine.directory / "units/group.toml", "a") as file:
        file.write(f"[[path]]\nexists = '{path}'\n")
    unit(machine, "member", PAUSE, autostart=False)
    machine.boot()
    path.touch()
    machine.wait_state("group", "ready")
    assert machine.state("member") == "ready"


def test_systemd_63_path_several(machine: Machine) -> None:
    """Any of several paths starts it."""
    one, two = machine.directory / "one", machine.directory / "two"
    more = f"[[path]]\nexists = '{one}'\n[[path]]\nexists = '{two}'\n"
    unit(machine, "a", shell(f"rm -f {one} {two}"), **ONESHOT, more=more)
    machine.boot()
    for times, path in enumerate((two, one), 1):
        path.touch()
        wait_runs(machine, "a", times)
        wait_for(lambda: not path.exists(), "it to be removed")  # noqa: B023


def test_systemd_63_path_trigger_limit(machine: Machine) -> None:
    """A unit that leaves the path as it is is not started for ever, and a start releases it."""
    path = machine.directory / "x"
    path.touch()
    unit(machine, "a", TRUE, **ONESHOT, more=f"[[path]]\nexists = '{path}'\n")
    machine.boot()
    machine.wait_state("a", "failed")
    count = runs(machine, "a")
    assert count == 20
    path.unlink()
    machine.call("Start", name="a")
    wait_runs(machine, "a", count + 1)
    machine.wait_state("a", "exited")


# Sockets


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("unix", socket.SOCK_STREAM),
        ("unix-datagram", socket.SOCK_DGRAM),
        ("unix-seqpacket", socket.SOCK_SEQPACKET),
    ],
)
def test_systemd_socket_activation(machine: Machine, prefix: str, kind: int) -> None:
    """The first connection or datagram starts the unit, which finds it in the queue."""
    path = f"{machine.directory}/sock"
    puppet(machine, "a", more=listen(f"{prefix}:{path}", on_demand=True))
    machine.boot()
    assert machine.state("a") == "inactive"
    with connect(path, kind) as client:
        client.send(b"first")
        machine.wait_state("a", "ready")
        code = "server = socket.socket(fileno=3)\n"
        code += "peer = server if server.type == socket.SOCK_DGRAM else server.accept()[0]\n"
        assert tell(machine, "a", f"{code}answer = peer.recv(9).decode()") == "first"
    assert machine.describe("a")["trigger"] == f"a connection to {prefix}:{path}"


def test_systemd_socket_activation_tcp(machine: Machine) -> None:
    """TCP works the same way, over IPv4 and IPv6."""
    with socket.socket() as one, socket.socket(socket.AF_INET6) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("::1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    addresses = f"tcp:127.0.0.1:{ports[0]}", f"tcp:[::1]:{ports[1]}"
    puppet(machine, "a", more=listen(*addresses, on_demand=True))
    machine.boot()
    with socket.create_connection(("127.0.0.1", ports[0]), 60):
        machine.wait_state("a", "ready")
    with socket.create_connection(("::1", ports[1]), 60):
        code = "answer = [socket.socket(fileno=one).family for one in (3, 4)]"
        assert tell(machine, "a", code) == [socket.AF_INET, socket.AF_INET6]


def test_systemd_socket_activation_udp(machine: Machine) -> None:
    """A datagram over UDP starts the unit and waits for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    puppet(machine, "a", more=listen(f"udp:127.0.0.1:{port}", on_demand=True))
    machine.boot()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"first", ("127.0.0.1", port))
    machine.wait_state("a", "ready")
    assert tell(machine, "a", "answer = socket.socket(fileno=3).recv(9).decode()") == "first"


def test_systemd_socket_activation_names(machine: Machine) -> None:
    """Several sockets come in the order of the file, counted and named."""
    addresses = [f"unix:{machine.directory}/s{index}" for index in range(3)]
    puppet(machine, "a", more=listen(*addresses, name="sock"))
    puppet(machine, "b", more=listen(f"unix:{machine.directory}/t"))
    booted(machine, "a", "b")
    code = "e = os.environ; answer = [e['LISTEN_FDS'], e['LISTEN_FDNAMES'], e['LISTEN_PID']]"
    pid = str(machine.pid("a"))
    assert tell(machine, "a", code) == ["3", "sock-0:sock-1:sock-2", pid]
    assert tell(machine, "b", code) == ["1", "b", str(machine.pid("b"))]
    code = "answer = [socket.socket(fileno=one).getsockname()[-1] for one in (3, 4, 5)]"
    assert tell(machine, "a", code) == ["0", "1", "2"]


def test_systemd_socket_mode_and_owner(machine: Machine) -> None:
    """A Unix socket has the mode of the unit file and belongs to the unit's user."""
    path = machine.directory / "sock"
    more = f"[[socket]]\nlisten = 'unix:{path}'\nmode = '0600'\n"
    puppet(machine, "a", user=4321, more=more)
    booted(machine, "a")
    found = path.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o600, 4321, 4321)


def test_systemd_07_pid1_socket_on_failure(machine: Machine) -> None:
    """A unit that fails is tried again by its own policy, for the connection that waits."""
    path = f"{machine.directory}/sock"
    flag = machine.directory / "flag"
    command = shell(f"test -e {flag} || {{ touch {flag}; exit 1; }}; exec sleep inf")
    unit(machine, "a", command, backoff=FAST, more=listen(f"unix:{path}", on_demand=True))
    machine.boot()
    with connect(path):
        wait_for(lambda: flag.exists() and runs(machine, "a") == 2, "the second")
        machine.wait_state("a", "ready")


def test_systemd_07_pid1_socket_on_failure_held(machine: Machine) -> None:
    """One that is held as failed is not started by its clients, who wait; a start serves them."""
    path = f"{machine.directory}/sock"
    flag = machine.directory / "flag"
    command = shell(f"test -e {flag} && exec sleep inf")
    more = listen(f"unix:{path}", on_demand=True)
    unit(machine, "a", command, restart="never", more=more)
    machine.boot()
    with connect(path):
        machine.wait_state("a", "failed")
        connect(path).close()
        assert (machine.state("a"), runs(machine, "a")) == ("failed", 1)
        flag.touch()
        machine.call("Start", name="a")
        machine.wait_state("a", "ready")


def test_systemd_07_pid1_poll_limit(machine: Machine) -> None:
    """A unit that leaves its clients waiting is held after so many starts in a row."""
    path = f"{machine.directory}/sock"
    more = listen(f"unix:{path}", on_demand=True)
    unit(machine, "a", TRUE, **ONESHOT, more=more)
    machine.boot()
    with connect(path):
        assert "20 times in 10 s" in str(machine.wait_state("a", "failed")["reason"])
        assert runs(machine, "a") == 20


def test_systemd_07_pid1_socket_kept(machine: Machine) -> None:
    """Over a restart, a crash and a stop the same socket stays: its clients are never refused."""
    path = Path(f"{machine.directory}/sock")
    puppet(machine, "a", backoff=FAST, more=listen(f"unix:{path}"))
    booted(machine, "a")
    inode = path.stat().st_ino
    for member in ("Restart", "", "Stop"):
        pid = machine.pid("a")
        with connect(str(path)) as client:
            if member:
                machine.call(member, name="a")
            else:
                machine.kill(pid)
            if member == "Stop":
                machine.wait_state("a", "inactive")
                machine.call("Start", name="a")
            replaced(machine, "a", pid)
            code = "socket.socket(fileno=os.dup(3)).accept()[0].send(b'served')"
            tell(machine, "a", code)
            assert client.recv(9) == b"served"
    assert path.stat().st_ino == inode


def test_systemd_socket_taken_away(machine: Machine) -> None:
    """A socket whose name somebody removed is made anew with the next start."""
    path = Path(f"{machine.directory}/sock")
    puppet(machine, "a", more=listen(f"unix:{path}"))
    booted(machine, "a")
    pid = machine.pid("a")
    path.unlink()
    machine.call("Restart", name="a")
    replaced(machine, "a", pid)
    connect(str(path)).close()


def test_systemd_socket_name_in_use(machine: Machine) -> None:
    """A file that is no socket is left alone, and the unit says so."""
    path = Path(f"{machine.directory}/sock")
    path.write_text("precious")
    puppet(machine, "a", more=listen(f"unix:{path}"), backoff=NEVER)
    machine.boot()
    found = machine.wait_state("a", "backoff", "failed", "refused")
    assert str(path) in str(found["reason"])
    assert path.read_text() == "precious"


# Timers


def test_systemd_timer_on_boot(machine: Machine) -> None:
    """A time after boot that is past starts the unit at once, and only once."""
    unit(machine, "a", TRUE, **ONESHOT, timer={"boot_s": 0.001})
    machine.boot()
    wait_runs(machine, "a", 1)
    reexec(machine)
    assert runs(machine, "a") == 1
    assert "0.001 s after boot" in str(machine.describe("a")["trigger"])


def test_systemd_timer_on_unit_active(machine: Machine) -> None:
    """Every so often, counted from each start, whoever asked for it."""
    unit(machine, "a", TRUE, **ONESHOT, timer={"every_s": 0.1})
    machine.boot()
    wait_runs(machine, "a", 3)
    machine.call("Start", name="a")
    wait_runs(machine, "a", 6)


def test_systemd_timer_on_calendar(machine: Machine) -> None:
    """A calendar that comes true every second does so."""
    unit(machine, "a", TRUE, **ONESHOT, timer={"calendar": "*:*:*"})
    machine.boot()
    wait_runs(machine, "a", 1)
    assert machine.describe("a")["trigger"] is not None


def test_systemd_timer_on_calendar_past(machine: Machine) -> None:
    """A time that is past is not made up for on a machine that never saw it."""
    unit(machine, "a", TRUE, **ONESHOT, timer={"calendar": "2030-01-01 12:00", "persistent": True})
    unit(machine, "b", TRUE, **ONESHOT, timer={"boot_s": 0.001})
    machine.boot()
    wait_runs(machine, "b", 1)
    assert machine.state("a") == "inactive"


def test_systemd_timer_persistent(machine: Machine) -> None:
    """A time that passed while the machine was off is made up for, once."""
    calendar = "*-*-* 00/1:00:00"  # an hour of the many since the stamp
    unit(machine, "a", TRUE, **ONESHOT, timer={"calendar": calendar, "persistent": True})
    stamps = machine.directory / "state/timers"
    stamps.mkdir(parents=True, exist_ok=True)
    (stamps / "a").write_text("1000000000\n")
    machine.boot()
    wait_runs(machine, "a", 1)
    reexec(machine)
    assert runs(machine, "a") == 1


def test_systemd_timer_pulls_in(machine: Machine) -> None:
    """What a timer starts has what it needs started with it."""
    puppet(machine, "base", ready=True, autostart=False)
    unit(machine, "a", TRUE, **ONESHOT, requires=["base"], timer={"boot_s": 0.001})
    machine.boot()
    wait_runs(machine, "a", 1)
    assert machine.state("base") == "ready"


def test_systemd_timer_failed_unit(machine: Machine) -> None:
    """A unit that failed is tried again at its next time."""
    unit(machine, "a", shell("exit 1"), **ONESHOT, timer={"every_s": 0.1})
    machine.boot()
    wait_for(lambda: runs(machine, "a") >= 3, "three tries")


# Probes


def test_systemd_service_probe_exec(machine: Machine) -> None:
    """A unit whose probe fails so many times in a row is started anew."""
    well = machine.directory / "well"
    well.touch()
    probe = {"exec": ["/usr/bin/test", "-e", str(well)], "interval_s": 0.1, "failures": 2}
    unit(machine, "a", PAUSE, probe=probe, backoff=NEVER)
    booted(machine, "a")
    well.unlink()
    reason = str(machine.wait_state("a", "backoff")["reason"])
    assert reason.startswith("its probe failed 2 times in a row: /usr/bin/test exited")


def test_systemd_service_probe_hangs(machine: Machine) -> None:
    """A probe that hangs is killed, and that is a failure of the unit."""
    probe = {"exec": PAUSE, "interval_s": 0.1, "timeout_s": 0.1, "failures": 1}
    unit(machine, "a", PAUSE, probe=probe, backoff=NEVER)
    machine.boot()
    assert "no success in 0.1 s" in str(machine.wait_state("a", "backoff")["reason"])
    wait_for(lambda: len(machine.processes()) == 1, "nobody to be left")


@pytest.mark.parametrize("kind", ["exec", "connect"])
def test_systemd_service_probe_readiness(machine: Machine, kind: str) -> None:
    """A unit can be ready when its first probe succeeds."""
    path = string(machine, "a")
    probe: dict[str, object] = {"interval_s": 0.1, "readiness": True}
    flag = machine.directory / "flag"
    if kind == "exec":
        probe["exec"] = ["/usr/bin/test", "-e", str(flag)]
        unit(machine, "a", PAUSE, probe=probe)
    else:
        probe["connect"] = f"unix:{path}"
        late = f"until test -e {flag}; do sleep 0.02; done; exec {' '.join(ACTOR)} puppet {path}"
        os.makedirs(machine.directory / "puppets")
        unit(machine, "a", shell(late), probe=probe)
    machine.boot()
    assert machine.state("a") == "starting"
    flag.touch()
    machine.wait_state("a", "ready")


def test_systemd_service_probe_varlink(machine: Machine) -> None:
    """A service that answers on its interface stays; one that is stuck is started anew."""
    probe = {
        "varlink": "org.ainos.agent.Echo", "interval_s": 0.1, "timeout_s": 0.2, "failures": 2,
    }  # fmt: skip
    unit(
        machine, "a", [*ACTOR, "provide", "org.ainos.agent.Echo", "/dev/null"],
        provides=["org.ainos.agent.Echo"], probe={**probe, "timeout_s": 30}, backoff=NEVER,
    )  # fmt: skip
    puppet(machine, "b", provides=["org.ainos.agent.Stuck"], backoff=NEVER,
           probe={**probe, "varlink": "org.ainos.agent.Stuck"})  # fmt: skip
    machine.boot()
    reason = str(machine.wait_state("b", "backoff")["reason"])
    assert reason.startswith("its probe failed 2 times in a row")
    assert machine.state("a") == "ready"
