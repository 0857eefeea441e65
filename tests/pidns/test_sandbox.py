"""Agents in their sandbox under a real PID 1: what it starts, refuses, stops and keeps."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

from tests.pidns.machine import Machine, toml
from tests.support.cable import SERVER, Cable
from tests.support.wait import wait_for

OVERLAY = Path(__file__).resolve().parents[2] / "rootfs-overlay"

HERE = """
import os, signal, socket, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("own pid", os.getpid(), "filter", int(status["Seccomp"]), "caps", int(status["CapBnd"], 16))
print("processes", sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))
print("descriptors", sorted(map(int, os.listdir("/proc/self/fd")))[:-1])
print("host", socket.gethostname())
try:
    os.listdir(%r)
except OSError as error:
    print("state", error.strerror, flush=True)
"""
WAITS = "import signal; print('up', flush=True); signal.pause()"
NOTIFIES = """
import os, signal, socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
    channel.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
print(open(os.environ["AINOS_MODEL_SPEECH"]).read(), flush=True)
signal.pause()
"""
HANDLES = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # it waits until it is asked for
print("up", flush=True)
signal.sigwait({signal.SIGTERM})
print("asked to stop", flush=True)
"""


def held(machine: Machine) -> list[str]:
    """What PID 1 has open, by kind, when it has let go of those that called it."""
    table = Path(f"/proc/{machine.init_host_pid}/net/unix")
    connected = re.compile(rf" 03 +\d+ {re.escape(str(machine.control))}$", re.MULTILINE)
    wait_for(lambda: not connected.search(table.read_text()), "callers to be let go of")
    folder = Path(f"/proc/{machine.init_host_pid}/fd")
    found = []
    for each in folder.iterdir():
        with suppress(FileNotFoundError):  # it is closed meanwhile
            found.append(os.readlink(each).split(":")[0])
    return sorted(found)


def test_an_agent_is_locked_in(machine: Machine) -> None:
    machine.tpm()
    machine.agent("alone", HERE % f"{machine.directory}/state" + WAITS)
    machine.boot()
    machine.wait_log("alone", "up")
    assert machine.log("alone")[-6:] == [
        "own pid 1 filter 2 caps 0",
        "processes [1]",
        "descriptors [0, 1, 2]",
        "host alone",
        "state No such file or directory",
        "up",
    ]


def test_it_says_ready_and_reads_its_model(machine: Machine) -> None:
    machine.tpm()
    machine.model("speech", "the measured content")
    machine.agent("listener", NOTIFIES, models=["speech"], type="notify")
    machine.boot()
    machine.wait_state("listener", "ready")
    machine.wait_log("listener", "the measured content")


def test_what_cannot_be_put_in_force_is_refused(machine: Machine) -> None:
    machine.tpm()
    machine.agent("caller", WAITS, sandbox={"network": ["192.0.2.7:443", "agent:other"]})
    machine.agent("gone", WAITS, sandbox={"read": ["/srv/nothing-is-here"]})
    machine.agent("other", WAITS)
    machine.agent("friend", WAITS, sandbox={"network": ["agent:other"]})
    machine.boot()
    machine.wait_state("friend", "ready")  # who lists no host needs no service
    machine.wait_state("other", "ready")
    for name, words in (
        ("caller", "the service egress cannot be reached"),
        ("gone", "/srv/nothing-is-here"),
    ):
        found = machine.wait_state(name, "refused", "backoff", "failed")
        assert str(found["reason"]).startswith("cannot be sandboxed: ")
        assert words in str(found["reason"])
        assert found["pid"] is None
    assert not any("up" in line for line in machine.log("caller"))


ASKS = f"""
import signal, socket
def ask():
    try:
        with socket.create_connection(("{SERVER}", 4443), 60) as channel:
            channel.shutdown(socket.SHUT_WR)
            print("heard", channel.recv(5).decode(), flush=True)
    except OSError as error:
        print("not heard", type(error).__name__, flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
while True:
    ask()
    signal.sigwait({{signal.SIGUSR1}})
"""


