"""An agent in audit mode, in a real sandbox: what is recorded of it. It notices nothing."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator

import pytest

from ainit.policy import grants, shadow
from ainit.policy.grants import CALLS, CONNECT, EXECUTE, READ, WRITE
from ainit.policy.learn import propose
from ainit.policy.sandbox import Profile
from ainit.policy.usage import Usage
from tests.support.audited import MACHINE, Audited

PYTHON = ["/usr/bin/python3", "-I", "-S", "-c"]


class Agent(Audited):
    def __init__(self) -> None:
        super().__init__()
        for name in ("reads", "writes", "runs", "unused"):
            (self.directory / name).mkdir()
        for name in ("reads", "writes", "unused"):
            (self.directory / name).chmod(0o777)
        (self.directory / "reads/one").write_text("1")
        (self.directory / "reads/two").write_text("2")

    def code(self, profile: Profile, code: str) -> tuple[int, str]:
        return self.run(profile, [*PYTHON, code])


@pytest.fixture
def agent() -> Iterator[Agent]:
    with Agent() as made:
        yield made


def table(agent: Agent, **keys: object) -> Profile:
    return Profile(
        {
            "read": [agent.path("reads"), agent.path("unused")],
            "write": [agent.path("writes")],
            "execute": [agent.path("runs")],
            **keys,
        }
    )


def test_what_it_reads_and_writes_is_recorded_and_nothing_else(agent: Agent) -> None:
    code = f"""
import os
os.chdir({agent.path("reads")!r})
print(open("one").read())
open("/tmp/mine", "w").close()
for path in ("/etc/hostname", "/tmp/mine", "/proc/self/status", "absent"):
    try:
        open(path).close()
    except OSError as error:
        print(path, error.strerror)
