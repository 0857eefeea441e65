"""The life of services under a real PID 1: restart, readiness, stopping, reaping."""

from __future__ import annotations

import os
import signal
import socket

from tests.pidns.machine import Machine, Process
from tests.support.wait import wait_for

FAST = {"first_s": 0.01, "factor": 1.1, "max_s": 0.05}


def running(machine: Machine, pid: int) -> Process | None:
    return next((one for one in machine.processes() if one.pid == pid and one.state != "Z"), None)


def ready_pid(machine: Machine, name: str, others_than: set[int]) -> int | None:
    unit = machine.describe(name)
    pid = unit["pid"] if unit["state"] == "ready" else None
    return pid if isinstance(pid, int) and pid not in others_than else None


def no_zombie(machine: Machine) -> bool:
    return not [one for one in machine.processes() if one.state == "Z"]


def test_killed_twenty_times_is_held_as_failed_and_others_are_untouched(machine: Machine) -> None:
    machine.unit("victim", "pause", backoff={**FAST, "limit": 19})
    machine.unit("bystander", "pause")
    machine.boot()
    bystander = machine.pid("bystander")
    seen: set[int] = set()

    def next_incarnation() -> int | None:
        return ready_pid(machine, "victim", seen)

    for killed in range(20):
        pid = wait_for(next_incarnation, f"incarnation {killed + 1}")
        assert pid is not None
        assert machine.describe("victim")["restarts"] == killed
        seen.add(pid)
        machine.kill(pid)
    failed = machine.wait_state("victim", "failed")
    assert failed["reason"] == "killed by signal 9; held after 20 failures in a row"
    assert failed["pid"] is None
    assert machine.pid("bystander") == bystander
    assert machine.describe("bystander")["restarts"] == 0
    wait_for(lambda: no_zombie(machine), "no zombie")
    machine.call("Start", name="victim")
    assert machine.wait_state("victim", "ready")["pid"] not in seen


def test_between_two_attempts_a_unit_waits_and_says_why(machine: Machine) -> None:
    machine.unit("crash", "crash", backoff={"first_s": 3600, "max_s": 3600})
    machine.boot()
    unit = machine.wait_state("crash", "backoff")
    assert unit["reason"] == "exited with status 3"
    assert unit["pid"] is None
    assert "about to fail" in machine.log("crash")


def test_stop_ends_the_wait_for_the_next_attempt(machine: Machine) -> None:
    machine.unit("crash", "crash", backoff={"first_s": 3600, "max_s": 3600})
    machine.boot()
    machine.wait_state("crash", "backoff")
    machine.call("Stop", name="crash")
    assert machine.state("crash") == "inactive"


def test_orphans_are_reaped(machine: Machine) -> None:
    machine.unit("parent", "orphans", "25")
    machine.boot()
    machine.wait_log("parent", "orphaned")
    parent = machine.pid("parent")
    wait_for(lambda: {one.pid for one in machine.processes()} == {1, parent}, "orphans to be gone")


def test_many_deaths_at_one_blow_are_all_reaped(machine: Machine) -> None:
    """Signals do not queue: however many children died, PID 1 may hear of it once."""
    names = [f"victim-{number}" for number in range(5)]
    for name in names:
        machine.unit(name, "pause", restart="never")
    machine.boot()
    pids = [machine.pid(name) for name in names]
    machine.kill(1, signal.SIGSTOP)
    for pid in pids:
        machine.kill(pid)
    wait_for(lambda: all(not running(machine, pid) for pid in pids), "all to be dead")
    machine.kill(1, signal.SIGCONT)
    for name in names:
        assert machine.wait_state(name, "failed")["reason"] == "killed by signal 9"
    wait_for(lambda: no_zombie(machine), "no zombie")


def test_what_ignores_sigterm_is_killed_with_its_detached_children(machine: Machine) -> None:
    machine.unit("stubborn", "stubborn", stop_timeout_s=0.2)
    machine.boot()
    machine.wait_log("stubborn", "grandchild armed")
    wait_for(lambda: "armed" in machine.log("stubborn"), "the main process to be armed")
    assert len(machine.processes()) == 3
    machine.call("Stop", name="stubborn")
    stopped = machine.wait_state("stubborn", "inactive")
    assert stopped["reason"] == "did not stop in 0.2 s"
    wait_for(lambda: [one.pid for one in machine.processes()] == [1], "the whole group to be gone")


def test_what_a_dead_service_leaves_behind_goes_with_it(machine: Machine) -> None:
    machine.unit("stubborn", "stubborn", restart="never")
    machine.boot()
    machine.wait_log("stubborn", "grandchild armed")
    machine.kill(machine.pid("stubborn"))
    machine.wait_state("stubborn", "failed")
    wait_for(lambda: [one.pid for one in machine.processes()] == [1], "the whole group to be gone")


