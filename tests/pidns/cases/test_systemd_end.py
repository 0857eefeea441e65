"""The machine's end, user space begun anew, and PID 1 executed anew: ported from systemd's
TEST-52-HONORFIRSTSHUTDOWN, TEST-69-SHUTDOWN, TEST-82-SOFTREBOOT, the re-execution of TEST-03-JOBS
and exec-deserialization of TEST-07-PID1, and what systemd's crash handler cannot do.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ainit.errors import AinosError
from tests.pidns.cases.kit import (
    FALSE,
    FAST,
    NEVER,
    PAUSE,
    TRUE,
    booted,
    break_pid_1,
    configure,
    error,
    findings,
    header,
    lines,
    puppet,
    reexec,
    replaced,
    shell,
    status,
    tell,
    text,
    unit,
)
from tests.pidns.machine import ACTOR, Machine
from tests.support.wait import wait_for

HOUR = 3600
CRASHES = [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE]


def ordered(machine: Machine, name: str, **keys: object) -> None:
    command = [*ACTOR, "ordered", f"{machine.directory}/journal", name]
    unit(machine, name, command, **{"type": "notify", **keys})


def entries(machine: Machine) -> list[str]:
    return lines(machine.directory / "journal")


def stubborn(machine: Machine, name: str) -> None:
    """A ready puppet that says so when it is asked to stop, and stays."""
    tell(machine, name, "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")


# TEST-52-HONORFIRSTSHUTDOWN


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        ("Shutdown", "Reboot", "power-off"),
        ("Reboot", "Shutdown", "reboot"),
        ("Reboot", "SoftReboot", "reboot"),
        ("SoftReboot", "Shutdown", "power-off"),
    ],
)
def test_systemd_52_honorfirstshutdown(machine: Machine, first: str, second: str, how: str) -> None:
    """The first word counts; only a soft reboot gives way to one of the others."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    stubborn(machine, "a")
    machine.call(first)
    machine.wait_log("a", "asked")
    machine.call(second)
    tell(machine, "a", "os._exit(0)")
    assert machine.left() == how


def test_systemd_52_honorfirstshutdown_signals(machine: Machine) -> None:
    """Signals to PID 1 count like words."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    stubborn(machine, "a")
    machine.kill(1, signal.SIGINT)
    machine.wait_log("a", "asked")
    machine.kill(1, signal.SIGTERM)
    machine.call("Status")
    tell(machine, "a", "os._exit(0)")
    assert machine.left() == "reboot"


# TEST-69-SHUTDOWN


def test_systemd_69_shutdown(machine: Machine) -> None:
    """Every unit is asked to stop, those that depend on others first, and then the machine goes."""
    ordered(machine, "base")
    ordered(machine, "middle", requires=["base"])
    ordered(machine, "top", after=["middle"])
    booted(machine, "top")
    machine.call("Shutdown")
    assert machine.left() == "power-off"
    assert entries(machine)[3:] == ["-top", "-middle", "-base"]


def test_systemd_69_shutdown_power_failure(machine: Machine) -> None:
    """SIGPWR takes the machine down in order, too."""
    ordered(machine, "a")
    booted(machine, "a")
    machine.kill(1, signal.SIGPWR)
    assert machine.left() == "power-off"
    assert entries(machine) == ["+a", "-a"]


def test_systemd_69_shutdown_halt(machine: Machine) -> None:
    """So does a halt."""
    ordered(machine, "a")
    booted(machine, "a")
    machine.call("Halt")
    assert machine.left() == "halt"


def test_systemd_69_shutdown_kexec_without_kernel(machine: Machine) -> None:
    """Without a kernel to execute kexec is refused, and everything goes on."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    assert error(machine, "Kexec") == "Refused"
    status(machine, "a", "goes on")


def test_systemd_69_shutdown_unstoppable(machine: Machine) -> None:
    """A unit that comes back whenever it ends cannot hold a shutdown up."""
    unit(machine, "a", FALSE, backoff={**FAST, "limit": 1000000})
    unit(machine, "b", TRUE, backoff={**FAST, "limit": 1000000})
    machine.boot()
    wait_for(lambda: int(str(machine.describe("a")["restarts"])) > 2, "some restarts")
    machine.call("Shutdown")
    assert machine.left() == "power-off"


