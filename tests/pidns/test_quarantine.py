"""Quarantine under a real PID 1: what stands still, what is kept, and what goes on afterwards."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.child.client import Client, VarlinkError
from tests.pidns.machine import Machine, Record
from tests.support.wait import wait_for

# Counts in a file that the kernel keeps current for whoever looks from outside.
COUNTS = """
import mmap, os, struct
with open(%r, "r+b") as file:
    place = mmap.mmap(file.fileno(), 8)
print("up", flush=True)
count = 0
while True:
    count += 1
    place[:8] = struct.pack("=Q", count)
"""
FORKS = """
import os, signal
for _ in range(4):
    os.fork()
print("up", os.getpid(), flush=True)
while True:
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)
"""
EGRESS = "org.ainos.Egress"
SHARED = Path("/var/tmp")
WAITS = "import signal; print('up', flush=True); signal.pause()"


class Counter:
    """An agent that counts."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine, self.name = machine, name
        folder = SHARED / machine.directory.name / name  # which has a /tmp of its own
        folder.mkdir(parents=True)
        self._file = folder / "count"
        self._file.write_bytes(bytes(8))
        self._file.chmod(0o666)
        machine.agent(name, COUNTS % str(self._file), sandbox={"write": [str(folder)]})

    @property
    def count(self) -> int:
        return int.from_bytes(self._file.read_bytes(), "little")

    def goes_on(self) -> bool:
        before = self.count
        wait_for(lambda: self.count > before, f"{self.name} to count")
        return True

    def stands_still(self, other: Counter) -> bool:
        """In a time in which another one has gone on."""
        before = self.count
        usage = (group(self._machine, self.name) / "cpu.stat").read_text().splitlines()[0]
        for _ in range(50):
            assert other.goes_on()
        after = (group(self._machine, self.name) / "cpu.stat").read_text().splitlines()[0]
        return (self.count, after) == (before, usage)


def group(machine: Machine, name: str) -> Path:
    """The control group of a unit."""
    here = machine.directory / "cgroup" / machine.directory.name / "ainos" / name
    return Path(f"/proc/{machine.init_host_pid}/root{here}")


def hold(machine: Machine, name: str, reason: str = "odd connections") -> str:
    answer = machine.call("Quarantine", name=name, reason=reason)
    assert answer["frozen"] is True
    return str(answer["evidence"])


def held(machine: Machine, name: str) -> Record:
    found = machine.describe(name)["quarantine"]
    assert isinstance(found, dict)
    return found


def evidence(machine: Machine, piece: str) -> Path:
    folder = machine.directory / "state/quarantine" / piece
    wait_for((folder / "record.json").exists, "the evidence to be kept")
    return folder


def release(machine: Machine, name: str) -> None:
    """Once its evidence is kept."""

    def said() -> str:
        try:
            machine.call("Release", name=name)
        except VarlinkError as error:
            return str(error.parameters["reason"])
        return "done"

    wait_for(lambda: "still being collected" not in (last := said()) and last, f"release of {name}")
    assert not machine.describe(name)["quarantine"]


def refusal(machine: Machine, member: str, **parameters: object) -> str:
    with pytest.raises(VarlinkError) as caught:
        machine.call(member, **parameters)
    assert caught.value.name.endswith((".Refused", ".Unavailable"))
    return str(caught.value.parameters["reason"])


@pytest.fixture
def two(machine: Machine) -> Iterator[tuple[Counter, Counter]]:
    machine.tpm()
    made = Counter(machine, "counter"), Counter(machine, "free")
    machine.boot()
    for one in made:
        machine.wait_log(one.name, "up")
    yield made
    shutil.rmtree(SHARED / machine.directory.name)


def test_it_stands_still_until_it_is_released(
    machine: Machine, two: tuple[Counter, Counter]
) -> None:
    counter, free = two
    pid = machine.pid("counter")
    assert counter.goes_on()
    hold(machine, "counter")
    found = machine.describe("counter")
    assert (found["state"], found["reason"]) == ("quarantined", "odd connections")
    assert (held(machine, "counter")["by"], found["pid"]) == ("user 0", pid)
    assert counter.stands_still(free)
    release(machine, "counter")
    assert (machine.state("counter"), machine.pid("counter")) == ("ready", pid)
    assert counter.goes_on()
    assert machine.describe("counter")["quarantine"] is None


