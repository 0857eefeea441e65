"""Jobs under a real PID 1: the queue, the end, what they may run and as whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainit.child.client import VarlinkError
from ainit.cli import main
from ainit.errors import AinosError
from ainit.policy import jobs
from tests.pidns.machine import Machine, Record
from tests.support.wait import wait_for

WAITS = ["/usr/bin/python3", "-I", "-c", "import signal; signal.pause()"]
ENDS_WITH_7 = ["/usr/bin/python3", "-I", "-c", "print('at work', flush=True); raise SystemExit(7)"]
SHOWS = """
import json, os
status = open("/proc/self/status").read().split()
group = open("/proc/self/cgroup").read()
given = {key: os.environ.get(key) for key in ("CUDA_VISIBLE_DEVICES", "SIZE", "HOME")}
capabilities = status[status.index("CapEff:") + 1]
print(json.dumps({**given, "uid": os.getuid(), "capabilities": capabilities, "group": group}))
"""


@pytest.fixture
def running(machine: Machine) -> Machine:
    machine.tpm()
    journal = str(machine.directory / "gpu")
    machine.unit("gpu", "provide", "org.ainos.Gpu", journal, provides=["org.ainos.Gpu"])
    machine.boot()
    machine.wait_state("gpu", "ready")
    return machine


def run(machine: Machine, command: list[str], **more: object) -> str:
    asked = {"profiles": ["2g.20gb"], **more}
    return str(machine.call("Run", command=command, **asked)["name"])


def job(machine: Machine, name: str) -> Record:
    found = machine.call("Jobs", name=name)["jobs"]
    assert isinstance(found, list)
    assert isinstance(found[0], dict)
    return found[0]


def over(machine: Machine, name: str) -> Record:
    def ended() -> Record | None:
        found = job(machine, name)
        return found if found["over"] else None

    found = wait_for(ended, f"{name} to end")
    assert found is not None
    return found


def refusal(machine: Machine, command: list[str], **more: object) -> str:
    with pytest.raises(VarlinkError) as caught:
        run(machine, command, **more)
    assert caught.value.name == "org.ainos.Control.Refused"
    return str(caught.value.parameters["reason"])


def test_a_job_runs_and_its_end_can_be_asked_for(running: Machine) -> None:
    name = run(running, ENDS_WITH_7, name="train", owner="kim", priority=3)
    assert name == "train.job"
    found = over(running, name)
    assert (found["state"], found["exit_status"], found["owner"]) == ("failed", 7, "kim")
    assert found["command"] == ENDS_WITH_7
    wait_for(lambda: "at work" in running.log(name), "its line")
    wait_for(lambda: (running.directory / "gpu").read_text().split()[-1] == f"-{name}", "release")


def test_a_job_is_nobody_and_is_given_its_instance(running: Machine) -> None:
    name = run(running, ["/usr/bin/python3", "-I", "-c", SHOWS], environment={"SIZE": "9"})
    found = over(running, name)
    assert found["exit_status"] == 0, found
    said = wait_for(lambda: [line for line in running.log(name) if line[:1] == "{"], "its line")
    (shown,) = map(json.loads, said)
    assert shown["CUDA_VISIBLE_DEVICES"] == "MIG-0"
    assert shown["SIZE"] == "9"
    assert jobs.UID_FIRST <= shown["uid"] < jobs.UID_FIRST + jobs.UIDS
    assert int(shown["capabilities"], 16) == 0
    assert shown["group"].strip().endswith(f"/ainos/{name}")


def test_jobs_wait_their_turn_and_it_comes(running: Machine) -> None:
    first = run(running, WAITS)
    running.wait_state(first, "ready")
    second = run(running, ENDS_WITH_7)
    wait_for(lambda: "in the queue: 1 of 1" in str(job(running, second)["reason"]), "the queue")
    assert job(running, second)["state"] == "allocating"
    running.call("CancelJob", name=first)
    assert over(running, first)["exit_status"] == -15
    assert over(running, second)["exit_status"] == 7


LOOKS = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
links = open("/proc/net/dev").read().count(":")
print("pid", os.getpid(), "filter", int(status["Seccomp"]), "links", links)
for path in ("/var/lib/ainos", "/run/ainit/control", "/root", "/home"):
    print(path, os.path.exists(path), flush=True)
"""


def test_a_job_is_in_the_sandbox_that_it_was_given(running: Machine) -> None:
    name = run(running, ["/usr/bin/python3", "-I", "-c", LOOKS], sandbox={})
    assert over(running, name)["exit_status"] == 0, running.log(name)
    wait_for(lambda: {"/home True", "/home False"} & set(running.log(name)), "its last line")
    said = running.log(name)
    assert "pid 1 filter 2 links 1" in said
    for path in ("/var/lib/ainos", "/run/ainit/control"):
        assert f"{path} False" in said
    words = "sandbox: reads means nothing for a job"
    assert refusal(running, WAITS, sandbox={"reads": []}) == words
    gone = run(running, WAITS, sandbox={"read": ["/srv/nothing-is-here"]})
    assert "/srv/nothing-is-here" in str(over(running, gone)["reason"])


def test_a_job_leaves_the_queue(running: Machine) -> None:
    first = run(running, WAITS)
    running.wait_state(first, "ready")
    second = run(running, WAITS)
    wait_for(lambda: "in the queue" in str(job(running, second)["reason"]), "the queue")
    running.call("CancelJob", name=second)
    found = over(running, second)
    assert (found["exit_status"], found["started"]) == (None, None)
    wait_for(lambda: f"-{second}" in (running.directory / "gpu").read_text(), "its release")