def test_an_agent_reaches_whom_it_lists(machine: Machine) -> None:
    """Before the service runs, when that was ended or restarted, when PID 1 began anew; and no more
    once dropped, until it starts anew.
    """
    machine.tpm()
    unit = (OVERLAY / "usr/lib/ainos/units/egress.toml").read_text(encoding="utf-8")
    shipped = "unix-seqpacket:/run/ainit/egress"
    assert shipped in unit
    unit = unit.replace(shipped, f"unix-seqpacket:{machine.directory}/run/egress")
    unit = unit.partition("[resources]")[0]  # there may be no controllers here
    (machine.directory / "units/egress.toml").write_text(unit, encoding="utf-8")
    machine.agent("caller", ASKS, sandbox={"network": [f"{SERVER}:4443"]})
    with Cable() as cable:
        cable.listen(SERVER, 4443)
        machine.network = cable.machine
        machine.boot()

        def heard(times: int, words: str = "heard hello") -> None:
            wait_for(
                lambda: machine.log("caller").count(words) == times,
                f"{words}, {times} times: {machine.log('caller')} {machine.log('egress')}",
            )

        def ask() -> None:
            here = f"{machine.directory}/cgroup/{machine.directory.name}/ainos/caller"
            group = Path(f"/proc/{machine.init_host_pid}/root{here}/cgroup.procs")
            os.kill(int(group.read_text()), signal.SIGUSR1)  # it is in a namespace below

        heard(1)
        machine.wait_log("egress", f"caller to {SERVER}:4443 at {SERVER}: ")
        before = machine.pid("egress")
        machine.kill(before)
        wait_for(lambda: machine.describe("egress")["pid"] not in (None, before), "another life")
        machine.wait_state("egress", "ready")
        ask()
        heard(2)
        machine.call("Reexec")
        machine.wait_state("egress", "ready")
        ask()
        heard(3)
        before = machine.pid("egress")
        machine.call("Restart", name="egress")
        wait_for(lambda: machine.describe("egress")["pid"] not in (None, before), "another life")
        machine.wait_state("egress", "ready")
        ask()
        heard(4)
        assert machine.call("org.ainos.Egress.Drop", agent="caller")["endpoints"] == 1
        ask()
        heard(1, "not heard ConnectionRefusedError")
        machine.call("Restart", name="caller")
        heard(5)
        agents = machine.call("org.ainos.Egress.List")["agents"]
        assert isinstance(agents, list)
        assert [each["endpoints"] for each in agents] == [[f"{SERVER}:4443"]]


def test_the_first_process_of_a_namespace_is_stopped_as_any_other(machine: Machine) -> None:
    """It would not get a signal that it does not handle, and be waited for in vain."""
    machine.tpm()
    machine.agent("deaf", WAITS)
    machine.agent("polite", HANDLES)
    machine.boot()
    for name in ("deaf", "polite"):
        machine.wait_log(name, "up")
        machine.call("Stop", name=name)
        machine.wait_state(name, "inactive")
    machine.wait_log("polite", "asked to stop")
    assert not any("did not stop" in line for line in machine.log("deaf"))


def test_a_pid_1_that_begins_anew_keeps_it_and_holds_nothing_more(machine: Machine) -> None:
    machine.tpm()
    machine.agent("alone", WAITS)
    machine.boot()
    machine.wait_log("alone", "up")
    pid, before = machine.pid("alone"), held(machine)
    machine.call("Restart", name="alone")
    wait_for(lambda: machine.pid("alone") not in (0, pid), "another life")
    machine.wait_state("alone", "ready")
    pid = machine.pid("alone")
    machine.call("Reexec")
    machine.wait_state("alone", "ready")
    assert machine.pid("alone") == pid
    wait_for(lambda: held(machine) == before, "it to hold what it held")


def test_a_probe_is_in_a_sandbox_like_its_agent_s(machine: Machine) -> None:
    machine.tpm()
    look = "import os; print('looks', os.path.exists('/tmp/mine'), os.getpid(), flush=True)"
    machine.agent("looked-at", "open('/tmp/mine', 'w'); " + WAITS)
    probe = {"exec": ["/usr/bin/python3", "-I", "-c", look], "interval_s": 1}
    with (machine.directory / "agents/looked-at/manifest.toml").open("a") as manifest:
        manifest.write(toml({"probe": probe}))
    machine.boot()
    machine.wait_log("looked-at", "looks False 1")
