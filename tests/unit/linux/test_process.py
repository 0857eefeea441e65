"""Children: what they inherit, where they run, how they end."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux import namespaces, process
from ainit.linux.process import Child
from tests.support import descriptors
from tests.support.wait import wait_for

PYTHON = "/usr/bin/python3"
USER = 61184


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            pass


def finish(pid: int, pipe: tuple[int, int]) -> tuple[int, str]:
    """The exit status of a child and what it printed."""
    os.close(pipe[1])
    output = b""
    while part := os.read(pipe[0], 65536):
        output += part
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, output.decode()


def run(pipe: tuple[int, int], code: str, **keys: object) -> tuple[int, str]:
    child = Child([PYTHON, "-I", "-c", code], {"A": "b"}, output=pipe[1])
    for key, value in keys.items():
        setattr(child, key, value)
    return finish(process.spawn(child), pipe)


def test_output_status_environment_and_directory(pipe: tuple[int, int], tmp_path: Path) -> None:
    code = """
import json, os, sys
print(json.dumps([os.getcwd(), os.environ["A"], os.environ["LISTEN_PID"] == str(os.getpid()),
                  os.getsid(0) == os.getpid(), os.read(0, 1).decode()]), flush=True)
print("error", file=sys.stderr)
sys.exit(5)
"""
    status, output = run(pipe, code, directory=str(tmp_path))
    assert status == 5
    first, second = output.splitlines()
    assert json.loads(first) == [str(tmp_path), "b", True, True, ""]
    assert second == "error"


def test_descriptors_arrive_in_order_and_no_others(pipe: tuple[int, int], tmp_path: Path) -> None:
    files = []
    for name in ("three", "four", "five"):
        (tmp_path / name).write_text(name)
        files.append(os.open(tmp_path / name, os.O_RDONLY))
    os.set_inheritable(files[0], True)
    code = """
import os
print([os.read(n, 9).decode() for n in (3, 4, 5)])
print(sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1])
"""
    # Handed over crosswise, so that a descriptor's own number is another one's target.
    status, output = run(pipe, code, descriptors=[files[2], files[0], files[1]])
    for descriptor in files:
        os.close(descriptor)
    assert status == 0
    assert output.splitlines() == ["['five', 'three', 'four']", "[0, 1, 2, 3, 4, 5]"]


def test_signals_are_as_if_pid_1_had_never_touched_them(pipe: tuple[int, int]) -> None:
    code = """
import signal
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
print([n for n in range(1, 32) if n not in (9, 19) and signal.getsignal(n) == signal.SIG_IGN])
"""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        status, output = run(pipe, code)
        assert signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, before)
    assert status == 0
    # The interpreter itself ignores SIGPIPE and SIGXFSZ.
    assert output.splitlines() == ["set()", str([int(signal.SIGPIPE), int(signal.SIGXFSZ)])]


def test_a_signal_to_a_child_just_born_ends_it_and_reaches_nobody_else() -> None:
    """Between fork and exec the child still has its parent's handlers and wake-up pipe."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_WRONLY)
    handler = signal.signal(signal.SIGTERM, lambda number, frame: None)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        for _ in range(50):
            pid = process.spawn(Child(["/bin/sleep", "3600"], {}, output=null))
            os.kill(pid, signal.SIGTERM)
            ended = os.pidfd_open(pid)
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            if not poll.poll(30_000):
                os.kill(pid, signal.SIGKILL)
            os.close(ended)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, handler)
        for descriptor in (reader, writer, null):
            os.close(descriptor)


class Apart:
    """A pid namespace, and nothing else."""

    namespaces = namespaces.NEW_PID
    first = last = descriptors = ()


@pytest.mark.parametrize(
    ("code", "number", "status"),
    [
        ("pass", signal.SIGTERM, -signal.SIGKILL),
        ("pass", signal.SIGHUP, -signal.SIGKILL),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))", signal.SIGTERM, 7),
    ],
    ids=["deaf", "deaf-to-another", "handles"],
)
def test_the_first_process_of_a_namespace_ends_by_what_ends_others(
    pipe: tuple[int, int], code: str, number: int, status: int
) -> None:
    """The kernel keeps from it what it has no handler for."""
    text = f"import signal, sys\n{code}\nprint('up', flush=True)\nsignal.pause()"
    child = Child([PYTHON, "-I", "-c", text], {}, output=pipe[1], sandbox=Apart())
    pid = process.spawn(child)
    assert os.read(pipe[0], 9) == b"up\n"
    process.signal(pid, number)
    assert finish(pid, pipe)[0] == status


@pytest.mark.parametrize("number", [signal.SIGWINCH, signal.SIGCHLD])
def test_what_ends_nobody_does_not_end_it(pipe: tuple[int, int], number: int) -> None:
    text = "import signal\nprint('up', flush=True)\nsignal.sigwait([signal.SIGUSR1])\nexit(5)"
    text = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n" + text
    child = Child([PYTHON, "-I", "-c", text], {}, output=pipe[1], sandbox=Apart())
    pid = process.spawn(child)
    assert os.read(pipe[0], 9) == b"up\n"
    process.signal(pid, number)
    os.kill(pid, signal.SIGUSR1)
    assert finish(pid, pipe)[0] == 5