def test_no_fault_of_pid_1_loses_a_job(running: Machine) -> None:
    first = run(running, WAITS, name="first")
    running.wait_state(first, "ready")
    second = run(running, ENDS_WITH_7, name="second")
    wait_for(lambda: "in the queue" in str(job(running, second)["reason"]), "the queue")
    pid = running.pid(first)
    running.call("Reexec")
    wait_for(lambda: running.pid(first) == pid, "the next life of PID 1")
    assert job(running, second)["state"] == "allocating"
    running.call("CancelJob", name=first)
    assert over(running, second)["exit_status"] == 7
    assert refusal(running, WAITS, name="Second").startswith("'Second' is no name")
    assert run(running, ENDS_WITH_7, name="second") == second  # the one before is over


def test_jobs_stay_when_the_configuration_changes(running: Machine) -> None:
    name = run(running, WAITS, name="long")
    running.wait_state(name, "ready")
    pid = running.pid(name)
    running.call("Configure", files={"machine.toml": "[machine]\nhostname = 'other'\n"})
    assert running.pid(name) == pid
    assert job(running, name)["state"] == "ready"


def test_what_a_job_executes_is_measured_before_it_does(running: Machine) -> None:
    before = len(measured(running))
    over(running, run(running, ENDS_WITH_7))
    over(running, run(running, ENDS_WITH_7, priority=9))
    assert len(measured(running)) == before + 1
    over(running, run(running, ENDS_WITH_7, environment={"A": "b"}))
    assert len(measured(running)) == before + 2


def measured(machine: Machine) -> list[Record]:
    found = machine.call("Measurements")["records"]
    assert isinstance(found, list)
    return [each for each in found if each["content"].get("name") == "job"]


def test_without_a_tpm_a_job_is_refused_as_an_agent_is(machine: Machine) -> None:
    journal = str(machine.directory / "gpu")
    machine.unit("gpu", "provide", "org.ainos.Gpu", journal, provides=["org.ainos.Gpu"])
    machine.boot()
    found = over(machine, run(machine, WAITS))
    assert found["state"] == "refused"
    assert "must be measured" in str(found["reason"])


@pytest.mark.parametrize(
    "program", ["/tmp/evil", "/var/lib/ainos/evil", "/usr/../tmp/evil", "evil", "", "/run/x"]
)
def test_no_job_runs_what_is_not_verified(running: Machine, program: str) -> None:
    assert refusal(running, [program])


def test_a_program_of_an_extension_is_of_one_that_the_job_names(running: Machine) -> None:
    program = "/run/ainit/extensions/cuda/bin/train"
    assert "does not lie on the verified root" in refusal(running, [program])
    around = "/run/ainit/extensions/cuda/../../config/x"
    assert "verified root" in refusal(running, [around], extensions=["cuda"])
    found = over(running, run(running, [program], extensions=["cuda"]))
    assert (found["state"], found["reason"]) == (
        "refused",
        "extension cuda: is not in the model store",
    )


def test_all_that_is_wrong_is_said_at_once(running: Machine) -> None:
    reason = refusal(running, ["x"], profiles=["big"], priority=101, owner="a\nb", deadline_s=-1)
    for part in ("x does not lie", "'big' is no MIG", "priority is", "owner is", "deadline_s is"):
        assert part in reason


def test_old_ends_are_forgotten_with_what_they_left(running: Machine) -> None:
    from ainit.pid1 import job_methods

    old = [run(running, ENDS_WITH_7) for _ in range(2)]
    groups = Path(f"/proc/{running.init_host_pid}/root{running.directory}/cgroup")
    groups = groups / running.directory.name / "ainos"
    for name in old:
        over(running, name)
        assert (groups / name).exists()
    later = [run(running, ENDS_WITH_7) for _ in range(job_methods.KEPT)]
    wait_for(lambda: kept(running) == later, "the first to be forgotten")
    for name in old:
        assert not (groups / name).exists()
        with pytest.raises(VarlinkError, match="NoSuchUnit"):
            running.call("Logs", unit=name)
    again = run(running, WAITS, name=old[0].removesuffix(".job"))
    assert again == old[0]
    assert "at work" not in running.log(again)


def kept(machine: Machine) -> list[str]:
    found = machine.call("Jobs")["jobs"]
    assert isinstance(found, list)
    return [each["name"] for each in found]


def test_ainitctl_runs_a_job_and_passes_its_end_on(
    running: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--socket", running.control, "run", "--gpu", "2g.20gb", "--name", "cli", "--"]
    assert main([*asked, *ENDS_WITH_7]) == 7
    out, err = capsys.readouterr()
    assert (out, err) == ("at work\n", "ainitctl: cli.job\n")


def test_a_soft_reboot_leaves_no_job(running: Machine) -> None:
    name = run(running, WAITS)
    running.wait_state(name, "ready")
    running.call("SoftReboot")
    wait_for(lambda: kept_or_none(running) == [], "user space to begin anew")
    assert not any(str(WAITS[-1]) in one.command for one in running.processes())


def kept_or_none(machine: Machine) -> list[str] | None:
    try:
        return kept(machine)
    except AinosError:
        return None