def test_systemd_69_shutdown_stubborn(machine: Machine) -> None:
    """A unit that does not stop is killed in its time, with all that it left behind."""
    unit(machine, "a", [*ACTOR, "stubborn"], stop_timeout_s=0.3)
    ordered(machine, "b", after=["a"])
    ordered(machine, "c", before=["a"])
    booted(machine, "b")
    machine.wait_log("a", "grandchild armed")
    machine.call("Shutdown")
    assert machine.left() == "power-off"
    assert entries(machine)[2:] == ["-b", "-c"]


def test_systemd_69_shutdown_starting(machine: Machine) -> None:
    """A unit that starts is stopped; one that waits for it never begins; a backoff ends."""
    puppet(machine, "slow", type="notify", start_timeout_s=HOUR)
    ordered(machine, "later", after=["slow"])
    unit(machine, "resting", FALSE, backoff=NEVER)
    machine.boot()
    tell(machine, "slow", "answer = 1")
    machine.wait_state("resting", "backoff")
    machine.call("Shutdown")
    assert machine.left() == "power-off"
    assert entries(machine) == []


def test_systemd_69_shutdown_refuses_starts(machine: Machine) -> None:
    """On the way down nothing is started, restarted or configured."""
    puppet(machine, "a", ready=True)
    unit(machine, "b", PAUSE, autostart=False)
    booted(machine, "a")
    stubborn(machine, "a")
    machine.call("Shutdown")
    machine.wait_log("a", "asked")
    assert error(machine, "Start", name="b") == "Refused"
    assert error(machine, "Restart", name="a") == "Refused"
    assert error(machine, "Configure", files={}) == "Refused"
    tell(machine, "a", "os._exit(0)")
    assert machine.left() == "power-off"


def test_systemd_69_shutdown_crash(machine: Machine) -> None:
    """A PID 1 that crashes on the way down goes on with it, in order."""
    ordered(machine, "base")
    puppet(machine, "a", ready=True, after=["base"])
    booted(machine, "a")
    stubborn(machine, "a")
    machine.call("Shutdown")
    machine.wait_log("a", "asked")
    break_pid_1(machine)
    assert machine.state("a") == "stopping"
    tell(machine, "a", "os._exit(0)")
    assert machine.left() == "power-off"
    assert entries(machine) == ["+base", "-base"]


def test_systemd_69_shutdown_conflicts(machine: Machine) -> None:
    """Units in conflict do not hold each other up on the way down."""
    puppet(machine, "a", ready=True)
    puppet(machine, "b", ready=True, conflicts=["a"], autostart=False)
    booted(machine, "a")
    stubborn(machine, "a")
    machine.call("Start", name="b")
    machine.wait_log("a", "asked")
    machine.call("Shutdown")
    tell(machine, "a", "os._exit(0)")
    assert machine.left() == "power-off"


def test_systemd_69_shutdown_frozen(machine: Machine) -> None:
    """A frozen unit is killed."""
    puppet(machine, "a", ready=True, stop_timeout_s=0.3)
    booted(machine, "a")
    tell(machine, "a", "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))")
    root = Path(f"/proc/{machine.init_host_pid}/root{machine.directory}/cgroup")
    folder = root / machine.directory.name / "ainos/a"
    (folder / "cgroup.freeze").write_text("1")
    wait_for(lambda: "frozen 1" in (folder / "cgroup.events").read_text(), "it to be frozen")
    machine.call("Shutdown")
    assert machine.left() == "power-off"


# TEST-82-SOFTREBOOT


def soft_reboot(machine: Machine) -> None:
    """Begin user space anew and wait until the new one answers and has closed its boot set."""
    before = phases(machine)["kernel"]
    machine.call("SoftReboot")

    def anew() -> bool:
        try:
            now = phases(machine) if machine._answers() else {}
        except AinosError:
            return False
        return "ainit" in now and now["kernel"] != before

    wait_for(anew, "user space to begin anew")


def phases(machine: Machine) -> dict[str, float]:
    """The boot's phases in seconds. The kernel's ends where user space begins, on the kernel's
    clock: each start of user space has another one.
    """
    listed = machine.call("Status")["phases"]
    return {one["name"]: one["seconds"] for one in listed}  # type: ignore[attr-defined]