where = {agent.path("writes")!r}
open(where + "/new", "w").write("x")
os.mkdir(where + "/directory")
os.rename(where + "/new", where + "/directory/moved")
os.open(where, os.O_RDONLY)
"""
    status, said = agent.code(table(agent), code)
    assert (status, said) == (0, "1\nabsent No such file or directory\n"), said
    assert agent.paths(READ) == ["reads", "reads/one", "writes"]
    assert agent.paths(WRITE) == ["writes/directory", "writes/directory/moved", "writes/new"]
    assert agent.paths(EXECUTE) == []
    assert agent.usage.of(CALLS, CONNECT) == []


CALLS_OF_CLASSES = """
import ctypes, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
print(subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", "print(7)"]).returncode)
os.setpriority(os.PRIO_PROCESS, 0, 19)
try:
    os.setxattr("/etc/hostname", "user.x", b"1")
except OSError as error:
    print(error.strerror)
"""


def test_a_class_is_used_when_a_call_that_needs_it_is_made(agent: Agent) -> None:
    every = ["attributes", "ipc", "jit", "processes", "scheduling"]
    profile = Profile({"system_calls": every, "network": "loopback"})
    status, said = agent.code(profile, CALLS_OF_CLASSES)
    assert status == 0, said
    found = propose(profile, agent.usage)
    assert found.table == {"system_calls": ["attributes", "processes", "scheduling"]}
    assert not found.denied
    assert not shadow.denials(profile, agent.usage)


def test_a_call_that_its_own_filter_denies_is_not_told_of(agent: Agent) -> None:
    """The stricter filter has the word, and the service never hears of it."""
    status, said = agent.code(Profile({}), CALLS_OF_CLASSES.replace("print(sub", "#"))
    assert status == 1
    assert "Operation not permitted" in said
    assert agent.usage.uses == {}


def test_to_which_of_its_hosts_it_connects(agent: Agent) -> None:
    """A name has an address of the agent's own; what is not listed is its own network."""
    peers = ["192.0.2.7:443", "[2001:db8::1]:443", "a.example:443", "b.example:443", "b.example:80"]
    code = """
import socket
socket.socket().connect_ex(("127.64.0.2", 443))
socket.socket().connect_ex(("127.0.0.1", 9))
socket.socket(socket.AF_INET6).connect_ex(("::ffff:192.0.2.7", 443))
socket.socket(socket.AF_INET6).connect_ex(("2001:db8::1", 80))
"""
    profile = Profile({"network": peers})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as egress:
        egress.bind(agent.path("egress"))
        egress.listen()
        status, said = agent.run(profile, [*PYTHON, code], egress=agent.path("egress"))
    assert status == 0, said
    used = ["192.0.2.7:443", "b.example:443"]
    assert sorted(use.what for use in agent.usage.of(CONNECT)) == used
    assert propose(profile, agent.usage).table == {"network": used}


def test_a_program_is_executed_with_its_interpreter(agent: Agent) -> None:
    script = agent.directory / "runs/script"
    script.write_text(f"#!{agent.path('runs')}/interpreter\nprint('run')\n")
    shutil.copy("/usr/bin/python3", agent.directory / "runs/interpreter")
    script.chmod(0o755)
    profile = Profile({"execute": [agent.path("runs")], "system_calls": ["processes"]})
    code = f"import subprocess; subprocess.run([{str(script)!r}], check=True)"
    status, said = agent.code(profile, code)
    assert (status, said) == (0, "run\n")
    assert {"runs/interpreter", "runs/script"} <= set(agent.paths(EXECUTE))


def test_an_entry_that_a_link_led_through_is_used(agent: Agent) -> None:
    """Else it would go, and the link with it."""
    (agent.directory / "unused/away").symlink_to("../reads/two")
    profile = Profile({"read": [agent.path("reads"), agent.path("unused")]})
    status, said = agent.code(profile, f"open({agent.path('unused/away')!r})")
    assert status == 0, said
    assert agent.paths(READ) == ["reads/two", "unused"]
    assert propose(profile, agent.usage).table == {"read": list(profile.read)}


def test_what_was_learned_is_enough(agent: Agent) -> None:
    """The agent runs again with the proposal, and does the same; the rest is denied now."""
    profile = table(agent, system_calls=["processes", "ipc", "attributes"])
    code = f"""
import os, subprocess
print(open({agent.path("reads/one")!r}).read())
open({agent.path("writes/new")!r}, "w").write("x")
os.waitpid(os.spawnv(os.P_NOWAIT, "/usr/bin/python3", ["python3", "-ISc", ""]), 0)
print(os.path.isdir({agent.path("unused")!r}) if os.getenv("LOOK") else "-")
"""
    status, said = agent.code(profile, code)
    assert (status, said) == (0, "1\n-\n")
    found = propose(profile, agent.usage)
    assert found.table == {
        "read": [agent.path("reads")],
        "write": [agent.path("writes")],
        "system_calls": ["processes"],
    }
    agent.usage = Usage(MACHINE)
    made = Profile(found.table)
    assert agent.code(made, code) == (0, "1\n-\n")
    assert not shadow.denials(made, agent.usage)
    assert not propose(made, agent.usage).is_tighter
    status, said = agent.code(made, f"open({agent.path('unused')!r} + '/x', 'w')")
    assert status == 1
    assert "No such file" in said
    assert grants.beyond(made, profile) == []


def test_what_nobody_can_change_is_narrowed_to_what_was_used(agent: Agent) -> None:
    (agent.directory / "reads/deep").mkdir()
    (agent.directory / "reads/deep/three").write_text("3")
    (agent.directory / "unused/link").symlink_to("../reads/two")
    profile = Profile({"read": [agent.path("reads"), agent.path("unused")]})
    agent.fixed = agent.directory.stat().st_dev
    code = f"print(open({agent.path('reads/deep/three')!r}).read())"
    assert agent.code(profile, code) == (0, "3\n")
    found = propose(profile, agent.usage)
    assert found.table == {"read": [agent.path("reads/deep/three")]}
    assert agent.code(Profile(found.table), code) == (0, "3\n")
    agent.usage = Usage(MACHINE)
    assert agent.code(profile, f"open({agent.path('unused/link')!r})")[0] == 0
    assert propose(profile, agent.usage).table == {"read": list(profile.read)}, "by a link: not"


@pytest.mark.parametrize("call", [4, 40])
def test_a_call_in_the_hand_of_a_service_that_dies_goes_on(agent: Agent, call: int) -> None:
    """The kernel tells of each once: by the number that was noted the next service lets it go."""
    agent.dies_at = call
    code = f"open({agent.path('reads/one')!r})\nprint('on', flush=True)"
    assert agent.code(Profile({"read": [agent.path("reads")]}), code) == (0, "on\n")
    assert agent.paths(READ) == ["reads/one"]
