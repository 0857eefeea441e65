"""What a service is started as: ported from systemd's test-execute, TEST-05-RLIMITS, TEST-54-CREDS
and the subtests exec-context, working-directory and issue-… of TEST-07-PID1.

One machine for all of them: each unit prints what the kernel says that it is.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pidns.cases.kit import TRUE, error, puppet, shell, tell, unit
from tests.pidns.machine import ACTOR, Machine

NOBODY = pwd.getpwnam("nobody")
IDENTITY = [*ACTOR, "identity"]
ONESHOT: dict[str, Any] = {"type": "oneshot", "restart": "never", "essential": False}
CAP_CHOWN, CAP_KILL, CAP_NET_RAW = 0, 5, 13

UNITS: dict[str, dict[str, object]] = {
    "plain": {},
    "directory": {"directory": "/usr/share"},
    "user": {"user": 4321},
    "named": {"user": "nobody"},
    "group": {"group": 1234},
    "groups": {"user": 4321, "groups": ["daemon", 44]},
    "umask": {"umask": "0177"},
    "environment": {"environment": {"VAR1": "word1 word2", "VAR2": "word3", "VAR3": "$word 5 6"}},
    "empty": {"environment": {"VAR": ""}},
    "positive": {"oom_score": 100},
    "nice": {"nice": 7},
    "bounded": {"capabilities": ["CAP_CHOWN", "CAP_KILL"]},
    "bare": {"capabilities": []},
    "ambient": {"user": "nobody", "capabilities": ["CAP_NET_RAW"]},
    "limits": {"limits": {"nofile": 500, "core": 0, "stack": "1M", "cpu": "infinity"}},
    "everything": {
        "user": 4321, "group": 1234, "umask": "027", "nice": 3, "oom_score": 7,
        "directory": "/usr", "limits": {"nofile": 99}, "environment": {"A": "b"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine whose units have all printed what they are."""
    made = Machine()
    try:
        for name, keys in UNITS.items():
            unit(made, name, IDENTITY, **ONESHOT, **keys)
        words = [*IDENTITY, "one two", "", "$HOME", "%n", "ü"]
        unit(made, "words", words, **ONESHOT)
        unit(made, "nowhere", TRUE, **ONESHOT, directory="/nonexistent")
        unit(made, "nofile", ["/nonexistent/program"], **ONESHOT)
        unit(made, "notexec", ["/etc/passwd"], **ONESHOT)
        unit(made, "nouser", TRUE, **ONESHOT, user="nosuchuser")
        unit(made, "nogroup", TRUE, **ONESHOT, group="nosuchgroup")
        unit(made, "stdin", shell("cat; echo end"), **ONESHOT)
        unit(made, "broken-pipe", shell("yes | head -1"), **ONESHOT)
        (made.directory / "secret").write_text("swordfish")
        (made.directory / "secret").chmod(0o600)
        secret = f"{made.directory}/secret"
        puppet(made, "vault", user=4321, credentials={"token": secret, "other": secret})
        puppet(made, "stranger", user=4322)
        unit(made, "no-secret", TRUE, **ONESHOT, credentials={"token": f"{secret}.none"})
        unit(made, "dir-secret", TRUE, **ONESHOT, credentials={"token": "/etc"})
        made.boot()
        yield made
    finally:
        made.destroy()


def found(machine: Machine, name: str) -> Any:
    """What a unit printed."""
    machine.wait_state(name, "exited")
    return json.loads(next(line for line in machine.log(name) if line.startswith("{")))


def capabilities(machine: Machine, name: str, kind: str) -> int:
    return int(found(machine, name)["status"][kind], 16)


def test_systemd_execute_exec_basic(machine: Machine) -> None:
    """A program that ends well has exited; session and cgroup are its own."""
    plain = found(machine, "plain")
    assert plain["session"]
    assert plain["cgroup"].strip().endswith("/ainos/plain")


def test_systemd_07_pid1_working_directory(machine: Machine) -> None:
    """The working directory is the one of the unit file, and the root without one."""
    assert found(machine, "directory")["directory"] == "/usr/share"
    assert found(machine, "plain")["directory"] == "/"


def test_systemd_07_pid1_working_directory_missing(machine: Machine) -> None:
    """A working directory that is not there fails the unit before its program runs."""
    assert machine.wait_state("nowhere", "failed")["reason"] == "could not be executed"
    assert any("the working directory" in line for line in machine.log("nowhere"))


def test_systemd_execute_exec_user(machine: Machine) -> None:
    """A user by number: all three ids, its own group, no further groups."""
    user = found(machine, "user")
    assert (user["uid"], user["gid"], user["groups"]) == ([4321] * 3, [4321] * 3, [])