def test_a_pid_1_that_begins_anew_keeps_it(machine: Machine, two: tuple[Counter, Counter]) -> None:
    counter, free = two
    pid = machine.pid("counter")
    piece = hold(machine, "counter")
    machine.call("Reexec")
    machine.wait_state("counter", "quarantined")
    assert counter.stands_still(free)
    assert held(machine, "counter")["reason"] == "odd connections"
    evidence(machine, piece)  # which the child of the former one may not have finished
    machine.call("Reexec")
    release(machine, "counter")
    assert machine.wait_state("counter", "ready")["pid"] == pid
    assert counter.goes_on()


def test_a_stop_kills_it_and_it_does_not_start(
    machine: Machine, two: tuple[Counter, Counter]
) -> None:
    evidence(machine, hold(machine, "counter"))
    machine.call("Stop", name="counter")
    wait_for(lambda: machine.describe("counter")["pid"] is None, "it to be killed")
    assert machine.wait_state("counter", "quarantined")["desired"] == "down"
    words = "counter is in quarantine: odd connections"
    for member in ("Start", "Restart"):
        assert refusal(machine, member, name="counter") == words
    assert refusal(machine, "Trigger", name="counter", reason="a device") == words
    release(machine, "counter")
    machine.wait_state("counter", "inactive")
    machine.call("Start", name="counter")
    machine.wait_state("counter", "ready")
    assert two[0].goes_on()  # it was not born frozen


def test_the_evidence_is_all_there(machine: Machine) -> None:
    machine.tpm()
    machine.model("speech", "the measured content")
    machine.agent("listener", WAITS, models=["speech"], sandbox={"network": "loopback"})
    machine.boot()
    machine.wait_log("listener", "up")
    pid = machine.pid("listener")
    folder = evidence(machine, hold(machine, "listener", "odd memory"))
    assert folder.stat().st_mode & 0o777 == 0o700
    record = json.loads((folder / "record.json").read_text())
    assert record["kind"] == "quarantine"
    assert record["cause"] == "listener: odd memory (by user 0)"
    assert record["incomplete"] is False
    assert "up\n" in (folder / "log.txt").read_text()
    measured = json.loads((folder / "measurements.json").read_text())
    assert {each["content"]["name"] for each in measured} == {"listener", "speech"}
    assert "== cgroup.events\npopulated 1\nfrozen 1\n" in (folder / "group.txt").read_text()
    process = (folder / f"process-{pid}.txt").read_text()
    for part in ("cmdline\n/usr/bin/python3 -I", "limits\nLimit", "maps\n", "status\nName:"):
        assert f"== {part}" in process
    assert "\nnet net:[" in process
    assert "\n0 /dev/null\n" in process
    (network,) = folder.glob("network-*.txt")
    assert "lo:" in network.read_text()
    assert not list(folder.parent.glob(".new-*"))


def test_what_forks_is_frozen_whole(machine: Machine) -> None:
    machine.tpm()
    machine.agent("forker", FORKS, sandbox={"system_calls": ["processes"]})
    machine.boot()
    wait_for(
        lambda: sum(line.startswith("up ") for line in machine.log("forker")) == 16,
        "16 processes that fork",
    )
    folder = evidence(machine, hold(machine, "forker"))
    pids = sorted(folder.glob("process-*.txt"))
    assert len(pids) >= 16
    procs, events = (group(machine, "forker") / f"cgroup.{each}" for each in ("procs", "events"))
    assert "frozen 1" in events.read_text()
    before = procs.read_text()
    wait_for(lambda: machine.state("forker") == "quarantined", "a turn")
    assert procs.read_text() == before
    machine.call("Stop", name="forker")
    wait_for(lambda: "populated 0" in events.read_text(), "every one to be killed")


def test_its_interfaces_are_refused(machine: Machine) -> None:
    machine.tpm()
    machine.agent("talker", WAITS, provides=["org.ainos.agent.Speech"])
    machine.boot()
    machine.wait_log("talker", "up")
    hold(machine, "talker")
    words = "talker is in quarantine: odd connections"
    assert refusal(machine, "org.ainos.agent.Speech.Transcribe", audio="") == words
    assert machine.state("talker") == "quarantined"


def test_a_call_under_way_is_not_waited_for(machine: Machine) -> None:
    machine.tpm()
    machine.agent("talker", WAITS, provides=["org.ainos.agent.Speech"])
    machine.boot()
    machine.wait_log("talker", "up")
    with Client(machine.control, timeout=30.0) as client:
        client.request("org.ainos.agent.Speech.Transcribe", {"audio": ""})
        hold(machine, "talker")
        with pytest.raises(VarlinkError, match="Unavailable"):
            client.reply()


