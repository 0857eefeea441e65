"""Daemons, tasks and a machine whose configuration changes: ported from the scripts in finit's
test/, each by its name there.
"""

from __future__ import annotations

import json
import signal

import pytest

from tests.pidns.cases.kit import (
    FALSE,
    FAST,
    NEVER,
    PAUSE,
    TRUE,
    alone,
    booted,
    configure,
    error,
    findings,
    puppet,
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
DAEMON = """
import os, signal, sys
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print("daemon", os.getpid(), flush=True)
signal.pause()
"""


def daemon(machine: Machine, name: str, **keys: object) -> None:
    """A unit whose program goes to the background by a double fork."""
    unit(machine, name, ["/usr/bin/python3", "-I", "-c", DAEMON], type="forking", **keys)


def test_finit_add_remove_dynamic_service(machine: Machine) -> None:
    """A service that is added starts, one that is changed restarts, one that is removed is gone."""
    machine.boot()
    assert configure(machine, service=text(PAUSE))["start"] == ["service"]
    first = machine.wait_state("service", "ready")["pid"]
    assert isinstance(first, int)
    configure(machine, service=text([*PAUSE, "inf"]))
    replaced(machine, "service", first)
    configure(machine, service="")
    wait_for(lambda: error(machine, "Describe", name="service") == "NoSuchUnit", "it to be gone")
    alone(machine)


def test_finit_add_remove_dynamic_service_sub_config(machine: Machine) -> None:
    """A file of the machine's own is read with all others; a broken one changes nothing."""
    unit(machine, "image", PAUSE)
    booted(machine, "image")
    configure(machine, own=text(PAUSE, after=["image"]))
    machine.wait_state("own", "ready")
    (found,) = findings(machine, own="[service\n")
    assert found.startswith("units/own.toml:1:")
    assert machine.state("own") == "ready"


def test_finit_bootstrap_crash(machine: Machine) -> None:
    """A task of the early stage that fails does not hold the boot up for ever."""
    unit(
        machine, "early", FALSE, type="oneshot", stage="early", essential=False,
        backoff={**FAST, "limit": 2},
    )  # fmt: skip
    puppet(machine, "main", ready=True)
    booted(machine, "main")
    assert machine.describe("early")["restarts"] == 2


def test_finit_cond_start_task(machine: Machine) -> None:
    """A task that did its work does not run again with an unrelated change, but on request."""
    machine.boot()
    task = text(shell("echo done"), type="oneshot")
    configure(machine, task=task)
    machine.wait_state("task", "exited")
    configure(machine, other=text(PAUSE))
    machine.wait_state("other", "ready")
    assert machine.log("task").count("done") == 1
    machine.call("Start", name="task")
    wait_for(lambda: machine.log("task").count("done") == 2, "it to run again")


def test_finit_crashing(machine: Machine) -> None:
    """A service that crashes at once is tried so many times and then held; it can be revived."""
    flag = machine.directory / "flag"
    command = shell(f"test -e {flag} && exec sleep inf; kill -SEGV $$")
    unit(machine, "crasher", command, backoff={**FAST, "limit": 3})
    machine.boot()
    found = machine.wait_state("crasher", "failed")
    assert found["reason"] == "killed by signal 11; held after 4 failures in a row"
    flag.touch()
    machine.call("Start", name="crasher")
    machine.wait_state("crasher", "ready")


def test_finit_crashing_backoff(machine: Machine) -> None:
    """Each pause is longer than the one before, up to the longest; the deadline tells."""
    code = "import os; os._exit(1)"
    backoff = {"first_s": 0.2, "factor": 2, "max_s": 0.4, "limit": 3}
    unit(machine, "crasher", ["/usr/bin/python3", "-S", "-c", code], backoff=backoff)
    machine.boot()
    machine.wait_state("crasher", "failed")
    lines = machine.call("Logs", unit="crasher")["lines"]
    assert isinstance(lines, list)
    rests = [line["time"] for line in lines if line["text"].startswith("backoff")]
    starts = [line["time"] for line in lines if line["text"] == "starting"][1:]
    pauses = [start - rest for rest, start in zip(rests, starts, strict=True)]
    assert all(pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.4), strict=True))


