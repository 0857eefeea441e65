"""What any PID 1 owes its processes: ported from tini's test/run_inner_tests.py (exit codes,
reaping, signals, process groups, signal configuration, parent death signal).
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.pidns.cases.kit import PAUSE, alone, booted, puppet, shell, tell, unit
from tests.pidns.machine import Machine
from tests.support.wait import wait_for

FORK = """
def spawn(count):
    for _ in range(count):
        if not os.fork():
            os._exit(0)
"""


def zombies(machine: Machine) -> int:
    return sum(one.state == "Z" for one in machine.processes())


@pytest.mark.parametrize("code", [0, 1, 2, 3, 126, 127, 200, 255])
def test_tini_exit_code(machine: Machine, code: int) -> None:
    """The exit status is reported as it was, and only the wanted ones are success."""
    unit(machine, "a", shell(f"exit {code}"), type="oneshot", restart="never")
    machine.boot()
    if code:
        found = machine.wait_state("a", "failed")
        assert found["reason"] == f"exited with status {code}"
    else:
        machine.wait_state("a", "exited")


def test_tini_exit_code_remapped(machine: Machine) -> None:
    """A status may be declared a success, without making 0 a failure that it is not in the list."""
    unit(machine, "a", shell("exit 42"), type="oneshot", success_status=[42])
    unit(machine, "b", shell("exit 0"), type="oneshot", restart="never", success_status=[42])
    machine.boot()
    machine.wait_state("a", "exited")
    machine.wait_state("b", "failed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT, signal.SIGHUP])
def test_tini_exit_signal(machine: Machine, number: int) -> None:
    """A death by signal is reported as that, not as a status."""
    puppet(machine, "a", restart="never")
    booted(machine, "a")
    tell(machine, "a", "signal.signal(signal.SIGHUP, signal.SIG_DFL)")
    machine.kill(machine.pid("a"), number)
    assert machine.wait_state("a", "failed")["reason"] == f"killed by signal {number:d}"


def test_tini_reaping(machine: Machine) -> None:
    """Orphans of a service become PID 1's children, and none stays a zombie."""
    puppet(machine, "a")
    booted(machine, "a")
    tell(machine, "a", "for _ in range(30): detached(lambda: None)")
    wait_for(lambda: len(machine.processes()) == 2, "the orphans to be gone")


def test_tini_reaping_zombies(machine: Machine) -> None:
    """A thousand zombies that are PID 1's at one blow are all reaped."""
    puppet(machine, "a")
    booted(machine, "a")
    code = FORK + "pid = os.fork()\nif not pid: let_go(); spawn(1000); forever()\nanswer = pid"
    parent = tell(machine, "a", code)
    assert isinstance(parent, int)
    wait_for(lambda: zombies(machine) == 1000, "a thousand zombies")
    machine.kill(parent)
    tell(machine, "a", "os.wait()")
    wait_for(lambda: zombies(machine) == 0, "none to be left")
    assert len(machine.processes()) == 2


def test_tini_reaping_orphans_of_a_dead_service(machine: Machine) -> None:
    """Those of a service that died go with it, and their status is nobody's."""
    puppet(machine, "a", restart="never")
    puppet(machine, "b")
    booted(machine, "a", "b")
    tell(machine, "a", "for _ in range(10): orphan()")
    machine.kill(machine.pid("a"))
    machine.wait_state("a", "failed")
    wait_for(lambda: len(machine.processes()) == 2, "all to be gone")
    assert machine.state("b") == "ready"


def test_tini_reaping_subreaper(machine: Machine) -> None:
    """A service that is a subreaper keeps its orphans; PID 1 gets them when it is gone."""
    puppet(machine, "a", restart="never")
    booted(machine, "a")
    code = "import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); orphan()"
    tell(machine, "a", code)
    machine.wait_log("a", "grandchild armed")
    pid = machine.pid("a")
    main = next(one for one in machine.processes() if one.pid == pid)
    assert [one for one in machine.processes() if one.parent == main.host_pid]
    machine.kill(pid)
    machine.wait_state("a", "failed")
    alone(machine)


