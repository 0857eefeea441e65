"""The sandbox in force on this kernel: no probe gets out, and each mechanism is what holds one.

A probe runs in a process of its own, for the filter of system calls ends some. What needs the
image's own kernel is in ``tests/qemu/test_sandbox.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import onnxruntime
import pytest

from ainit.linux import landlock, native
from ainit.policy import device_filter
from ainit.sandbox.compose import Sandbox
from ainit.sandbox.operation import Operation
from tests.support import descriptors, models
from tests.support.probed import (
    BARE,
    BLOCKED,
    DEVICES,
    KILLED,
    THROUGH,
    USER,
    World,
    without,
)
from tests.support.probes import PROBES

# What not even root reaches on every host: a device or a part of the kernel that is not there.
MAY_BE_ABSENT = {
    "calls_by_other_numbers", "cryptography_of_the_kernel", "disk", "file_systems_in_user_space",
    "foreign_gpu", "kernel_messages", "leave_control_group", "limit_another", "list_runtime",
    "load_a_kernel", "load_a_module", "magic_system_request", "memory_of_the_machine",
    "metadata_of_the_cloud", "performance_counters", "ports_of_the_processor",
    "root_of_first_process", "security_chip", "segments_of_the_processor",
    "socket_to_the_host_of_a_machine", "switch_off_randomisation", "tunnel", "uncover_proc",
    "virtual_machines",
}  # fmt: skip

# What gets through when one mechanism is taken out.
HOLDS = {
    "pid": "move_another_to_a_processor",
    "ipc": "segments_of_the_machine",
    "uts": "name_of_the_machine",
    "cgroup": "name_of_control_group",
    "net": "sockets_of_the_machine",
    "user": "root_is_a_user",
    "mount": "see_file_of_another",
    "masks": "kernel_symbols",
    "read-only": "map_what_was_written_as_code",
    "memory": "execute_from_memory",
    "landlock": "read_program_not_declared",
    "seccomp": "keyring",
    "core": "dump_core",
}
# Not by taking it out: without it the kernel refuses the two that come after it.
REFUSED_WITHOUT = {"no_new_privs"}
# Processors and their settings differ: see tests/unit/sandbox/test_compose.py.
OF_THE_PROCESSOR = {"speculation"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as made:
        yield made


@pytest.fixture(scope="module")
def sandbox(world: World) -> Sandbox:
    return world.sandbox()


def test_there_are_enough_probes() -> None:
    assert len(PROBES) >= 60
    assert len(PROBES.keys() - MAY_BE_ABSENT) >= 60


@pytest.mark.parametrize("name", PROBES)
def test_no_probe_gets_out(world: World, sandbox: Sandbox, name: str) -> None:
    assert world.run(name, sandbox) in (BLOCKED, KILLED)


@pytest.mark.parametrize("name", sorted(PROBES.keys() - MAY_BE_ABSENT))
def test_a_probe_gets_through_where_there_is_no_sandbox(world: World, name: str) -> None:
    assert world.run(name, BARE, user=0, capabilities=None) == THROUGH


@pytest.mark.parametrize("mechanism", HOLDS)
def test_each_mechanism_holds_a_probe(world: World, sandbox: Sandbox, mechanism: str) -> None:
    assert world.run(HOLDS[mechanism], without(sandbox, mechanism)) == THROUGH


def test_no_mechanism_is_forgotten(world: World, sandbox: Sandbox) -> None:
    found = {step.mechanism for step in (*sandbox.first, *sandbox.last)} | {"pid"}
    assert found - OF_THE_PROCESSOR == HOLDS.keys() | REFUSED_WITHOUT


OPENS = """
import os, sys
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_RDWR))
        print("opened")
    except OSError as error:
        print(error.strerror)