def test_finit_depserv(machine: Machine) -> None:
    """A dependent starts when its service is ready, stops and restarts with it."""
    puppet(machine, "foo", type="notify", start_timeout_s=HOUR)
    puppet(machine, "bar", ready=True, requires=["foo"])
    machine.boot()
    tell(machine, "foo", "answer = 1")
    assert machine.state("bar") == "waiting"
    tell(machine, "foo", "notify(b'READY=1')")
    pid = machine.wait_state("bar", "ready")["pid"]
    assert isinstance(pid, int)
    first = machine.pid("foo")
    machine.call("Restart", name="foo")
    wait_for(lambda: machine.describe("foo")["pid"] not in (first, None), "another foo")
    tell(machine, "foo", "notify(b'READY=1')")
    replaced(machine, "bar", pid)
    machine.call("Stop", name="foo")
    machine.wait_state("bar", "inactive")


def test_finit_failing_sysv(machine: Machine) -> None:
    """A program that should go to the background, and fails, has failed."""
    unit(machine, "sysv", FALSE, type="forking", backoff={**FAST, "limit": 1})
    machine.boot()
    found = machine.wait_state("sysv", "failed")
    assert found["reason"] == "exited with status 1; held after 2 failures in a row"


def test_finit_start_stop_sysv(machine: Machine) -> None:
    """A daemon that goes to the background is found in its cgroup, stopped and started again."""
    daemon(machine, "sysv")
    booted(machine, "sysv")
    wait_for(lambda: f"daemon {machine.pid('sysv')}" in machine.log("sysv"), "the daemon itself")
    machine.call("Stop", name="sysv")
    machine.wait_state("sysv", "inactive")
    alone(machine)
    machine.call("Start", name="sysv")
    machine.wait_state("sysv", "ready")


def test_finit_start_stop_sysv_slowly(machine: Machine) -> None:
    """A daemon may take its time between its two forks: the process that stays is the main one."""
    flag = machine.directory / "flag"
    gate = f"import time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)\n"
    code = DAEMON.replace("os.setsid()\n", f"os.setsid()\n{gate}")
    unit(machine, "sysv", ["/usr/bin/python3", "-I", "-c", code], type="forking", restart="never")
    booted(machine, "sysv")
    between = machine.pid("sysv")
    flag.touch()
    replaced(machine, "sysv", between)
    machine.wait_log("sysv", f"daemon {machine.pid('sysv')}")
    machine.kill(machine.pid("sysv"))
    machine.wait_state("sysv", "failed")


def test_finit_forking_without_daemon(machine: Machine) -> None:
    """A program of type forking that leaves nobody behind has failed, successful or not."""
    unit(machine, "nobody", TRUE, type="forking", restart="on-failure", backoff=NEVER)
    machine.boot()
    machine.wait_state("nobody", "exited", "backoff", "failed")
    assert machine.describe("nobody")["ready_at"] is None


@pytest.mark.parametrize("kind", ["systemd", "grandchild"])
def test_finit_notify(machine: Machine, kind: str) -> None:
    """A service is not running before it has said that it is ready."""
    keys: dict[str, object] = {"notify_access": "all"} if kind == "grandchild" else {}
    puppet(machine, "service", type="notify", start_timeout_s=HOUR, **keys)
    puppet(machine, "other", ready=True, after=["service"])
    machine.boot()
    tell(machine, "service", "answer = 1")
    assert machine.state("other") == "waiting"
    said = "notify(b'READY=1')"
    tell(machine, "service", said if kind == "systemd" else f"detached(lambda: {said})")
    machine.wait_state("other", "ready")


def test_finit_notify_dies_before(machine: Machine) -> None:
    """One that ends before it was ready has failed, whatever its status."""
    unit(machine, "service", TRUE, type="notify", restart="on-failure", backoff=NEVER)
    machine.boot()
    found = machine.wait_state("service", "exited", "backoff")
    assert found["ready_at"] is None