def test_systemd_execute_exec_user_nobody(machine: Machine) -> None:
    """A user by name: its ids, and its name and home in the environment."""
    named = found(machine, "named")
    assert (named["uid"], named["gid"]) == ([NOBODY.pw_uid] * 3, [NOBODY.pw_gid] * 3)
    assert (named["environment"]["USER"], named["environment"]["HOME"]) == (
        "nobody",
        NOBODY.pw_dir,
    )


def test_systemd_execute_exec_group(machine: Machine) -> None:
    """A group alone leaves the user root."""
    group = found(machine, "group")
    assert (group["uid"], group["gid"]) == ([0] * 3, [1234] * 3)


def test_systemd_execute_exec_supplementarygroups(machine: Machine) -> None:
    """Further groups are exactly those of the unit file, by name or number."""
    assert found(machine, "groups")["groups"] == [1, 44]


def test_systemd_execute_exec_umask_default(machine: Machine) -> None:
    """Without a key the umask is 022, whatever PID 1's is."""
    assert found(machine, "plain")["umask"] == 0o022


def test_systemd_execute_exec_umask_0177(machine: Machine) -> None:
    """The umask is the one of the unit file."""
    assert found(machine, "umask")["umask"] == 0o177


def test_systemd_execute_exec_environment(machine: Machine) -> None:
    """Variables arrive as they are written: blanks kept, nothing expanded."""
    environment = found(machine, "environment")["environment"]
    assert {name: environment[name] for name in ("VAR1", "VAR2", "VAR3")} == {
        "VAR1": "word1 word2",
        "VAR2": "word3",
        "VAR3": "$word 5 6",
    }


def test_systemd_execute_exec_environment_empty(machine: Machine) -> None:
    """A variable may be empty, which is not the same as not being there."""
    assert found(machine, "empty")["environment"]["VAR"] == ""


def test_systemd_execute_exec_passenvironment_absent(machine: Machine) -> None:
    """Nothing of PID 1's own environment is passed on."""
    environment = found(machine, "plain")["environment"]
    assert set(environment) - {"LC_CTYPE"} == {"PATH", "HOME", "LANG", "AINOS_UNIT", "LISTEN_PID"}
    assert environment["AINOS_UNIT"] == "plain"


def test_systemd_execute_exec_oomscoreadjust_positive(machine: Machine) -> None:
    """The OOM score is the one of the unit file."""
    assert found(machine, "positive")["oom_score"] == 100


def test_systemd_execute_oom_score_default(machine: Machine) -> None:
    """Without a key it is 0: PID 1's own, which protects it, is not inherited."""
    assert found(machine, "plain")["oom_score"] == 0


def test_systemd_07_pid1_exec_context_nice(machine: Machine) -> None:
    """The scheduling priority is the one of the unit file, without it the usual one: not PID 1's,
    which comes first.
    """
    assert (found(machine, "nice")["nice"], found(machine, "plain")["nice"]) == (7, 0)
    assert os.getpriority(os.PRIO_PROCESS, machine.init_host_pid) < 0


def test_systemd_execute_exec_capabilityboundingset_simple(machine: Machine) -> None:
    """Root has exactly the capabilities of the unit file, and can never have another."""
    wanted = 1 << CAP_CHOWN | 1 << CAP_KILL
    assert capabilities(machine, "bounded", "CapBnd") == wanted
    assert capabilities(machine, "bounded", "CapEff") == wanted


def test_systemd_execute_exec_capabilityboundingset_reset(machine: Machine) -> None:
    """An empty list leaves none."""
    assert capabilities(machine, "bare", "CapBnd") == 0
    assert capabilities(machine, "bare", "CapPrm") == 0


def test_systemd_execute_exec_ambientcapabilities_nobody(machine: Machine) -> None:
    """Another user has the capabilities of the unit file, and keeps them over execve(2)."""
    for kind in ("CapPrm", "CapEff", "CapAmb", "CapInh", "CapBnd"):
        assert capabilities(machine, "ambient", kind) == 1 << CAP_NET_RAW
    assert found(machine, "ambient")["uid"] == [NOBODY.pw_uid] * 3


def test_systemd_execute_no_new_privileges(machine: Machine) -> None:
    """Another user than root gains no privileges by executing a program."""
    assert found(machine, "user")["status"]["NoNewPrivs"] == "1"
    assert capabilities(machine, "user", "CapEff") == 0


def test_systemd_05_rlimits_rlimit(machine: Machine) -> None:
    """Limits are set, soft and hard; a size may have a suffix, and there may be none."""
    limits = found(machine, "limits")["limits"]
    assert limits["nofile"] == [500, 500]
    assert limits["core"] == [0, 0]
    assert limits["stack"] == [1 << 20] * 2
    assert limits["cpu"] == [-1, -1]


