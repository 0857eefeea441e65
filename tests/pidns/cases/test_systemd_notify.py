"""What services say of themselves: ported from systemd's TEST-80-NOTIFYACCESS,
TEST-16-EXTEND-TIMEOUT, TEST-59-RELOADING-RESTART and the subtests main-PID-change, reloading-signal
and exec-deserialization of TEST-07-PID1.
"""

from __future__ import annotations

import os
import signal
import socket

import pytest

from tests.pidns.cases.kit import (
    FAST,
    NEVER,
    PAUSE,
    booted,
    error,
    puppet,
    reexec,
    replaced,
    status,
    string,
    tell,
    unit,
)
from tests.pidns.machine import Machine
from tests.support.wait import wait_for

HOUR = 3600


def adopted(machine: Machine, parent: str, name: str) -> int:
    """Have a puppet leave another one, which PID 1 adopts; returns its pid."""
    tell(machine, parent, f"child({string(machine, name)!r})")
    pid = tell(machine, name, "answer = os.getpid()")
    assert isinstance(pid, int)
    return pid


# TEST-80-NOTIFYACCESS


def test_systemd_80_notifyaccess_main(machine: Machine) -> None:
    """With access for the main process, a process that it left cannot say anything."""
    puppet(machine, "a", type="notify", start_timeout_s=HOUR)
    machine.boot()
    adopted(machine, "a", "other")
    tell(machine, "other", "notify(b'STATUS=BOGUS\\nREADY=1')")
    status(machine, "a", "honest")
    assert machine.state("a") == "starting"
    tell(machine, "a", "notify(b'READY=1')")
    machine.wait_state("a", "ready")


def test_systemd_80_notifyaccess_all(machine: Machine) -> None:
    """With access for all, any process of the group may say that the unit is ready."""
    puppet(machine, "a", type="notify", notify_access="all", start_timeout_s=HOUR)
    machine.boot()
    adopted(machine, "a", "other")
    tell(machine, "other", "notify(b'STATUS=from another\\nREADY=1')")
    assert machine.wait_state("a", "ready")["status_text"] == "from another"


def test_systemd_80_notifyaccess_unprivileged(machine: Machine) -> None:
    """Rights do not matter: a main process of any user may speak."""
    puppet(machine, "a", type="notify", user=4321, start_timeout_s=HOUR)
    machine.boot()
    tell(machine, "a", "notify(b'READY=1')")
    machine.wait_state("a", "ready")


def test_systemd_80_notifyaccess_of_another_unit(machine: Machine) -> None:
    """A unit speaks for itself alone, however its message is worded."""
    puppet(machine, "a", type="notify", start_timeout_s=HOUR)
    puppet(machine, "b", type="notify", start_timeout_s=HOUR)
    machine.boot()
    tell(machine, "b", f"notify(b'READY=1\\nAINOS_UNIT=a\\nMAINPID={machine.pid('a')}')")
    status(machine, "b", "done")
    machine.wait_state("b", "ready")
    assert machine.state("a") == "starting"
    assert machine.pid("b") != machine.pid("a")


def test_systemd_80_notifyaccess_status_text(machine: Machine) -> None:
    """The status is what was said last, in printable form; a new incarnation has none."""
    puppet(machine, "a", ready=True, backoff=FAST)
    booted(machine, "a")
    status(machine, "a", "first")
    status(machine, "a", "second")
    tell(machine, "a", "notify(b'STATUS=tab\\there\\xff')")
    wait_for(lambda: machine.describe("a")["status_text"] == "tab here\ufffd", "the third")
    pid = machine.pid("a")
    machine.kill(pid)
    replaced(machine, "a", pid)
    assert machine.describe("a")["status_text"] is None


def test_systemd_80_notifyaccess_reload_timeout(machine: Machine) -> None:
    """A unit that reloads and does not get ready in time is killed for it and started anew."""
    puppet(machine, "a", ready=True, start_timeout_s=2, backoff=NEVER)
    booted(machine, "a")
    tell(machine, "a", "notify(b'RELOADING=1')")
    assert machine.wait_state("a", "backoff")["reason"] == "did not reload in 2 s"