"""


def test_a_device_that_is_not_its_own_is_not_opened_by_whatever_name(world: World) -> None:
    """Not even where it has a node of it, in a file system that is mounted with devices."""
    nodes = world.directory / "nodes"
    nodes.mkdir()
    numbers = {"zero": os.makedev(1, 5), "terminal": os.makedev(5, 0)}
    for name, number in numbers.items():
        os.mknod(nodes / name, 0o20666, number)
        (nodes / name).chmod(0o666)
    paths = [str(nodes / name) for name in numbers]
    command = ["/usr/bin/python3", "-I", "-c", OPENS, *paths]
    record = {"write": [str(nodes)]}
    sealed = world.sandbox(record)
    denied = "Permission denied\n"
    assert world.start(command, sealed) == (0, 2 * denied)  # devices are not even looked at there
    open_ = without(sealed, "read-only")
    assert world.start(command, open_) == (0, "opened\nOperation not permitted\n")
    status, said = world.start(command, without(open_, DEVICES))
    # A terminal that it does not have: the device itself has answered.
    assert (status, said) == (0, "opened\nNo such device or address\n")


def test_a_filter_is_replaced_by_the_next(world: World, sandbox: Sandbox) -> None:
    command = ["/usr/bin/python3", "-I", "-c", OPENS, "/dev/full"]
    less = Sandbox(0, [], [], devices=device_filter.program([(1, 3), (1, 9)]))
    assert world.start(command, less) == (0, "Operation not permitted\n")
    assert world.start(command, sandbox) == (0, "opened\n")


def test_capabilities_are_dropped(world: World, sandbox: Sandbox) -> None:
    alone = without(world.sandbox(user=0), "user")
    name = "bounding_set_is_left"
    assert world.run(name, alone, user=0) == BLOCKED
    assert world.run(name, alone, user=0, capabilities=None) == THROUGH


def test_the_kernel_refuses_a_sandbox_that_execution_could_leave(world: World) -> None:
    alone = without(world.sandbox(user=0), "no_new_privs")
    status, said = world.start(["/usr/bin/python3", "--version"], alone, user=0)
    assert status == 203
    assert "Landlock is in force" in said
    assert "Operation not permitted" in said


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_step_that_fails_ends_the_start(world: World, sandbox: Sandbox, place: str) -> None:
    broken = Operation("broken", "a step that fails", ((native.CHDIR, "/nonexistent"),))
    first, last = [*sandbox.first], [*sandbox.last]
    (first if place == "first" else last).insert(0, broken)
    failing = Sandbox(sandbox.namespaces, first, last)
    status, said = world.start(["/usr/bin/python3", "--version"], failing)
    assert (status, said) == (
        203,
        "cannot start /usr/bin/python3: a step that fails: No such file or directory\n",
    )


def test_a_kernel_without_this_landlock_refuses_its_rules(world: World) -> None:
    """A right that the kernel does not have is an error there, not a hole."""
    world_of_tomorrow = landlock.ruleset(1 << 63, 0, 0)
    step = Operation(
        "landlock",
        "rules of a kernel to come",
        ((native.LANDLOCK_CREATE_RULESET, world_of_tomorrow, len(world_of_tomorrow), 0),),
    )
    status, said = world.start(["/usr/bin/python3", "--version"], Sandbox(0, [step], []))
    assert status == 203
    assert "rules of a kernel to come: Invalid argument" in said


ORDINARY = """
import concurrent.futures, hashlib, json, os, sqlite3, ssl, tempfile, threading
assert sum(concurrent.futures.ThreadPoolExecutor(4).map(abs, range(10))) == 45
with tempfile.TemporaryDirectory() as folder:
    base = sqlite3.connect(folder + "/base")
    base.execute("create table t (a)"); base.commit(); base.close()
    os.rename(folder + "/base", folder + "/other")
memory = os.memfd_create("scratch"); os.ftruncate(memory, 4096); os.pwrite(memory, b"x", 0)
assert os.cpu_count() and len(os.urandom(8)) == 8
open("/dev/null", "w").write("x")
assert {int(each) for each in os.listdir("/proc") if each.isdigit()} == {os.getpid()} == {1}
assert os.uname().nodename == "probe"
assert sorted(map(int, os.listdir("/proc/self/fd")))[:4] == [0, 1, 2, 3]
assert len(os.listdir("/proc/self/fd")) == 6, os.listdir("/proc/self/fd")  # memory, and this list
ssl.create_default_context()
print("ordinary")
"""


def test_ordinary_work_is_done_and_nothing_is_inherited(world: World, sandbox: Sandbox) -> None:
    status, said = world.start(["/usr/bin/python3", "-I", "-c", ORDINARY], sandbox)
    assert (status, said) == (0, "ordinary\n")


LOOPBACK = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].sendall(b"heard")
print(client.recv(9).decode())
"""


def test_a_loopback_of_its_own(world: World, sandbox: Sandbox) -> None:
    command = ["/usr/bin/python3", "-I", "-c", LOOPBACK]
    assert world.start(command, world.sandbox({"network": "loopback"})) == (0, "heard\n")
    assert world.start(command, sandbox)[0] == 1
    assert world.run("connect_to_loopback", world.sandbox({"network": "loopback"})) == BLOCKED