def test_systemd_82_softreboot(machine: Machine) -> None:
    """Three in a row: survivors keep process, descriptors and sockets, all others start anew."""
    path = machine.directory / "sock"
    more = f"[[socket]]\nlisten = 'unix:{path}'\n"
    puppet(machine, "survive", ready=True, survives=True, fd_store_max=3, more=more)
    puppet(machine, "nosurvive", ready=True)
    booted(machine, "survive", "nosurvive")
    tell(machine, "survive", "store('miau', memory(b'oink'))")
    status(machine, "survive", "stored")
    pid, inode = machine.pid("survive"), path.stat().st_ino
    for _ in range(3):
        other = machine.pid("nosurvive")
        soft_reboot(machine)
        replaced(machine, "nosurvive", other)
        assert (machine.pid("survive"), path.stat().st_ino) == (pid, inode)
        status(machine, "survive", "here")
    machine.call("Restart", name="survive")
    replaced(machine, "survive", pid)
    assert tell(machine, "survive", "answer = given()")["miau"] == "oink"  # type: ignore[index]


def test_systemd_82_softreboot_nosurvive_sigterm(machine: Machine) -> None:
    """A unit that ignores SIGTERM does not survive because of that."""
    unit(machine, "a", [*ACTOR, "stubborn"], stop_timeout_s=0.3)
    machine.boot()
    machine.wait_log("a", "grandchild armed")
    pid = machine.pid("a")
    soft_reboot(machine)
    machine.wait_state("a", "ready")
    assert pid not in {one.pid for one in machine.processes()}


def test_systemd_82_softreboot_in_order(machine: Machine) -> None:
    """Down in reverse order and up in order."""
    ordered(machine, "base")
    ordered(machine, "top", requires=["base"])
    booted(machine, "top")
    soft_reboot(machine)
    machine.wait_state("top", "ready")
    assert entries(machine) == ["+base", "+top", "-top", "-base", "+base", "+top"]


def test_systemd_82_softreboot_survivor_crashes(machine: Machine) -> None:
    """A survivor is supervised afterwards as before."""
    puppet(machine, "survive", ready=True, survives=True, backoff=FAST)
    booted(machine, "survive")
    soft_reboot(machine)
    pid = machine.pid("survive")
    machine.kill(pid)
    replaced(machine, "survive", pid)


def test_systemd_82_softreboot_needs_survivors(machine: Machine) -> None:
    """A survivor that requires one that is none is a mistake."""
    machine.boot()
    found = findings(machine, a=text(PAUSE, survives=True, requires=["b"]), b=text(PAUSE))
    assert "survives a soft reboot" in found[0]


# Re-execution, and faults that systemd's crash handler ends in a freeze


@pytest.mark.parametrize("number", CRASHES, ids=lambda number: number.name)
def test_systemd_crash_handler(machine: Machine, number: signal.Signals) -> None:
    """A fatal signal makes PID 1 take up where it was: same pids, nothing started twice."""
    puppet(machine, "a", ready=True)
    puppet(machine, "b", type="notify", start_timeout_s=HOUR)
    booted(machine, "a")
    tell(machine, "b", "answer = 1")
    before = machine.describe("a"), machine.describe("b")
    break_pid_1(machine, number)
    after = machine.describe("a"), machine.describe("b")
    for one, other in zip(before, after, strict=True):
        assert all(one[key] == other[key] for key in ("pid", "state", "restarts", "since"))
    assert machine.log("a").count("starting") == 1
    tell(machine, "b", "notify(b'READY=1')")
    machine.wait_state("b", "ready")


def test_systemd_reexec_while_stopping(machine: Machine) -> None:
    """A stop goes on, with its deadline."""
    puppet(machine, "a", ready=True, stop_timeout_s=1)
    booted(machine, "a")
    stubborn(machine, "a")
    machine.call("Stop", name="a")
    machine.wait_log("a", "asked")
    reexec(machine)
    assert machine.wait_state("a", "inactive")["reason"] == "did not stop in 1 s"


def test_systemd_reexec_while_draining(machine: Machine) -> None:
    """What a dead main process left behind is still waited for."""
    puppet(machine, "a", ready=True, backoff=FAST)
    booted(machine, "a")
    tell(machine, "a", "orphan()")
    pid = machine.pid("a")
    machine.kill(1, signal.SIGSTOP)
    os.kill(next(one.host_pid for one in machine.processes() if one.pid == pid), signal.SIGKILL)
    machine.kill(1, signal.SIGSEGV)
    machine.kill(1, signal.SIGCONT)
    wait_for(machine._answers, "PID 1")
    replaced(machine, "a", pid)
    assert len(machine.processes()) == 2