def test_systemd_80_notifyaccess_ready_twice(machine: Machine) -> None:
    """Saying it twice changes nothing: the same process, the same moment of readiness."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    before = machine.describe("a")
    tell(machine, "a", "notify(b'READY=1'); notify(b'READY=1\\nREADY=1')")
    status(machine, "a", "twice")
    after = machine.describe("a")
    assert (after["ready_at"], after["pid"]) == (before["ready_at"], before["pid"])


def test_systemd_80_notifyaccess_never_ready(machine: Machine) -> None:
    """READY with another value, or in another case, is no readiness."""
    puppet(machine, "a", type="notify", start_timeout_s=HOUR)
    machine.boot()
    tell(machine, "a", "notify(b'READY=0\\nready=1\\n READY=1\\nREADY=yes\\nREADY')")
    status(machine, "a", "said")
    assert machine.state("a") == "starting"


def test_systemd_80_notifyaccess_after_death(machine: Machine) -> None:
    """What a process said just before it died does not make the next one ready."""
    code = "import os; os.write(1, b'began\\n')"
    puppet(machine, "a", type="notify", start_timeout_s=HOUR, backoff=FAST)
    machine.boot()
    first = tell(machine, "a", "answer = os.getpid()")
    machine.kill(1, signal.SIGSTOP)
    tell(machine, "a", f"{code}; notify(b'READY=1'); os._exit(1)")
    machine.kill(1, signal.SIGCONT)
    wait_for(lambda: machine.describe("a")["restarts"] == 1, "the next one")
    status(machine, "a", "second")
    found = machine.describe("a")
    assert (found["state"], found["pid"] != first) == ("starting", True)


def test_systemd_80_notifyaccess_malformed(machine: Machine) -> None:
    """Rubbish, empty datagrams and ones longer than PID 1 reads change nothing."""
    puppet(machine, "a", type="notify", start_timeout_s=HOUR)
    machine.boot()
    tell(machine, "a", "for one in (b'', b'\\0', b'=', b'\\xff=\\xfe', b'X' * 9000): notify(one)")
    tell(machine, "a", "notify(b'MAINPID=-1\\nWATCHDOG_USEC=x\\nEXTEND_TIMEOUT_USEC=' + b'9' * 99)")
    status(machine, "a", "alive")
    assert machine.state("a") == "starting"
    assert machine.call("Status")


def test_systemd_80_notifyaccess_fdstore(machine: Machine) -> None:
    """Stored descriptors come back by name after a restart, with their content."""
    puppet(machine, "a", ready=True, fd_store_max=7)
    booted(machine, "a")
    assert tell(machine, "a", "answer = given()") == {}
    tell(machine, "a", "store('quux', memory(b'one')); store('other', memory(b'two'))")
    status(machine, "a", "stored")
    pid = machine.pid("a")
    machine.call("Restart", name="a")
    replaced(machine, "a", pid)
    assert tell(machine, "a", "answer = given()") == {"quux": "one", "other": "two"}


def test_systemd_80_notifyaccess_fdstore_crash(machine: Machine) -> None:
    """They also come back after a crash, and again after the next."""
    puppet(machine, "a", ready=True, fd_store_max=1, backoff=FAST)
    booted(machine, "a")
    tell(machine, "a", "store('kept', memory(b'one'))")
    status(machine, "a", "stored")
    for _ in range(2):
        pid = machine.pid("a")
        machine.kill(pid)
        replaced(machine, "a", pid)
        assert tell(machine, "a", "answer = given()") == {"kept": "one"}


def test_systemd_80_notifyaccess_fdstore_nopin(machine: Machine) -> None:
    """They do not survive a stop."""
    puppet(machine, "a", ready=True, fd_store_max=1)
    booted(machine, "a")
    tell(machine, "a", "store('gone', memory(b'one'))")
    status(machine, "a", "stored")
    machine.call("Stop", name="a")
    machine.wait_state("a", "inactive")
    machine.call("Start", name="a")
    machine.wait_state("a", "ready")
    assert tell(machine, "a", "answer = given()") == {}
    held = os.listdir(f"/proc/{machine.init_host_pid}/fd")
    links = [os.readlink(f"/proc/{machine.init_host_pid}/fd/{name}") for name in held]
    assert not [link for link in links if link.startswith("/memfd:text")]


def test_systemd_80_notifyaccess_fdstore_max(machine: Machine) -> None:
    """No more are kept than the unit may, and none for a unit that may none."""
    puppet(machine, "a", ready=True, fd_store_max=2, backoff=FAST)
    puppet(machine, "b", ready=True, backoff=FAST)
    booted(machine, "a", "b")
    for name in ("a", "b"):
        tell(machine, name, "store('x', memory(b'1'), memory(b'2')); store('y', memory(b'3'))")
        status(machine, name, "stored")
        pid = machine.pid(name)
        machine.kill(pid)
        replaced(machine, name, pid)
    assert tell(machine, "a", "answer = os.environ['LISTEN_FDNAMES']") == "x:x"
    assert tell(machine, "b", "answer = given()") == {}


def test_systemd_80_notifyaccess_fdstoreremove(machine: Machine) -> None:
    """All of a name are removed at once, and the others stay."""
    puppet(machine, "a", ready=True, fd_store_max=5, backoff=FAST)
    booted(machine, "a")
    tell(machine, "a", "store('x', memory(b'1'), memory(b'2')); store('y', memory(b'3'))")
    tell(machine, "a", "notify(b'FDSTOREREMOVE=1\\nFDNAME=x')")
    status(machine, "a", "removed")
    pid = machine.pid("a")
    machine.kill(pid)
    replaced(machine, "a", pid)
    assert tell(machine, "a", "answer = given()") == {"y": "3"}


def test_systemd_80_notifyaccess_fdstore_unnamed(machine: Machine) -> None:
    """A descriptor without a name, or with one that cannot be passed on, is called ``stored``."""
    puppet(machine, "a", ready=True, fd_store_max=5, backoff=FAST)
    booted(machine, "a")
    tell(machine, "a", "store('with:colon', memory(b'1')); store('', memory(b'2'))")
    status(machine, "a", "stored")
    pid = machine.pid("a")
    machine.kill(pid)
    replaced(machine, "a", pid)
    assert tell(machine, "a", "answer = os.environ['LISTEN_FDNAMES']") == "stored:stored"


@pytest.mark.parametrize("anew", [False, True])
def test_systemd_80_notifyaccess_fdpoll(machine: Machine, anew: bool) -> None:
    """A descriptor whose other end is gone is dropped from the store, except with FDPOLL=0."""
    puppet(machine, "a", ready=True, fd_store_max=5, backoff=FAST)
    booted(machine, "a")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{machine.directory}/peer")
        server.listen()
        code = f"""
