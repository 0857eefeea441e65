"""``ainitctl crash``: earlier boots, and the present one's faults."""

from __future__ import annotations

import json

from ainit.wire.protocol import VarlinkError
from tests.support.replies import STATUS

from .conftest import Run, Serve

CONTROL, LIST, SHOW, FILE = (
    "org.ainos.Control.Status",
    "org.ainos.Crash.List",
    "org.ainos.Crash.Show",
    "org.ainos.Crash.File",
)
PANIC: dict[str, object] = {
    "id": "20231114T221320Z-8f2a1c3e",
    "kind": "panic",
    "time": 1700000000.0,
    "boot_id": "8f2a1c3e-0000-4000-8000-000000000000",
    "kernel": "6.12.1-ainos",
    "cause": "Kernel panic - not syncing: sysrq triggered crash",
    "faults": 2,
    "incomplete": True,
}
MACHINE = STATUS["machine"]
assert isinstance(MACHINE, dict)
FAULTY = {**STATUS, "machine": {**MACHINE, "faults": 3, "last_fault": "KeyError: 'x' in loop.py"}}


def test_crashes_with_time_and_cause(run: Run, serve: Serve) -> None:
    serve({CONTROL: STATUS, LIST: {"crashes": [PANIC], "problem": ""}})
    result = run("crash", "list")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1] == (
        "20231114T221320Z-8f2a1c3e  panic  2023-11-14 22:13:20  6.12.1-ainos  "
        "Kernel panic - not syncing: sysrq triggered crash"
    )


def test_faults_of_this_boot_come_first(run: Run, serve: Serve) -> None:
    serve({CONTROL: FAULTY, LIST: {"crashes": [PANIC], "problem": ""}})
    first = run("crash", "list").out.splitlines()[1]
    assert first.split()[:3] == ["this-boot", "ainit-fault", "-"]
    assert first.endswith("KeyError: 'x' in loop.py")
    crashes = json.loads(run("crash", "list", "--json").out)["crashes"]
    assert [(each["kind"], each["faults"]) for each in crashes] == [
        ("ainit-fault", 3),
        ("panic", 2),
    ]


def test_why_nothing_is_kept(run: Run, serve: Serve) -> None:
    serve({CONTROL: STATUS, LIST: {"crashes": [], "problem": "Read-only file system"}})
    result = run("crash", "list")
    assert result.err == "ainitctl: crashes are not kept: Read-only file system\n"
    assert result.code == 0


def test_one_crash_with_its_logs(run: Run, serve: Serve) -> None:
    logs = {"console": "[ 1.0] a\x1b[2J\n[ 2.0] b\n", "log": "== speech\nlast\n"}
    answer = {"crash": PANIC, **logs, "files": []}
    server = serve({SHOW: answer})
    result = run("crash", "show", "20231114T221320Z-8f2a1c3e")
    assert server.calls == [(SHOW, {"id": PANIC["id"]})]
    assert "part of the kernel's log is lost" in result.out
    assert "\nkernel log:\n[ 1.0] a\\x1b[2J\n[ 2.0] b\n" in result.out
    assert result.out.endswith("\nlog files:\n== speech\nlast\n")
    assert json.loads(run("crash", "show", "20231114T221320Z-8f2a1c3e", "--json").out) == answer


def test_what_was_kept_of_a_unit_in_quarantine(run: Run, serve: Serve) -> None:
    piece = "speech-20261130T202603Z"
    crash = {**PANIC, "id": piece, "kind": "quarantine", "cause": "speech: odd (by kim)"}
    answer = {"crash": crash, "console": "", "log": "last\n", "files": ["group.txt", "log.txt"]}
    server = serve({SHOW: answer, FILE: {"text": "== cgroup.events\nfrozen 1\x1b[2J\n"}})
    out = run("crash", "show", piece).out
    assert "files         group.txt, log.txt" in out
    assert "part of it was not kept" in out
    result = run("crash", "show", piece, "group.txt")
    assert result.out == "== cgroup.events\nfrozen 1\\x1b[2J\n"
    assert server.calls[-1] == (FILE, {"id": piece, "file": "group.txt"})
    assert json.loads(run("crash", "show", piece, "group.txt", "--json").out)["text"]


def test_a_file_that_was_not_kept(run: Run, serve: Serve) -> None:
    serve({FILE: VarlinkError("org.ainos.Crash.NoSuchCrash", {"id": "x"})})
    result = run("crash", "show", "x", "group.txt")
    assert (result.code, "there is no group.txt of x" in result.err) == (1, True)


def test_this_boot_can_be_shown(run: Run, serve: Serve) -> None:
    serve({CONTROL: FAULTY})
    result = run("crash", "show", "this-boot")
    assert "KeyError: 'x' in loop.py" in result.out
    assert "kernel log" not in result.out


def test_a_boot_without_faults_has_nothing_to_show(run: Run, serve: Serve) -> None:
    serve({CONTROL: STATUS})
    assert run("crash", "show", "this-boot").code == 1


def test_a_crash_that_is_not_there(run: Run, serve: Serve) -> None:
    serve({SHOW: VarlinkError("org.ainos.Crash.NoSuchCrash", {"id": "x"})})
    result = run("crash", "show", "x")
    assert result.code == 1
    assert "there is no crash x" in result.err


def test_another_error_is_told_as_it_is(run: Run, serve: Serve) -> None:
    serve({SHOW: VarlinkError("org.varlink.service.PermissionDenied")})
    result = run("crash", "show", "x")
    assert "permission denied" in result.err


def test_a_time_beyond_the_calendar_is_shown_as_a_number(run: Run, serve: Serve) -> None:
    serve({CONTROL: STATUS, LIST: {"crashes": [{**PANIC, "time": 1e300}], "problem": ""}})
    assert "1e+300" in run("crash", "list").out