STATUS = """
import json
fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({name: value.split() for name, value in fields.items()}))
"""


def status_of(pipe: tuple[int, int], **keys: object) -> dict[str, list[str]]:
    """What proc(5) says of a child that is started so."""
    status, output = run(pipe, STATUS, **keys)
    assert status == 0, output
    found: dict[str, list[str]] = json.loads(output)
    return found


def capabilities(found: dict[str, list[str]]) -> list[int]:
    """Inheritable, permitted, effective, bounding and ambient capabilities, as masks."""
    return [int(found[f"Cap{name}"][0], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")]


def test_a_user_of_its_own(pipe: tuple[int, int]) -> None:
    found = status_of(pipe, user=USER)
    assert found["Uid"] == found["Gid"] == [str(USER)] * 4
    assert (found["Groups"], found["NoNewPrivs"], found["Umask"]) == ([], ["1"], ["0022"])
    inheritable, permitted, effective, _, ambient = capabilities(found)
    assert (inheritable, permitted, effective, ambient) == (0, 0, 0, 0)


def test_root_is_left_as_it_is(pipe: tuple[int, int]) -> None:
    found = status_of(pipe)
    own = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert (found["Uid"], found["NoNewPrivs"]) == (["0"] * 4, ["0"])
    for name in ("CapPrm", "CapEff", "CapBnd", "Groups"):
        assert found[name] == own[name].split()


@pytest.mark.parametrize("user", [0, USER])
def test_groups_and_umask(pipe: tuple[int, int], user: int) -> None:
    found = status_of(pipe, user=user, group=33, groups=[7, 5], umask=0o077)
    assert (found["Uid"], found["Gid"]) == ([str(user)] * 4, ["33"] * 4)
    assert (found["Groups"], found["Umask"]) == (["5", "7"], ["0077"])


def test_a_user_keeps_the_capabilities_it_is_given(pipe: tuple[int, int]) -> None:
    names = ["CAP_NET_BIND_SERVICE", "CAP_CHECKPOINT_RESTORE"]
    found = status_of(pipe, user=USER, capabilities=names)
    assert capabilities(found) == [1 << 10 | 1 << 40] * 5
    assert found["NoNewPrivs"] == ["1"]


def test_root_has_no_more_than_the_capabilities_it_is_given(pipe: tuple[int, int]) -> None:
    found = status_of(pipe, capabilities=["CAP_KILL"])
    assert capabilities(found) == [0, 1 << 5, 1 << 5, 1 << 5, 0]
    assert found["NoNewPrivs"] == ["0"]


@pytest.mark.parametrize("user", [0, USER])
def test_without_capabilities(pipe: tuple[int, int], user: int) -> None:
    assert capabilities(status_of(pipe, user=user, capabilities=[])) == [0] * 5


@pytest.mark.parametrize("user", [0, USER])
def test_limits_nice_and_oom_score(pipe: tuple[int, int], user: int) -> None:
    code = """
import os, resource
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE),
      resource.getrlimit(resource.RLIMIT_CPU), os.nice(0), open("/proc/self/oom_score_adj").read())
"""
    limits = {"nofile": 123, "core": 0, "cpu": -1}
    own = Path("/proc/self/oom_score_adj").read_text(encoding="ascii")
    status, output = run(pipe, code, user=user, limits=limits, nice=7, oom_score=345)
    assert (status, output.split("\n")[0]) == (0, "(123, 123) (0, 0) (-1, -1) 7 345")
    assert Path("/proc/self/oom_score_adj").read_text(encoding="ascii") == own


@pytest.fixture
def group() -> Iterator[Path]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    root = next(Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
    path = root / f"ainit-test-{os.getpid()}"
    path.mkdir()
    yield path
    (path / "cgroup.kill").write_text("1")
    wait_for(lambda: not (path / "cgroup.procs").read_text(), "the group to be empty")
    path.rmdir()


@pytest.mark.parametrize("user", [0, USER])
def test_it_is_in_its_cgroup_from_birth_and_its_pid_is_in_the_cell(
    pipe: tuple[int, int], group: Path, user: int
) -> None:
    directory = os.open(group, os.O_PATH | os.O_DIRECTORY)
    cell = ctypes.c_int32(-1)
    code = "import os; print(os.getpid(), open('/proc/self/cgroup').read())"
    child = Child([PYTHON, "-I", "-c", code], {}, output=pipe[1], user=user, cgroup=directory)
    child.pid_cell = ctypes.addressof(cell)
    pid = process.spawn(child)
    os.close(directory)
    status, output = finish(pid, pipe)
    assert status == 0
    assert cell.value == pid == int(output.split()[0])
    assert f"/{group.name}\n" in output


@pytest.mark.parametrize("user", [0, USER])
def test_many_children_leave_nothing(user: int) -> None:
    null = os.open("/dev/null", os.O_WRONLY)
    before = descriptors.at_first()
    for number in range(100):
        child = Child(["/bin/true", "x" * number], {"A": "x" * number}, output=null, user=user)
        pid = process.spawn(child)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert descriptors.now() == before
    os.close(null)


@pytest.mark.parametrize("lowest", [0, 1, 2, 3])
def test_any_descriptor_can_be_the_output(lowest: int) -> None:
    """In a process of its own, whose lowest descriptors are free or in the way."""
    code = f"""
import fcntl, os, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r})
from ainit.linux import process
result = fcntl.fcntl(1, fcntl.F_DUPFD, 100)
os.closerange({lowest}, 100)
files = [os.memfd_create(str(n)) for n in range(6)]
output = files.pop(0)
for n, file in enumerate(files):
    os.write(file, b"%d" % n)
command = "for n in 3 4 5 6 7; do cat /proc/self/fd/$n; done; test -e /proc/self/fd/8 || echo ."
child = process.Child(["/bin/sh", "-c", command], {{"PATH": "/bin"}}, output=output,
                      descriptors=files[::-1])
if {lowest}:
    os.close(0)
os.waitpid(process.spawn(child), 0)
os.write(result, os.pread(output, 4096, 0))
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "43210.\n"


@pytest.mark.parametrize("user", [0, USER])
@pytest.mark.parametrize(
    ("argv", "keys", "why"),
    [
        (["/nonexistent"], {}, "execve: No such file or directory"),
        (["/etc/passwd"], {}, "execve: Permission denied"),
        (["/bin/true"], {"directory": "/nonexistent"}, "the working directory: No such file"),
        (["/bin/true"], {"limits": {"nofile": 1 << 40}}, "limit nofile: Operation not permitted"),
        (["/bin/true"], {"oom_score": 5000}, "oom_score_adj: Invalid argument"),
        (["/bin/true"], {"descriptors": [99999]}, "dup3: Bad file descriptor"),
        (["/" + "x" * 600], {}, ""),
    ],
)
def test_what_cannot_start_says_why(
    pipe: tuple[int, int], argv: list[str], keys: dict[str, object], why: str, user: int
) -> None:
    child = Child(argv, {}, output=pipe[1], user=user, **keys)  # type: ignore[arg-type]
    status, output = finish(process.spawn(child), pipe)
    assert status == process.EXEC_FAILED
    assert output.startswith(f"cannot start {argv[0]}: {why}"[:511])
    assert output.endswith("\n")


def test_without_a_process_there_is_an_error(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="clone3"):
            process.spawn(Child(["/bin/true"], {}, output=2, cgroup=directory))
    finally:
        os.close(directory)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    with pytest.raises(OSError, match="Argument list too long"):
        process.spawn(Child(["/bin/true"], {"LONG": "x" * 300_000}, output=2))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-9, "killed by signal 9"),
        (203, "could not be executed"),
    ],
)
def test_a_status_in_words(status: int, words: str) -> None:
    assert process.describe(status) == words


def test_deaths_are_seen_and_buried_once() -> None:
    """In a process of its own, because it would take pytest's children."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[3])!r})
from ainit.linux import process
assert process.reap() is None
exits = os.spawnv(os.P_NOWAIT, "/bin/sh", ["sh", "-c", "exit 7"])
dies = os.spawnv(os.P_NOWAIT, "/bin/sh", ["sh", "-c", "kill -9 $$"])
for pid in (exits, dies):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
assert {{process.reap(), process.reap()}} == {{(exits, 7), (dies, -9)}}
lives = os.spawnv(os.P_NOWAIT, "/bin/sleep", ["sleep", "3600"])
assert process.reap() is None
os.kill(lives, signal.SIGKILL)
os.waitid(os.P_PID, lives, os.WEXITED | os.WNOWAIT)
assert process.peek_death() == process.peek_death() == (lives, -9)
process.bury(lives)
process.bury(lives)
assert process.peek_death() is None
assert not process.has_children()
pair = {{os.spawnv(os.P_NOWAIT, "/bin/true", ["true"]) for _ in range(2)}}
while pair:
    if (death := process.peek_death()) is not None:
        pair.remove(death[0])
        process.bury(death[0])
"""
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


def test_what_proc_says_of_a_process() -> None:
    child = subprocess.Popen(["/bin/sleep", "3600"])
    try:
        assert process.start_time(child.pid) >= process.start_time(os.getpid()) > 0
        assert process.cgroup_of(child.pid) == process.cgroup_of(os.getpid())
    finally:
        child.kill()
        child.wait()
    wait_for(lambda: not process.start_time(child.pid), "the process to be gone")
    assert process.cgroup_of(child.pid) == ""
    assert process.peak_memory() > 1 << 20


def test_who_cannot_look_does_not_say_that_a_process_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("ainit.linux.process.open", fails, raising=False)
    for look in (process.start_time, process.parent, process.cgroup_of):
        with pytest.raises(OSError, match="Too many"):
            look(1)