ends = [socket.socket(socket.AF_UNIX) for _ in range(3)]
for end in ends:
    end.connect("{machine.directory}/peer")
store("live", ends[0].fileno())
store("dead", ends[1].fileno())
store("kept", ends[2].fileno(), more="FDPOLL=0")
"""
        tell(machine, "a", code)
        peers = [server.accept()[0] for _ in range(3)]
        for peer in peers[1:]:
            peer.close()
        with peers[0]:
            status(machine, "a", "stored")
            if anew:
                reexec(machine)
            pid = machine.pid("a")
            machine.call("Restart", name="a")
            replaced(machine, "a", pid)
            assert tell(machine, "a", "answer = os.environ['LISTEN_FDNAMES']") == "kept:live"


# TEST-16-EXTEND-TIMEOUT


def test_systemd_16_extend_timeout_success_start(machine: Machine) -> None:
    """A unit that asks for more time while it starts gets it."""
    puppet(machine, "a", type="notify", start_timeout_s=2, backoff=NEVER)
    machine.boot()
    tell(machine, "a", "notify(b'EXTEND_TIMEOUT_USEC=3600000000')")
    status(machine, "a", "extended")
    spawned = machine.describe("a")["spawned_at"]
    wait_for(lambda: uptime(machine) > float(str(spawned)) + 2.2, "the first deadline to pass")
    assert machine.state("a") == "starting"
    tell(machine, "a", "notify(b'READY=1')")
    machine.wait_state("a", "ready")


def uptime(machine: Machine) -> float:
    found = machine.call("Status")["machine"]
    assert isinstance(found, dict)
    return float(found["uptime"])


def test_systemd_16_extend_timeout_fail_start(machine: Machine) -> None:
    """An extension never shortens a deadline; a unit that asks for none fails at its own."""
    puppet(machine, "a", type="notify", start_timeout_s=30, backoff=NEVER)
    unit(machine, "b", PAUSE, type="notify", start_timeout_s=0.2, backoff=NEVER)
    machine.boot()
    tell(machine, "a", "notify(b'EXTEND_TIMEOUT_USEC=1')")  # never shortens what there is
    status(machine, "a", "asked")
    assert machine.state("a") == "starting"
    assert machine.wait_state("b", "backoff")["reason"] == "not ready in 0.2 s"


def test_systemd_16_extend_timeout_fail_start_extended(machine: Machine) -> None:
    """An extension that passes without READY ends as the deadline itself would have."""
    puppet(machine, "a", type="notify", start_timeout_s=2, backoff=NEVER)
    machine.boot()
    tell(machine, "a", "notify(b'EXTEND_TIMEOUT_USEC=2500000')")
    status(machine, "a", "extended")
    assert machine.wait_state("a", "backoff")["reason"] == "not ready in 2 s"


def test_systemd_16_extend_timeout_success_stop(machine: Machine) -> None:
    """A unit that asks for more time while it stops gets it, and ends in its own way."""
    puppet(machine, "a", ready=True, stop_timeout_s=2)
    booted(machine, "a")
    tell(machine, "a", "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")
    machine.call("Stop", name="a")
    machine.wait_log("a", "asked")
    tell(machine, "a", "notify(b'EXTEND_TIMEOUT_USEC=3600000000')")
    status(machine, "a", "extended")
    since = float(str(machine.describe("a")["since"]))
    wait_for(lambda: uptime(machine) > since + 2.2, "the first deadline to pass")
    assert machine.state("a") == "stopping"
    tell(machine, "a", "os._exit(0)")
    assert machine.wait_state("a", "inactive")["reason"] == ""


def test_systemd_16_extend_timeout_fail_stop(machine: Machine) -> None:
    """A unit that does not ask is killed at the deadline."""
    puppet(machine, "a", ready=True, stop_timeout_s=0.2)
    booted(machine, "a")
    tell(machine, "a", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    machine.call("Stop", name="a")
    assert machine.wait_state("a", "inactive")["reason"] == "did not stop in 0.2 s"


def test_systemd_16_extend_timeout_reload(machine: Machine) -> None:
    """A reload may be extended like a start."""
    puppet(machine, "a", ready=True, start_timeout_s=2, backoff=NEVER)
    booted(machine, "a")
    tell(machine, "a", "notify(b'RELOADING=1'); notify(b'EXTEND_TIMEOUT_USEC=3600000000')")
    status(machine, "a", "extended")
    now = uptime(machine)
    wait_for(lambda: uptime(machine) > now + 2.2, "the first deadline to pass")
    tell(machine, "a", "notify(b'READY=1')")
    status(machine, "a", "reloaded")
    assert machine.state("a") == "ready"


# TEST-59-RELOADING-RESTART


def test_systemd_59_reloading_restart_fail(machine: Machine) -> None:
    """A unit that dies while it reloads has failed and does not linger."""
    puppet(machine, "a", ready=True, restart="never")
    booted(machine, "a")
    tell(machine, "a", "notify(b'RELOADING=1'); os._exit(1)")
    assert machine.wait_state("a", "failed")["reason"] == "exited with status 1"


def test_systemd_59_reloading_restart_fail_restart(machine: Machine) -> None:
    """With restart it is started anew, and is not reloading any more."""
    puppet(machine, "a", ready=True, restart="on-failure", start_timeout_s=HOUR, backoff=FAST)
    booted(machine, "a")
    pid = machine.pid("a")
    tell(machine, "a", "notify(b'RELOADING=1'); os._exit(1)")
    replaced(machine, "a", pid)
    assert machine.describe("a")["restarts"] == 1


def test_systemd_59_reloading_restart_abort_restart(machine: Machine) -> None:
    """SIGABRT while it reloads is a failure like any other."""
    puppet(machine, "a", ready=True, restart="on-failure", backoff=NEVER)
    booted(machine, "a")
    tell(machine, "a", "notify(b'RELOADING=1')")
    status(machine, "a", "reloading")
    machine.kill(machine.pid("a"), signal.SIGABRT)
    assert machine.wait_state("a", "backoff")["reason"] == "killed by signal 6"


def test_systemd_59_reloading_restart_notify_reload(machine: Machine) -> None:
    """Reload, stop, and the exit status that both left: the same process went through all of it."""
    puppet(machine, "a", ready=True, reload_signal="HUP", success_status=[109])
    booted(machine, "a")
    code = """