def test_finit_ready_serv(machine: Machine) -> None:
    """What is started on a ready service finds it ready, whatever kind of readiness it has."""
    daemon(machine, "forking")
    puppet(machine, "notify", ready=True)
    unit(machine, "oneshot", TRUE, type="oneshot")
    unit(machine, "simple", PAUSE)
    kinds = ["forking", "notify", "oneshot", "simple"]
    unit(machine, "last", PAUSE, requires=kinds)
    booted(machine, "last")
    assert [machine.state(name) for name in kinds] == ["ready", "ready", "exited", "ready"]


def test_finit_restart_self(machine: Machine) -> None:
    """A service can have itself restarted through the control socket."""
    puppet(machine, "self", ready=True)
    booted(machine, "self")
    pid = machine.pid("self")
    call = {"method": "org.ainos.Control.Restart", "parameters": {"name": "self"}}
    code = f"""
peer = socket.socket(socket.AF_UNIX)
peer.connect({machine.control!r})
peer.sendall({json.dumps(call).encode()!r} + b"\\0")
"""
    tell(machine, "self", code)
    replaced(machine, "self", pid)


def test_finit_run_restart_forever(machine: Machine) -> None:
    """A task that fails and need not be repeated runs once."""
    unit(machine, "task", shell("echo ran; exit 1"), type="oneshot", restart="never")
    puppet(machine, "later", ready=True, after=["task"])
    booted(machine, "later")
    assert machine.state("task") == "failed"
    assert machine.log("task").count("ran") == 1


def test_finit_run_task_tricks(machine: Machine) -> None:
    """A task of the boot may ask for other services to be restarted, and is not held up by that."""
    puppet(machine, "service", ready=True)
    calls = [
        {"method": f"org.ainos.Control.{member}", "parameters": {"name": "service"}}
        for member in ("Describe", "Restart", "Stop", "Start")
    ]
    code = f"""
import json, socket
peer = socket.socket(socket.AF_UNIX)
peer.connect({machine.control!r})
for call in {calls!r}:
    peer.sendall(json.dumps(call).encode() + b"\\0")
    answer = b""
    while not answer.endswith(b"\\0"):
        answer += peer.recv(4096)
    print(call["method"], b"error" in answer, flush=True)
"""
    command = ["/usr/bin/python3", "-I", "-c", code]
    unit(machine, "tricks", command, type="oneshot", after=["service"])
    machine.boot()
    machine.wait_state("tricks", "exited")
    assert [line for line in machine.log("tricks") if line.startswith("org.")] == [
        f"org.ainos.Control.{member} False" for member in ("Describe", "Restart", "Stop", "Start")
    ]
    machine.wait_state("service", "ready")


def test_finit_signal_service(machine: Machine) -> None:
    """A service gets the signal that its file names to reload, and the one to stop."""
    puppet(machine, "service", ready=True, reload_signal="USR1", stop_signal="USR2")
    booted(machine, "service")
    code = """
signal.signal(signal.SIGUSR1, lambda *_: say("reload"))
signal.signal(signal.SIGUSR2, lambda *_: (say("stop"), os._exit(0)))
"""
    tell(machine, "service", code)
    machine.call("ReloadUnit", name="service")
    machine.wait_log("service", "reload")
    machine.call("Stop", name="service")
    machine.wait_state("service", "inactive")
    assert "stop" in machine.log("service")


def test_finit_start_kill_service(machine: Machine) -> None:
    """A killed service is back with another pid, a daemon of its own making, too."""
    puppet(machine, "plain", ready=True, backoff=FAST)
    daemon(machine, "daemon", backoff=FAST)
    booted(machine, "plain", "daemon")
    for name in ("plain", "daemon"):
        pid = machine.pid(name)
        machine.kill(pid)
        replaced(machine, name, pid)


def test_finit_start_kill_stop(machine: Machine) -> None:
    """A stop during the pause before a restart leaves the service down, and no process."""
    puppet(machine, "service", ready=True, backoff=NEVER)
    booted(machine, "service")
    machine.kill(machine.pid("service"))
    machine.wait_state("service", "backoff")
    machine.call("Stop", name="service")
    found = machine.describe("service")
    assert (found["state"], found["pid"], found["desired"]) == ("inactive", None, "down")
    alone(machine)