def test_notified_readiness_from_the_main_process(machine: Machine) -> None:
    machine.unit("service", "ready", type="notify")
    machine.boot()
    unit = machine.wait_state("service", "ready")
    assert unit["ready_at"] is not None


def test_notified_readiness_from_a_grandchild(machine: Machine) -> None:
    machine.unit("service", "ready-from-grandchild", type="notify", notify_access="all")
    machine.boot()
    machine.wait_state("service", "ready")


def test_readiness_from_a_stranger_is_ignored(machine: Machine) -> None:
    machine.unit("waiting", "pause", type="notify", start_timeout_s=3600)
    machine.unit(
        "stranger", command=["/usr/bin/python3", "-c", STRANGER, f"{machine.directory}/run/notify"]
    )
    machine.unit("honest", "ready", type="notify", after=["stranger"])
    machine.boot()
    machine.wait_log("stranger", "sent")
    machine.call("Restart", name="honest")
    machine.wait_state(
        "honest", "ready"
    )  # sent later on the same socket, so the stranger's was read
    assert machine.state("waiting") == "starting"


STRANGER = """
import os, signal, socket, sys
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.sendto(b"READY=1", sys.argv[1])
os.write(1, b"sent\\n")
signal.pause()
"""


def test_readiness_from_outside_the_machine_is_ignored(machine: Machine) -> None:
    machine.unit("waiting", "pause", type="notify", start_timeout_s=3600)
    machine.unit("idle", command=["/bin/true"], type="oneshot")
    machine.unit("honest", "ready", type="notify")
    machine.boot()
    machine.wait_log("waiting", "paused")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(b"READY=1", f"{machine.directory}/run/notify")
        channel.sendto(b"\xff\n=\n" * 100, f"{machine.directory}/run/notify")
    machine.call("Restart", name="honest")
    machine.wait_state("honest", "ready")
    assert machine.state("waiting") == "starting"


def test_descriptors_sent_along_with_readiness_are_not_taken(machine: Machine) -> None:
    machine.unit("waiting", "pause", type="notify", start_timeout_s=3600)
    machine.unit("honest", "ready", type="notify")
    machine.boot()
    machine.wait_state("honest", "ready")
    directory = f"/proc/{machine.init_host_pid}/fd"
    before = set(os.listdir(directory))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, open("/dev/null") as null:
        channel.connect(f"{machine.directory}/run/notify")
        for _ in range(50):
            socket.send_fds(channel, [b"READY=1"], [null.fileno()] * 4)
    machine.call("Restart", name="honest")
    machine.wait_state("honest", "ready")
    held = {os.readlink(f"{directory}/{name}") for name in set(os.listdir(directory)) - before}
    assert "/dev/null" not in held


def test_what_is_not_ready_in_time_is_killed_and_tried_again(machine: Machine) -> None:
    machine.unit("late", "pause", type="notify", start_timeout_s=0.2, backoff={**FAST, "limit": 2})
    machine.boot()
    failed = machine.wait_state("late", "failed")
    assert failed["reason"] == "not ready in 0.2 s; held after 3 failures in a row"
    assert failed["restarts"] == 2


def test_a_oneshot_that_did_its_work_has_exited(machine: Machine) -> None:
    machine.unit("work", command=["/bin/sh", "-c", "echo done"], type="oneshot")
    machine.boot()
    machine.wait_state("work", "exited")
    assert machine.log("work").count("done") == 1
    machine.call("Start", name="work")
    wait_for(lambda: machine.log("work").count("done") == 2, "the oneshot to run again")


def test_a_missing_program_is_named(machine: Machine) -> None:
    machine.unit("missing", command=["/nonexistent/program"], backoff={**FAST, "limit": 1})
    machine.boot()
    failed = machine.wait_state("missing", "failed")
    assert str(failed["reason"]).startswith("could not be executed")
    assert any("/nonexistent/program" in line for line in machine.log("missing"))


def test_start_stop_and_restart(machine: Machine) -> None:
    machine.unit("service", "pause")
    machine.boot()
    first = machine.pid("service")
    machine.call("Restart", name="service")

    second = wait_for(lambda: ready_pid(machine, "service", {first}), "the service to be replaced")
    assert running(machine, first) is None
    machine.call("Stop", name="service")
    assert machine.wait_state("service", "inactive")["desired"] == "down"
    wait_for(lambda: [one.pid for one in machine.processes()] == [1], "the service to be gone")
    machine.call("Start", name="service")
    assert machine.wait_state("service", "ready")["pid"] not in (first, second)


def test_stray_signals_do_not_disturb_pid_1(machine: Machine) -> None:
    """PID 1 handles what it may be sent and ignores the rest."""
    machine.unit("service", "pause")
    machine.boot()
    pid = machine.pid("service")
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD):
        machine.kill(1, number)
    assert machine.pid("service") == pid