value = 88
def reload(*_):
    global value
    notify(b"RELOADING=1\\nSTATUS=reloading")
    value += 11
    notify(b"READY=1\\nSTATUS=back")
def leave(*_):
    notify(b"STOPPING=1")
    os._exit(value + 10)
signal.signal(signal.SIGHUP, reload)
signal.signal(signal.SIGTERM, leave)
"""
    tell(machine, "a", code)
    machine.call("ReloadUnit", name="a")
    wait_for(lambda: machine.describe("a")["status_text"] == "back", "the reload")
    machine.call("Stop", name="a")
    assert machine.wait_state("a", "inactive")["reason"] == ""  # 109, which is success here


def test_systemd_59_reloading_restart_many_reloads(machine: Machine) -> None:
    """However often a machine reads its configuration anew or re-executes, its units go on."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    pid = machine.pid("a")
    for _ in range(3):
        machine.call("ReloadConfiguration")
        reexec(machine)
    assert machine.pid("a") == pid
    status(machine, "a", "still")


# TEST-07-PID1


def test_systemd_07_pid1_reloading_signal(machine: Machine) -> None:
    """The signal of a reload goes to the main process alone, and is the one of the unit file."""
    puppet(machine, "a", ready=True, reload_signal="USR1")
    booted(machine, "a")
    tell(machine, "a", "signal.signal(signal.SIGUSR1, lambda *_: say('main'))")
    adopted(machine, "a", "other")
    tell(machine, "other", "signal.signal(signal.SIGUSR1, lambda *_: say('other'))")
    machine.call("ReloadUnit", name="a")
    machine.wait_log("a", "main")
    assert "other" not in machine.log("a")


