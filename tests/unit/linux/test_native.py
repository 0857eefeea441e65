"""Faults: whatever ends a process that is armed executes it anew, with its pid and its children.

Each fault happens in a process of its own, which is plain Python: this one must not be executed
anew.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ainit.linux import native

ROOT = Path(__file__).resolve().parents[3]

# The first life makes a child, blocks a signal, arms itself and runs the code it was given; the
# second one tells what it finds.
PROGRAM = f"""
import json, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from ainit.linux import libc, native
if sys.argv[-1].startswith("--fault="):
    child = int(os.environ["CHILD"])
    os.kill(child, 9)
    print(json.dumps({{
        "arguments": sys.argv[1:],
        "pid": os.getpid(),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        "child": os.waitpid(child, 0) == (child, 9),
        "kept": os.read(int(os.environ["KEPT"]), 9).decode(),
    }}), flush=True)
    os._exit(7)
child = os.spawnv(os.P_NOWAIT, "/bin/sleep", ["sleep", "3600"])
reader, writer = os.pipe()
os.write(writer, b"kept")
os.set_inheritable(reader, True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGSEGV, signal.SIGABRT])
native.arm(
    [sys.executable, "-I", "-S", *sys.argv, "--fault=before"],
    [f"CHILD={{child}}", f"KEPT={{reader}}"],
)
exec(sys.argv[1])
"""

STACK_OVERFLOW = """
import ctypes
sys.setrecursionlimit(10**9)
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
numbers = (ctypes.c_int * 2)(1, 2)
def deeper(first, second):
    return ctypes.CDLL(None).qsort(numbers, 2, 4, callback)
callback = compare(deeper)
deeper(0, 0)
"""
BEYOND_THE_FILE = """
import ctypes, mmap
file = os.memfd_create("empty")
os.ftruncate(file, 4096)
view = mmap.mmap(file, 4096)
os.ftruncate(file, 0)
view[0]
"""
WITHOUT_MEMORY = """
import resource
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * 4096 + (16 << 20)
resource.setrlimit(resource.RLIMIT_AS, (size, size))
hoard = []
try:
    for power in range(22, 3, -1):
        try:
            while True:
                hoard.append(bytearray(1 << power))
        except MemoryError:
            pass
    while True:
        hoard.append([hoard])
except MemoryError as error:
    native.reexec(str(error) + "exhausted")
"""
SECOND_THREAD = """
import _thread
_thread.start_new_thread(os.abort, ())
signal.pause()
"""
UNBLOCKED = "signal.pthread_sigmask(signal.SIG_SETMASK, []); "

STUCK = "native.limit(1)\nwhile True: pass"
FAULTS = {
    "a loop without end": (STUCK, "stuck"),
    "a null pointer": ("import ctypes; ctypes.string_at(0)", "signal 11"),
    "a null pointer, unblocked": (UNBLOCKED + "import ctypes; ctypes.string_at(0)", "signal 11"),
    "a stack overflow": (UNBLOCKED + STACK_OVERFLOW, "signal 11"),
    "a mapping cut short": (BEYOND_THE_FILE, "signal 7"),
    "abort": ("os.abort()", "signal 6"),
    "a fatal error of Python": (
        "import ctypes; ctypes.pythonapi.Py_FatalError(b'broken')",
        "signal 6",
    ),
    "exit": ("sys.exit(3)", "exit"),
    "the end": ("pass", "exit"),
    "an exception": ("raise RuntimeError", "exit"),
    "a reason": ("native.reexec('ValueError at x.py:3: \u00e9')", "ValueError at x.py:3: \u00e9"),
    "a long reason": ("native.reexec('x' * 9000)", "x" * 500),
    "an odd reason": ("native.reexec('a\\0b\\ud800')", "a b?"),
    "no memory": (WITHOUT_MEMORY, "exhausted"),
    "a second thread": (SECOND_THREAD, "signal 6"),
    **{
        f"signal {number} from outside": (
            UNBLOCKED + f"import os; os.kill(os.getpid(), {number}); signal.pause()",
            f"signal {number}",
        )
        for number in (4, 5, 6, 7, 8, 11, 31)
    },
}  # fmt: skip


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for each in started:
        each.kill()
        each.communicate()


def python(*command: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status and the output; nothing that it started is left."""
    try:
        output, _ = process.communicate(timeout=60)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()
    return process.returncode, output


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_executes_the_process_anew(program: Path, name: str) -> None:
    code, reason = FAULTS[name]
    process = python(program, code)
    status, output = finish(process)
    found: dict[str, Any] = json.loads(output)
    assert status == 7
    assert found == {
        "arguments": [code, f"--fault={reason}"],
        "pid": process.pid,
        "blocked": [],
        "child": True,
        "kept": "kept",
    }