DECLARED = """
import os, subprocess, sys
for path in sys.argv[1:]:
    done = []
    for what, do in (("read", lambda: os.listdir(path)),
                     ("write", lambda: open(path + "/new", "w")),
                     ("execute", lambda: subprocess.run([path + "/program"], check=True))):
        try:
            do()
            done.append(what)
        except (OSError, subprocess.SubprocessError):
            pass
    print(os.path.basename(path), *done)
"""


def test_what_a_manifest_declares_and_no_more(world: World) -> None:
    places = {}
    for name in ("read", "write", "execute", "both", "other"):
        places[name] = path = world.directory / name
        path.mkdir()
        (path / "program").write_text("#!/usr/bin/python3 -I\n")
        (path / "program").chmod(0o755)
        path.chmod(0o777)
    declared = {
        "read": [str(places["read"])],
        "write": [str(places["write"]), str(places["both"])],
        "execute": [str(places["execute"])],
        "system_calls": ["processes"],
    }
    command = ["/usr/bin/python3", "-I", "-c", DECLARED, *map(str, places.values())]
    status, said = world.start(command, world.sandbox(declared))
    assert status == 0, said
    assert said.splitlines() == [
        "read read", "write read write", "execute read execute", "both read write", "other",
    ]  # fmt: skip
    both = {**declared, "execute": [str(places["both"])], "execute_written": True}
    status, said = world.start(command, world.sandbox(both))
    assert "both read write execute" in said.splitlines()


def test_a_model_is_opened_anew_through_its_descriptor(world: World) -> None:
    """As ONNX Runtime does, by a path; the file itself is not in the agent's view."""
    code = "print(open('/proc/self/fd/3').read(), end='')"
    model = os.open(world.directory / "secret", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for files, expected in ((range(3, 4), (0, "a model")), ((), (1, ""))):
            status, said = world.start(
                ["/usr/bin/python3", "-I", "-c", code],
                world.sandbox(files=files),
                descriptors=[model],
            )
            assert (status, said if status == 0 else "") == expected
    finally:
        os.close(model)


def test_nothing_is_left_in_the_parent(world: World, sandbox: Sandbox) -> None:
    before, mounts = descriptors.now(), os.stat("/proc/self/ns/mnt").st_ino
    with open("/proc/self/mountinfo", encoding="ascii") as file:
        mounted = file.read()
    assert world.run("mount", sandbox) == KILLED
    assert descriptors.now() == before
    assert os.stat("/proc/self/ns/mnt").st_ino == mounts
    with open("/proc/self/mountinfo", encoding="ascii") as file:
        assert file.read() == mounted


INFERENCE = """
import sys
sys.path.append(sys.argv[1])
import numpy, onnxruntime
session = onnxruntime.InferenceSession("/proc/self/fd/3")
fed = {each.name: numpy.zeros([size if isinstance(size, int) else 1 for size in each.shape],
                              {"tensor(int32)": "int32"}[each.type])
       for each in session.get_inputs()}
print("inferred", session.run(None, fed)[0].ndim)
"""


def test_onnxruntime_infers_with_the_tightest_profile(world: World) -> None:
    packages = os.path.dirname(os.path.dirname(onnxruntime.__file__))
    path = models.extract(models.MAGIKA, world.directory)
    model = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status, said = world.start(
            ["/usr/bin/python3", "-I", "-c", INFERENCE, packages],
            world.sandbox({"read": [packages]}, files=[3]),
            descriptors=[model],
        )
    finally:
        os.close(model)
    assert (status, said.splitlines()[-1:]) == (0, ["inferred 2"]), said


def test_git_keeps_notes_as_the_guide_s_example_does(world: World) -> None:
    notes = world.directory / "notes"
    notes.mkdir()
    os.chown(notes, USER, USER)
    sandbox = world.sandbox(
        {
            "write": [str(notes)],
            "execute": ["/usr/bin/git", "/usr/lib/git-core"],
            "system_calls": ["processes"],
        }
    )
    named = ["-c", "user.name=notes", "-c", "user.email=notes@localhost"]
    done = -1, ""
    for command in (
        ["init", "--quiet"],
        [*named, "commit", "--quiet", "--allow-empty", "--message=one"],
        ["gc", "--quiet"],
        ["log", "--format=%s"],
    ):
        done = world.start(
            ["/usr/bin/git", "-C", str(notes), *command], sandbox, environment={"HOME": "/tmp"}
        )
        assert done[0] == 0, done
    assert done[1] == "one\n"