def test_systemd_07_pid1_reloading_signal_missing(machine: Machine) -> None:
    """A unit that has none cannot reload; one that is down is not signalled."""
    unit(machine, "a", PAUSE)
    puppet(machine, "b", ready=True, reload_signal="HUP")
    booted(machine, "a", "b")
    assert error(machine, "ReloadUnit", name="a") == "Refused"
    machine.call("Stop", name="b")
    machine.wait_state("b", "inactive")
    machine.call("ReloadUnit", name="b")
    assert machine.state("b") == "inactive"


@pytest.mark.parametrize("end", ["main", "former"])
def test_systemd_07_pid1_main_pid_change(machine: Machine, end: str) -> None:
    """MAINPID hands the unit over: its end is the unit's, the former one's end is not."""
    puppet(machine, "a", ready=True, restart="never")
    booted(machine, "a")
    former = machine.pid("a")
    pid = adopted(machine, "a", "heir")
    tell(machine, "a", f"notify(b'MAINPID={pid}')")
    wait_for(lambda: machine.pid("a") == pid, "the other one")
    tell(machine, "heir", "notify(b'STATUS=heir')")
    wait_for(lambda: machine.describe("a")["status_text"] == "heir", "it to be heard")
    machine.kill(former if end == "former" else pid)
    if end == "main":
        assert machine.wait_state("a", "failed")["reason"] == "killed by signal 9"
        return
    tell(machine, "heir", "notify(b'STATUS=alone')")
    wait_for(lambda: machine.describe("a")["status_text"] == "alone", "it to go on")
    assert (machine.state("a"), machine.pid("a")) == ("ready", pid)


def test_systemd_07_pid1_main_pid_change_refused(machine: Machine) -> None:
    """PID 1, nobody, a process of another unit and one that PID 1 is no parent of are refused."""
    puppet(machine, "a", ready=True)
    puppet(machine, "b", ready=True)
    booted(machine, "a", "b")
    pid = machine.pid("a")
    tell(machine, "a", f"for one in (1, 0, 99999, {machine.pid('b')}): notify(b'MAINPID=%d' % one)")
    tell(
        machine,
        "a",
        "pid = os.fork()\nif not pid: let_go(); forever()\nnotify(b'MAINPID=%d' % pid)",
    )
    status(machine, "a", "asked")
    assert machine.pid("a") == pid