def test_it_is_executed_anew_any_number_of_times(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from ainit.linux import libc, native
lives = int(os.environ.get("LIVES", "0"))
print(os.getpid(), *sys.argv[1:], flush=True)
if lives == 20:
    native.disarm()
    sys.exit(5)
native.arm([sys.executable, "-I", "-S", *sys.argv], [f"LIVES={{lives + 1}}"])
os.kill(os.getpid(), 6 if lives % 2 else 11)
""")
    process = python(program)
    status, output = finish(process)
    assert status == 5
    reasons = [f"--fault=signal {(11, 6)[life % 2]}" for life in range(20)]
    assert output.splitlines() == [f"{process.pid} {text}".strip() for text in ["", *reasons]]


def test_init_of_a_namespace_survives(program: Path) -> None:
    code = "import ctypes; ctypes.string_at(0)"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "/usr/bin/python3", "-I",
         "-S", str(program), code],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert (done.returncode, found["pid"], found["child"]) == (7, 1, True)
    assert found["arguments"][-1] == "--fault=signal 11"


def test_a_forked_child_dies_of_its_own_fault(program: Path) -> None:
    code = """
pid = os.fork()
if pid == 0:
    os.abort()
first = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
pid = os.fork()
if pid == 0:
    sys.exit(9)
second = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
native.reexec(f"{first} {second}")
"""
    status, output = finish(python(program, code))
    assert status == 7
    assert json.loads(output)["arguments"][-1] == "--fault=-6 9"


FAILING = f"""
import errno, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from ainit.linux import libc, native
native.arm(["/nonexistent"], [])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
try:
    native.reexec("why")
except OSError as error:
    assert error.errno == errno.ENOENT
else:
    os._exit(1)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {{signal.SIGUSR1}}
print("still here", flush=True)
"""


@pytest.mark.parametrize(
    ("code", "end"), [("os.abort()", -6), ("os.kill(os.getpid(), 11)", -11), ("sys.exit(4)", 4)]
)
def test_what_cannot_be_executed_ends_as_ever(tmp_path: Path, code: str, end: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(FAILING + code)
    assert finish(python(program)) == (end, "still here\n")


@pytest.mark.parametrize(
    ("argv", "environment", "why"),
    [
        (["/bin/true"] * 65, [], "Argument list too long"),
        (["/bin/true"], ["A=b"] * 257, "Argument list too long"),
        (["/bin/true", "x" * 70_000], [], "Argument list too long"),
        ([], [], "Invalid argument"),
    ],
    ids=["arguments", "variables", "bytes", "nothing"],
)
def test_what_does_not_fit_is_refused(argv: list[str], environment: list[str], why: str) -> None:
    with pytest.raises(OSError, match=why):
        native.arm(argv, environment)
    with pytest.raises(OSError, match="Invalid argument"):
        native.reexec("not armed")


def test_a_missing_library_says_what_makes_it(tmp_path: Path) -> None:
    package = tmp_path / "ainit" / "linux"
    package.mkdir(parents=True)
    for name in ("foreign.py", "libc.py", "native.py"):
        text = Path(native.__file__).with_name(name).read_text(encoding="utf-8")
        (package / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c",
         f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import ainit.linux.native"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "`scripts/native` makes it for this host" in done.stderr.splitlines()[-1]