def test_systemd_reexec_counters(machine: Machine) -> None:
    """Restart counts, back-off and logs are the same afterwards."""
    puppet(machine, "a", ready=True, backoff=FAST)
    booted(machine, "a")
    for _ in range(2):
        pid = machine.pid("a")
        machine.kill(pid)
        replaced(machine, "a", pid)
    before, log = machine.describe("a"), machine.log("a")
    reexec(machine)
    after = machine.describe("a")
    assert after["restarts"] == before["restarts"] == 2
    assert machine.log("a") == log


def test_systemd_reexec_death_meanwhile(machine: Machine) -> None:
    """A unit that dies at the very moment is seen to have died, and how."""
    puppet(machine, "a", ready=True, restart="never")
    booted(machine, "a")
    host = next(one.host_pid for one in machine.processes() if one.pid == machine.pid("a"))
    machine.kill(1, signal.SIGSTOP)
    os.kill(host, signal.SIGUSR1)
    os.kill(machine.init_host_pid, signal.SIGSEGV)
    os.kill(machine.init_host_pid, signal.SIGCONT)
    assert machine.wait_state("a", "failed")["reason"] == "killed by signal 10"


def test_systemd_reexec_notification_meanwhile(machine: Machine) -> None:
    """What was said at that moment is heard by the next PID 1."""
    puppet(machine, "a", type="notify", start_timeout_s=HOUR, fd_store_max=1)
    machine.boot()
    tell(machine, "a", "answer = 1")
    machine.kill(1, signal.SIGSTOP)
    tell(machine, "a", "store('x', memory(b'one')); notify(b'READY=1\\nSTATUS=said')")
    os.kill(machine.init_host_pid, signal.SIGSEGV)
    os.kill(machine.init_host_pid, signal.SIGCONT)
    assert machine.wait_state("a", "ready")["status_text"] == "said"
    pid = machine.pid("a")
    machine.call("Restart", name="a")
    wait_for(lambda: machine.describe("a")["pid"] not in (pid, None), "the next")
    assert tell(machine, "a", "answer = given()") == {"x": "one"}


def test_systemd_reexec_log_meanwhile(machine: Machine) -> None:
    """Nothing that a unit writes is lost or repeated."""
    unit(machine, "a", shell("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; sleep inf"))
    machine.boot()
    for _ in range(3):
        reexec(machine)
    machine.wait_log("a", "3000")
    found = [line for line in machine.log("a") if line.isdigit()]
    assert found == [str(number) for number in range(1, 3001)]


def test_systemd_reexec_many(machine: Machine) -> None:
    """Ten in a row, by wish and by fault, leave everything as it was."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    pid = machine.pid("a")
    descriptors = len(os.listdir(f"/proc/{machine.init_host_pid}/fd"))
    for _ in range(5):
        reexec(machine)
        break_pid_1(machine)
    wait_for(
        lambda: len(os.listdir(f"/proc/{machine.init_host_pid}/fd")) <= descriptors,
        "no more descriptors than before",
    )
    assert (machine.pid("a"), header(machine)["faults"]) == (pid, 5)


# Configuration for a while, which no upstream has: systemd's daemon-reload comes nearest


def test_systemd_reload_revert(machine: Machine) -> None:
    """A change that nobody confirms is undone in time, by a PID 1 that crashed meanwhile, too."""
    machine.boot()
    configure(machine, a=text(PAUSE))
    machine.wait_state("a", "ready")
    files = {"units/a.toml": "", "units/b.toml": text(PAUSE)}
    machine.call("Configure", files=files, revert_after_s=1.0)
    break_pid_1(machine)
    wait_for(lambda: error(machine, "Describe", name="b") == "NoSuchUnit", "the way back")
    machine.wait_state("a", "ready")


def test_systemd_reload_confirm(machine: Machine) -> None:
    """One that is confirmed stays; without one there is nothing to confirm."""
    machine.boot()
    assert error(machine, "Confirm") == "Refused"
    files = {"units/b.toml": text(PAUSE)}
    machine.call("Configure", files=files, revert_after_s=3600.0)
    machine.call("Confirm")
    assert error(machine, "Confirm") == "Refused"
    assert machine.wait_state("b", "ready")
    assert (machine.directory / "state/config/units/b.toml").exists()
