"""A real PID 1, the audit service and an agent: watched, learned, tightened, and back again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ainit.child.client import VarlinkError
from ainit.policy import overlay
from tests.pidns.machine import Machine, toml
from tests.support.cable import SERVER, Cable
from tests.support.idl import Interface
from tests.support.wait import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
AUDIT = Interface.named("org.ainos.Audit")

# Does each time the same: reads one of two directories, starts a program, and says what it finds
# of the rest.
AGENT = """
import os, signal, subprocess, sys
where = %r
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print(open(where + "/used/file").read().strip(), end=" ")
print(subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", ""]).returncode, end=" ")
if os.path.exists("/etc/hostname") and os.environ.get("LOOK"):
    print(os.path.exists(where + "/unused/file"), end=" ")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
        print("nice", end=" ")
    except OSError as error:
        print(error.strerror, end=" ")
print("done", flush=True)
while True:
    signal.sigwait([signal.SIGUSR1])
    try:
        print("again", open(where + "/used/file").read().strip(), flush=True)
    except OSError as error:
        print("again", error.strerror, flush=True)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Directories that an agent's view can have: not in /tmp."""
    made = Path(tempfile.mkdtemp(prefix="ainos-learn-", dir="/var/tmp"))
    made.chmod(0o755)
    for name in ("used", "unused"):
        (made / name).mkdir()
        (made / name / "file").write_text(f"{name}\n")
    try:
        yield made
    finally:
        shutil.rmtree(made)


def with_service(machine: Machine) -> None:
    """The audit service, as the image has it but for where things are."""
    names = ("STATE", "OVERLAYS", "RECORDS", "AUDITING", "AUDIT", "AUDITED", "CONTROL")
    paths = ("state", "state/sandbox", "state/audit", "state/audit/on", "run/audit", "run/audited",
             "run/control")  # fmt: skip
    lines = [
        f"constants.{name} = {f'{machine.directory}/{path}'!r}"
        for name, path in zip(names, paths, strict=True)
    ]
    code = "\n".join(
        [
            f"import sys; sys.path.append({str(REPOSITORY)!r})",
            *("from ainit import constants", *lines),
            "import runpy; runpy.run_module('ainit.audit', run_name='__main__')",
        ]
    )
    machine.unit(
        "audit",
        command=[sys.executable, "-I", "-c", code],
        type="notify",
        provides=["org.ainos.Audit"],
        fd_store_max=16,
        backoff={"first_s": 0.1, "max_s": 0.2, "limit": 1000},
    )
    with (machine.directory / "units/audit.toml").open("a") as file:
        file.write(toml({"activation": {"on_demand": True}}))
        file.write(f'[[socket]]\nlisten = "unix-seqpacket:{machine.directory}/run/audit"\n')
        file.write('mode = "0600"\n')


def booted(machine: Machine, place: Path, *, code: str = AGENT, **sandbox: object) -> None:
    machine.tpm()
    with_service(machine)
    table = {
        "read": [f"{place}/used", f"{place}/unused"],
        "system_calls": ["processes", "scheduling"],
        **sandbox,
    }
    machine.agent("worker", code % str(place), sandbox=table)
    machine.boot()
    machine.wait_log("worker", "done")


def ask(machine: Machine, member: str, **parameters: object) -> Any:
    assert AUDIT.wrong_call(member, parameters) == []
    answer = machine.call(f"org.ainos.Audit.{member}", **parameters)
    assert AUDIT.wrong_reply(member, answer) == []
    return answer


def restart(machine: Machine) -> None:
    """Another life of the agent, which has done what it does."""
    pid, lines = machine.pid("worker"), len(machine.log("worker"))
    machine.call("Restart", name="worker")
    wait_for(lambda: machine.pid("worker") not in (0, pid), "another life")
    wait_for(
        lambda: any("done" in line for line in machine.log("worker")[lines:]),
        f"it to be done: {machine.log('worker')}",
    )


def audited(machine: Machine) -> None:
    ask(machine, "Audit", agent="worker", on=True)
    restart(machine)


def prod(machine: Machine) -> None:
    """Have the agent read its file again. It is in a namespace of its own, below the machine's."""
    children = Path(f"/proc/{machine.init_host_pid}/task/{machine.init_host_pid}/children")
    for pid in children.read_text().split():
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        (pids,) = (line.split()[1:] for line in status if line.startswith("NSpid:"))
        if pids[-1] == "1" and pids[-2] == str(machine.pid("worker")):
            os.kill(int(pid), signal.SIGUSR1)
            return
    raise AssertionError("there is no agent")


def measured(machine: Machine) -> list[Any]:
    records: Any = machine.call("Measurements")["records"]
    return [each["content"] for each in records if each["content"]["type"] == "sandbox"]


def test_what_it_does_not_use_is_learned_applied_and_brought_back(
    machine: Machine, place: Path
) -> None:
    booted(machine, place)
    audited(machine)
    proposal = ask(machine, "Propose", agent="worker")["proposal"]
    assert proposal["sandbox"] == {"read": [f"{place}/used"], "system_calls": ["processes"]}
    assert (proposal["before"], proposal["after"]) == (4, 2)
    assert proposal["denied"] == []
    assert proposal["tighter"]
    told = {line["what"]: line["verdict"] for line in proposal["lines"]}
    assert told == {
        f"{place}/used": "keep", f"{place}/unused": "drop", "processes": "keep",
        "scheduling": "drop",
    }  # fmt: skip
    with pytest.raises(VarlinkError) as refused:
        ask(machine, "Apply", agent="worker", hours=24)
    assert "hours were recorded" in str(refused.value.parameters["reason"])
    assert measured(machine) == []

    ask(machine, "Apply", agent="worker", hours=0)
    in_force = ask(machine, "Overlay", agent="worker")
    restart(machine)
    assert machine.log("worker")[-1] == "used 0 done", "what it did before, it does"
    content = {"type": "sandbox", "name": "worker", "digest": in_force["digest"]}
    assert measured(machine) == [content]
    again = ask(machine, "Propose", agent="worker")["proposal"]
    assert (again["tighter"], again["after"]) == (False, 2)

    assert ask(machine, "Revert", agent="worker") == {"overlay": False}
    assert ask(machine, "Overlay", agent="worker")["sandbox"] is None
    with pytest.raises(VarlinkError):
        ask(machine, "Revert", agent="worker")


def test_what_was_dropped_is_denied_until_it_is_brought_back(machine: Machine, place: Path) -> None:
    code = AGENT.replace('os.environ.get("LOOK")', f"os.path.exists({str(place / 'used/look')!r})")
    booted(machine, place, code=code)
    audited(machine)
    ask(machine, "Apply", agent="worker", hours=0)
    (place / "used/look").touch()
    restart(machine)
    assert machine.log("worker")[-1] == "used 0 False Operation not permitted done"
    ask(machine, "Revert", agent="worker")
    restart(machine)
    assert machine.log("worker")[-1] == "used 0 True nice done"


def test_an_overlay_that_is_looser_is_a_reason_to_refuse_it(machine: Machine, place: Path) -> None:
    booted(machine, place)
    for data, words in (
        (overlay.dump("worker", {"read": ["/var/tmp"]}), "read /var/tmp"),
        (overlay.dump("worker", {"network": "loopback"}), "system calls internet"),
        (overlay.dump("other", {}), "agent worker"),
        (b"{", "JSON"),
    ):
        (machine.directory / "state/sandbox").mkdir(exist_ok=True)
        (machine.directory / "state/sandbox/worker.json").write_bytes(data)
        machine.call("Restart", name="worker")
        found = machine.wait_state("worker", "refused", "backoff", "failed")
        assert "its sandbox is not to be used" in str(found["reason"])
        assert words in str(found["reason"]), found["reason"]
        assert found["pid"] is None
    assert measured(machine) == []
    assert "JSON" in ask(machine, "Overlay", agent="worker")["problem"]
    ask(machine, "Revert", agent="worker")
    machine.call("Restart", name="worker")
    machine.wait_state("worker", "ready")


def test_the_agent_waits_for_a_service_that_died_and_notices_nothing(
    machine: Machine, place: Path
) -> None:
    booted(machine, place)
    audited(machine)
    ready = machine.wait_state("audit", "ready")
    before = ask(machine, "Propose", agent="worker")["proposal"]
    machine.kill(int(str(ready["pid"])))
    prod(machine)
    machine.wait_log("worker", "again used")
    (listed,) = ask(machine, "List")["agents"]
    assert listed["watched"]
    assert machine.pid("audit") != ready["pid"]
    machine.call("Reexec")
    machine.kill(machine.pid("audit"))
    prod(machine)
    wait_for(lambda: machine.log("worker").count("again used") == 2, "it to go on once more")
    after = ask(machine, "Propose", agent="worker")["proposal"]
    assert after["sandbox"] == before["sandbox"]
    assert not after["denied"]


def test_a_service_that_is_stopped_ends_the_calls_that_it_is_told_of(
    machine: Machine, place: Path
) -> None:
    """They fail with ENOSYS, until the agent begins anew, and the service with it."""
    booted(machine, place)
    audited(machine)
    machine.wait_state("audit", "ready")
    machine.call("Stop", name="audit")
    machine.wait_state("audit", "inactive")
    prod(machine)
    machine.wait_log("worker", "again Function not implemented")
    restart(machine)
    machine.wait_state("audit", "ready")
    prod(machine)
    machine.wait_log("worker", "again used")


ASKS = f"""
import signal, socket
with socket.create_connection(("{SERVER}", 4443), 60) as channel:
    channel.shutdown(socket.SHUT_WR)
    print(channel.recv(5).decode(), "done", flush=True)
signal.pause()
# %s
"""


def test_a_host_that_it_does_not_ask_goes(machine: Machine, place: Path) -> None:
    """With both services told of it between clone and exec."""
    unit = (REPOSITORY / "rootfs-overlay/usr/lib/ainos/units/egress.toml").read_text()
    unit = unit.replace("/run/ainit/egress", f"{machine.directory}/run/egress")
    (machine.directory / "units/egress.toml").write_text(unit.partition("[resources]")[0])
    network = [f"{SERVER}:4443", "198.51.100.9:443", "agent:other"]
    with Cable() as cable:
        cable.listen(SERVER, 4443)
        machine.network = cable.machine
        machine.agent("other", "import signal; signal.pause()")
        booted(machine, place, code=ASKS, network=network)
        audited(machine)
        proposal = ask(machine, "Propose", agent="worker")["proposal"]
        assert proposal["sandbox"] == {"network": [f"{SERVER}:4443", "agent:other"]}
        assert not proposal["denied"]
        ask(machine, "Apply", agent="worker", hours=0)
        restart(machine)
        assert machine.log("worker")[-1] == "hello done"
        assert not ask(machine, "Propose", agent="worker")["proposal"]["tighter"]


def test_without_its_service_an_agent_in_audit_mode_is_refused(
    machine: Machine, place: Path
) -> None:
    machine.tpm()
    (machine.directory / "state/audit/on").mkdir(parents=True)
    (machine.directory / "state/audit/on/worker").touch()
    machine.agent("worker", AGENT % str(place), sandbox={"read": [f"{place}/used"]})
    machine.boot()
    found = machine.wait_state("worker", "refused", "backoff", "failed")
    assert "run/audit" in str(found["reason"])


def test_audit_mode_ends_with_the_next_start(machine: Machine, place: Path) -> None:
    booted(machine, place)
    audited(machine)
    wait_for(lambda: ask(machine, "List")["agents"][0]["watched"], "it to be watched")
    ask(machine, "Audit", agent="worker", on=False)
    restart(machine)
    wait_for(lambda: not ask(machine, "List")["agents"][0]["watched"], "it to be left alone")
    kept = json.loads((machine.directory / "state/audit/worker.json").read_text())
    assert kept["starts"] == 1
    assert kept["seconds"] > 0