def test_tini_reaping_restart(machine: Machine) -> None:
    """An orphan that ends, in whatever way, means nothing to the unit that it came from."""
    puppet(machine, "a")
    booted(machine, "a")
    before = machine.describe("a")
    tell(machine, "a", "detached(lambda: os._exit(9))")
    tell(machine, "a", "detached(lambda: os.kill(os.getpid(), 11))")
    wait_for(lambda: len(machine.processes()) == 2, "both to be gone")
    after = machine.describe("a")
    assert (after["state"], after["since"]) == ("ready", before["since"])


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGTERM, "power-off"), (signal.SIGINT, "reboot")]
)
def test_tini_signals(machine: Machine, number: int, how: str) -> None:
    """SIGTERM and SIGINT to PID 1 end the machine, by way of its services."""
    puppet(machine, "a")
    booted(machine, "a")
    machine.kill(1, number)
    assert machine.left() == how


@pytest.mark.parametrize(
    "number",
    [signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE,
     signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGURG,
     signal.SIGXCPU],
    ids=lambda number: signal.Signals(number).name,
)  # fmt: skip
def test_tini_signals_ignored(machine: Machine, number: int) -> None:
    """Signals that mean nothing to PID 1 do nothing, also when one of its services sends them."""
    puppet(machine, "a")
    booted(machine, "a")
    pid = machine.pid("a")
    machine.kill(1, number)
    tell(machine, "a", f"for _ in range(20): os.kill(1, {number:d})")
    assert machine.pid("a") == pid
    with open(f"/proc/{machine.init_host_pid}/status") as file:
        assert next(line for line in file if line.startswith("State")).split()[1] != "T"


def test_tini_signals_flood(machine: Machine) -> None:
    """A flood of SIGCHLD costs no death and delays nobody for good."""
    puppet(machine, "a")
    puppet(machine, "b", restart="never")
    booted(machine, "a", "b")
    for _ in range(2000):
        os.kill(machine.init_host_pid, signal.SIGCHLD)
    machine.kill(machine.pid("b"))
    assert machine.wait_state("b", "failed")["reason"] == "killed by signal 9"
    assert machine.state("a") == "ready"


def test_tini_signals_kill(machine: Machine) -> None:
    """From inside nobody can kill or stop PID 1."""
    puppet(machine, "a")
    booted(machine, "a")
    tell(machine, "a", "os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGSTOP)")
    assert machine.state("a") == "ready"


def test_tini_pgroup(machine: Machine) -> None:
    """A stop reaches every process of the service, whatever group or session it is in."""
    puppet(machine, "a")
    booted(machine, "a")
    code = """
for change in (os.setpgrp, os.setsid):
    if not os.fork():
        change()
        let_go()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        forever()
"""
    tell(machine, "a", code)
    wait_for(lambda: len(machine.processes()) == 4, "all to be there")
    machine.call("Stop", name="a")
    machine.wait_state("a", "inactive")
    alone(machine)


def test_tini_sigconf(machine: Machine) -> None:
    """A service starts with no signal blocked, and its children with none but what it ignores."""
    unit(machine, "a", ["/usr/bin/cat", "/proc/self/status"], type="oneshot")
    machine.boot()
    machine.wait_state("a", "exited")
    found = dict(line.split(":\t", 1) for line in machine.log("a") if ":\t" in line)
    assert {found[key] for key in ("SigBlk", "SigIgn", "SigPnd", "ShdPnd")} == {"0" * 16}


def test_tini_pdeathsignal(machine: Machine) -> None:
    """A service that wants a signal when its parent dies gets none from a re-execution."""
    puppet(machine, "a")
    booted(machine, "a")
    code = "import ctypes; ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)"
    tell(machine, "a", code)
    pid = machine.pid("a")
    machine.call("Reexec")
    wait_for(machine._answers, "PID 1 to answer again")
    assert (machine.state("a"), machine.pid("a")) == ("ready", pid)


def test_tini_no_child(machine: Machine) -> None:
    """A PID 1 without any child waits for its next word and is not busy."""
    unit(machine, "a", PAUSE, autostart=False)
    machine.boot()
    machine.call("Start", name="a")
    machine.wait_state("a", "ready")
    machine.call("Stop", name="a")
    machine.wait_state("a", "inactive")
    alone(machine)
    with open(f"/proc/{machine.init_host_pid}/wchan") as file:
        assert file.read() in ("ep_poll", "do_epoll_wait", "0")