def test_a_connection_does_not_start_it(machine: Machine) -> None:
    machine.tpm()
    machine.agent("lazy", WAITS)
    path = f"{machine.directory}/lazy.socket"
    with (machine.directory / "agents/lazy/manifest.toml").open("a") as manifest:
        manifest.write(f'[activation]\non_demand = true\n[[socket]]\nlisten = "unix:{path}"\n')
    machine.boot()
    hold(machine, "lazy")
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        assert machine.state("lazy") == "quarantined"
        words = "lazy is in quarantine: odd connections"
        assert refusal(machine, "Start", name="lazy") == words
        release(machine, "lazy")
        machine.wait_state("lazy", "ready")  # which the connection has waited for


def test_its_connections_are_dropped_by_whoever_carries_them(machine: Machine) -> None:
    machine.tpm()
    journal = machine.directory / "dropped"
    machine.unit("egress", "provide", "org.ainos.Egress", str(journal), provides=[EGRESS])
    machine.agent("caller", WAITS)
    machine.boot()
    machine.wait_state("egress", "ready")
    machine.wait_log("caller", "up")
    hold(machine, "caller")
    wait_for(lambda: journal.exists() and journal.read_text() == "drop caller\n", "the drop")
    assert not any("not dropped" in line for line in machine.log("caller"))
    machine.kill(machine.pid("egress"))  # the next one takes up what that one had stored
    wait_for(lambda: journal.read_text().count("drop caller\n") == 2, "the drop by the next one")
    machine.call("Reexec")
    wait_for(lambda: journal.read_text().count("drop caller\n") == 3, "the drop that may be lost")
    release(machine, "caller")
    before = machine.pid("egress")
    machine.kill(before)
    wait_for(lambda: machine.describe("egress")["pid"] not in (None, before), "another life")
    machine.wait_state("egress", "ready")
    assert journal.read_text().count("drop caller\n") == 3


def test_a_job_is_frozen_and_not_held_over_a_reboot(machine: Machine) -> None:
    machine.tpm()
    gpu = str(machine.directory / "gpu")
    machine.unit("gpu", "provide", "org.ainos.Gpu", gpu, provides=["org.ainos.Gpu"])
    machine.boot()
    machine.wait_state("gpu", "ready")
    command = ["/usr/bin/python3", "-I", "-c", WAITS]
    name = str(machine.call("Run", command=command, profiles=["2g.20gb"])["name"])
    wait_for(lambda: "up" in machine.log(name), "it to be up")
    evidence(machine, hold(machine, name))
    assert machine.state(name) == "quarantined"
    assert not (machine.directory / f"state/quarantine/held/{name}").exists()
    machine.call("CancelJob", name=name)
    wait_for(lambda: "-" in Path(gpu).read_text(), "its GPU to be given back")
    assert machine.state(name) == "quarantined"
    release(machine, name)
    machine.wait_state(name, "inactive")


def test_nothing_kills_what_is_frozen(machine: Machine) -> None:
    """The time that it has to start goes by, as that of another one shows."""
    machine.tpm()
    for name in ("slow", "slower"):
        machine.agent(name, WAITS, type="notify", start_timeout_s=5, restart="never")
    machine.boot()
    machine.wait_log("slow", "up")
    hold(machine, "slow")
    pid = machine.pid("slow")
    machine.wait_state("slower", "failed")
    found = machine.describe("slow")
    assert (found["state"], found["pid"]) == ("quarantined", pid)


def test_services_are_not_frozen(machine: Machine) -> None:
    machine.unit("helper", "pause")
    machine.boot()
    machine.wait_state("helper", "ready")
    words = "helper is a service: only agents and jobs are put in quarantine"
    assert refusal(machine, "Quarantine", name="helper", reason="odd") == words
    assert refusal(machine, "Release", name="helper") == "helper is not in quarantine"


def test_a_machine_goes_down_with_it_and_holds_it_at_the_next_boot(
    machine: Machine, two: tuple[Counter, Counter]
) -> None:
    hold(machine, "counter")
    machine.call("Reboot")
    assert machine.left() == "reboot"
    machine.boot()
    found = machine.wait_state("counter", "quarantined")
    assert (found["reason"], found["pid"]) == ("odd connections", None)
    machine.wait_state("free", "ready")
    release(machine, "counter")
    machine.wait_state("counter", "ready")
    assert two[0].goes_on()
    assert not list((machine.directory / "state/quarantine/held").iterdir())