def test_systemd_execute_exec_ignoresigpipe_no(machine: Machine) -> None:
    """No signal is ignored or blocked in a service, although PID 1 ignores some."""
    status = found(machine, "plain")["status"]
    assert int(status["SigBlk"], 16) == 0
    ignored = int(status["SigIgn"], 16)
    python = 1 << 12 | 1 << 24  # SIGPIPE and SIGXFSZ, which the interpreter itself ignores
    assert ignored & ~python == 0
    machine.wait_state("broken-pipe", "exited")
    assert "y" in machine.log("broken-pipe")
    assert not any("roken pipe" in line for line in machine.log("broken-pipe"))


def test_systemd_execute_exec_standardinput(machine: Machine) -> None:
    """Standard input is at its end, so a service that reads it goes on."""
    machine.wait_state("stdin", "exited")
    assert "end" in machine.log("stdin")
    assert found(machine, "plain")["descriptors"]["0"] == "/dev/null"


def test_systemd_07_pid1_exec_context_descriptors(machine: Machine) -> None:
    """None of PID 1's descriptors reaches a service."""
    assert set(found(machine, "plain")["descriptors"]) == {"0", "1", "2"}


def test_systemd_07_pid1_exec_context_together(machine: Machine) -> None:
    """All of it at once: each is applied while it is still allowed."""
    all_ = found(machine, "everything")
    assert (all_["uid"], all_["gid"], all_["umask"]) == ([4321] * 3, [1234] * 3, 0o027)
    assert (all_["nice"], all_["oom_score"], all_["directory"]) == (3, 7, "/usr")
    assert all_["limits"]["nofile"] == [99, 99]
    assert all_["environment"]["A"] == "b"


def test_systemd_execute_exec_specifier(machine: Machine) -> None:
    """Arguments arrive as they are written: no words split, no variables or specifiers expanded."""
    assert found(machine, "words")["arguments"] == ["one two", "", "$HOME", "%n", "ü"]


def test_systemd_23_unit_file_type_exec(machine: Machine) -> None:
    """A program that is not there fails the unit, and its log names the program and why."""
    assert machine.wait_state("nofile", "failed")["reason"] == "could not be executed"
    assert any("/nonexistent/program" in line for line in machine.log("nofile"))
    assert machine.wait_state("notexec", "failed")["reason"] == "could not be executed"


@pytest.mark.parametrize("name", ["user", "group"])
def test_systemd_execute_user_unknown(machine: Machine, name: str) -> None:
    """An unknown user or group is named, and nothing is run as anybody else."""
    found = machine.wait_state(f"no{name}", "failed", "refused")
    assert f"nosuch{name}" in str(found["reason"])
    assert found["pid"] is None


def test_systemd_54_creds_load_credential(machine: Machine) -> None:
    """Credentials are copies in a directory that the environment names, one file each."""
    code = """
path = os.environ["CREDENTIALS_DIRECTORY"]
answer = {name: Path(path, name).read_text() for name in os.listdir(path)}
"""
    assert tell(machine, "vault", code) == {"token": "swordfish", "other": "swordfish"}


def test_systemd_54_creds_permissions(machine: Machine) -> None:
    """They belong to the service alone: nobody may write them, no other user read them."""
    code = """
path = os.environ["CREDENTIALS_DIRECTORY"]
one, all_ = os.stat(path + "/token"), os.stat(path)
answer = [one.st_mode & 0o777, one.st_uid, all_.st_mode & 0o777, all_.st_uid]
try:
    open(path + "/token", "w")
except OSError:
    answer.append("not written")
"""
    assert tell(machine, "vault", code) == [0o400, 4321, 0o500, 4321, "not written"]
    code = f"""
try:
    os.listdir("{machine.directory}/run/credentials/vault")
except PermissionError:
    answer = "denied"
"""
    assert tell(machine, "stranger", code) == "denied"


def test_systemd_54_creds_missing(machine: Machine) -> None:
    """A credential that cannot be had refuses the unit by name; a directory is none."""
    found = machine.wait_state("no-secret", "refused")
    assert "credential token of no-secret" in str(found["reason"])
    assert "no regular file" in str(machine.wait_state("dir-secret", "refused")["reason"])


def test_systemd_07_pid1_issue_3166(machine: Machine) -> None:
    """A unit that cannot be executed is tried again on request and fails the same way."""
    machine.wait_state("nofile", "failed")
    machine.call("Start", name="nofile")
    machine.wait_state("nofile", "failed")
    assert error(machine, "Describe", name="none") == "NoSuchUnit"