def test_systemd_07_pid1_main_pid_change_reexec(machine: Machine) -> None:
    """The change is known to a PID 1 that executed itself anew."""
    puppet(machine, "a", ready=True, restart="never")
    booted(machine, "a")
    pid = adopted(machine, "a", "heir")
    tell(machine, "a", f"notify(b'MAINPID={pid}')")
    wait_for(lambda: machine.pid("a") == pid, "the other one")
    reexec(machine)
    assert machine.pid("a") == pid
    tell(machine, "heir", "os._exit(4)")
    assert machine.wait_state("a", "failed")["reason"] == "exited with status 4"


def test_systemd_07_pid1_exec_deserialization(machine: Machine) -> None:
    """A unit that was starting when PID 1 executed itself anew gets ready by the same process."""
    puppet(machine, "a", type="notify", start_timeout_s=HOUR)
    machine.boot()
    pid = tell(machine, "a", "answer = os.getpid()")
    reexec(machine)
    tell(machine, "a", "notify(b'READY=1')")
    assert machine.wait_state("a", "ready")["pid"] == pid


# Watchdogs: WatchdogSec= of systemd.service(5)


def test_systemd_service_watchdog_expires(machine: Machine) -> None:
    """A unit that stops pinging is killed and started anew, and the reason says so."""
    puppet(machine, "a", ready=True, watchdog_s=0.3, backoff=NEVER)
    machine.boot()
    assert machine.wait_state("a", "backoff")["reason"] == "no watchdog message in 0.3 s"


def test_systemd_service_watchdog_trigger(machine: Machine) -> None:
    """A unit may say itself that it is beyond help."""
    puppet(machine, "a", ready=True, watchdog_s=HOUR, backoff=NEVER)
    booted(machine, "a")
    tell(machine, "a", "notify(b'WATCHDOG=trigger')")
    found = machine.wait_state("a", "backoff")
    assert found["reason"] == "it said that its watchdog triggered"


def test_systemd_service_watchdog_usec(machine: Machine) -> None:
    """The period is in the environment, and the unit may choose another."""
    puppet(machine, "a", ready=True, watchdog_s=HOUR, backoff=NEVER)
    booted(machine, "a")
    assert tell(machine, "a", "answer = os.environ['WATCHDOG_USEC']") == "3600000000"
    tell(machine, "a", "notify(b'WATCHDOG_USEC=300000')")
    assert machine.wait_state("a", "backoff")["reason"] == "no watchdog message in 0.3 s"
    assert machine.describe("a")["watchdog_s"] == 0.3


def test_systemd_service_watchdog_not_before_ready(machine: Machine) -> None:
    """Nobody has to ping before being ready, nor after STOPPING."""
    puppet(machine, "a", type="notify", watchdog_s=0.2, start_timeout_s=HOUR, backoff=NEVER)
    machine.boot()
    tell(machine, "a", "answer = 1")
    spawned = float(str(machine.describe("a")["spawned_at"]))
    wait_for(lambda: uptime(machine) > spawned + 0.5, "more than a period to pass")
    assert machine.state("a") == "starting"
    tell(machine, "a", "notify(b'READY=1\\nSTOPPING=1')")
    status(machine, "a", "leaving")
    assert machine.describe("a")["reason"] == "stops by itself"
    now = uptime(machine)
    wait_for(lambda: uptime(machine) > now + 0.5, "more than a period to pass")
    assert machine.state("a") == "ready"


def test_systemd_service_stopping(machine: Machine) -> None:
    """A unit that said that it stops, and does not, is killed when its stop timeout is over."""
    puppet(machine, "a", ready=True, stop_timeout_s=0.3, backoff=NEVER)
    booted(machine, "a")
    tell(machine, "a", "notify(b'STOPPING=1')")
    assert machine.wait_state("a", "backoff")["reason"] == "did not stop in 0.3 s"


def test_systemd_service_stopping_cleanly(machine: Machine) -> None:
    """One that leaves with success after it said so is at rest when it need not come back."""
    puppet(machine, "a", ready=True, restart="on-failure")
    booted(machine, "a")
    tell(machine, "a", "notify(b'STOPPING=1'); os._exit(0)")
    machine.wait_state("a", "exited")