def test_finit_start_stop_serv(machine: Machine) -> None:
    """Start, stop, start: each does it once, repeated or not."""
    puppet(machine, "service", ready=True, autostart=False)
    machine.boot()
    for _ in range(2):
        machine.call("Start", name="service")
        machine.call("Start", name="service")
        machine.wait_state("service", "ready")
        machine.call("Stop", name="service")
        machine.call("Stop", name="service")
        machine.wait_state("service", "inactive")
    assert machine.log("service").count("starting") == 2


def test_finit_svc_env(machine: Machine) -> None:
    """A changed environment reaches a service with its restart, and nobody else restarts."""
    machine.boot()
    command = shell("echo value=$VALUE; exec sleep inf")
    configure(machine, a=text(command, environment={"VALUE": "one"}), b=text(PAUSE))
    machine.wait_log("a", "value=one")
    pid = machine.wait_state("b", "ready")["pid"]
    configure(machine, a=text(command, environment={"VALUE": "two"}))
    machine.wait_log("a", "value=two")
    assert machine.pid("b") == pid


def test_finit_global_envs(machine: Machine) -> None:
    """Every service has the same few variables, whatever PID 1 itself was started with."""
    for name in ("a", "b"):
        unit(machine, name, ["/usr/bin/env"], type="oneshot")
    machine.boot()
    seen = []
    for name in ("a", "b"):
        machine.wait_state(name, "exited")
        seen.append({line for line in machine.log(name) if line.startswith(("PATH", "LANG"))})
    assert seen[0] == seen[1] == {"PATH=/usr/bin:/usr/sbin", "LANG=C.UTF-8"}


def test_finit_unexpected_restart(machine: Machine) -> None:
    """A reload without changes, while a service is in flux, has no effect on its dependents."""
    puppet(machine, "b", ready=True)
    puppet(machine, "c", ready=True, requires=["b"], reload_signal="HUP")
    booted(machine, "c")
    pids = machine.pid("b"), machine.pid("c")
    tell(machine, "b", "notify(b'RELOADING=1')")
    status(machine, "b", "in flux")
    machine.call("ReloadConfiguration")
    tell(machine, "b", "notify(b'READY=1')")
    status(machine, "b", "settled")
    assert (machine.pid("b"), machine.pid("c")) == pids


def test_finit_process_depends(machine: Machine) -> None:
    """Dependents of one that ends for good wait; those of one that has done its work run."""
    unit(machine, "done", TRUE, type="oneshot")
    puppet(machine, "on-done", ready=True, requires=["done"])
    unit(machine, "gone", FALSE, type="oneshot", restart="never")
    puppet(machine, "on-gone", ready=True, requires=["gone"])
    booted(machine, "on-done")
    machine.wait_state("gone", "failed")
    assert machine.state("on-gone") == "waiting"


def test_finit_initctl_status_subset(machine: Machine) -> None:
    """A name means that unit and none whose name begins like it."""
    for name in ("foo", "foo-1", "foobar"):
        unit(machine, name, PAUSE)
    booted(machine, "foo", "foo-1", "foobar")
    machine.call("Stop", name="foo")
    machine.wait_state("foo", "inactive")
    assert [machine.state(name) for name in ("foo-1", "foobar")] == ["ready", "ready"]
    assert error(machine, "Describe", name="fo") == "NoSuchUnit"


def test_finit_testserv(machine: Machine) -> None:
    """A service that is started, killed and stopped in turn never leaves a process behind."""
    unit(machine, "service", [*ACTOR, "stubborn"], stop_timeout_s=0.2, backoff=FAST)
    machine.boot()
    machine.wait_log("service", "grandchild armed")
    pid = machine.wait_state("service", "ready")["pid"]
    assert isinstance(pid, int)
    machine.kill(pid, signal.SIGKILL)
    replaced(machine, "service", pid)
    machine.call("Stop", name="service")
    machine.wait_state("service", "inactive")
    alone(machine)
