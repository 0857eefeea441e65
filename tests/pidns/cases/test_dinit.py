"""Services and what hangs on them: ported from dinit's integration tests (src/igr-tests) and unit
tests (src/tests), each by its name there.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ainit.child.compile import compile_plan
from ainit.errors import ConfigError
from tests.pidns.cases.kit import (
    FALSE,
    FAST,
    NEVER,
    PAUSE,
    alone,
    booted,
    configure,
    lines,
    puppet,
    replaced,
    shell,
    target,
    tell,
    text,
    unit,
)
from tests.pidns.machine import ACTOR, Machine
from tests.support.wait import wait_for

HOUR = 3600


def journal(machine: Machine) -> Path:
    return machine.directory / "journal"


def ordered(machine: Machine, name: str, **keys: object) -> None:
    """A unit that writes ``+name`` when it is up and ``-name`` when it is asked to stop."""
    command = [*ACTOR, "ordered", str(journal(machine)), name]
    unit(machine, name, command, **{"type": "notify", **keys})


def entries(machine: Machine) -> list[str]:
    return lines(journal(machine))


def check(machine: Machine) -> list[str]:
    """What is wrong with the units of the image."""
    directory = machine.directory
    try:
        compile_plan(
            directory / "machine.toml", units=directory / "units", agents=directory / "agents"
        )
    except ConfigError as problem:
        return [str(one) for one in problem.findings]
    return []


def states(machine: Machine, *names: str) -> list[str]:
    return [machine.state(name) for name in names]


# src/igr-tests


def test_dinit_igr_basic(machine: Machine) -> None:
    """A service of the boot runs."""
    unit(machine, "basic", shell("echo ran"), type="oneshot", restart="never")
    machine.boot()
    machine.wait_state("basic", "exited")
    assert "ran" in machine.log("basic")


def test_dinit_igr_environ(machine: Machine) -> None:
    """Each service has the variables of its own file and none of another's."""
    for name in ("one", "two"):
        command = shell("echo $MINE-$OTHER")
        unit(machine, name, command, type="oneshot", environment={"MINE": name})
    machine.boot()
    for name in ("one", "two"):
        machine.wait_state(name, "exited")
        assert f"{name}-" in machine.log(name)


def test_dinit_igr_ps_environ(machine: Machine) -> None:
    """Without any the environment is small and known."""
    unit(machine, "bare", ["/usr/bin/env"], type="oneshot")
    machine.boot()
    machine.wait_state("bare", "exited")
    names = {line.split("=")[0] for line in machine.log("bare") if "=" in line}
    assert names == {"PATH", "HOME", "LANG", "AINOS_UNIT", "LISTEN_PID"}


def test_dinit_igr_chain_to(machine: Machine) -> None:
    """Oneshots in a row run one after the other, each when the one before has done its work."""
    for name, before in (("part1", []), ("part2", ["part1"]), ("part3", ["part2"])):
        command = shell(f"echo {name} >> {journal(machine)}")
        unit(machine, name, command, type="oneshot", requires=before)
    machine.boot()
    machine.wait_state("part3", "exited")
    assert entries(machine) == ["part1", "part2", "part3"]


def test_dinit_igr_force_stop(machine: Machine) -> None:
    """Stopping what others need stops them first, the farthest first."""
    ordered(machine, "critical")
    ordered(machine, "intermediary", requires=["critical"])
    ordered(machine, "boot", requires=["intermediary"])
    booted(machine, "boot")
    machine.call("Stop", name="critical")
    machine.wait_state("critical", "inactive")
    assert entries(machine)[3:] == ["-boot", "-intermediary", "-critical"]
    assert states(machine, "boot", "intermediary") == ["inactive", "inactive"]


def test_dinit_igr_restart(machine: Machine) -> None:
    """A restart runs the program again; that of a target does not touch its members."""
    puppet(machine, "basic", ready=True)
    target(machine, "internal", requires=["basic"])
    booted(machine, "internal")
    pid = machine.pid("basic")
    machine.call("Restart", name="internal")
    machine.wait_state("internal", "ready")
    assert machine.pid("basic") == pid
    machine.call("Restart", name="basic")
    replaced(machine, "basic", pid)
    machine.wait_state("internal", "ready")


def test_dinit_igr_check_basic(machine: Machine) -> None:
    """A checker names every mistake of a file, with its line."""
    path = machine.directory / "units/boot.toml"
    path.write_text("[service]\nexec = []\ntype = 'weird'\nrestart = 3\nnonsense = 1\n")
    found = check(machine)
    assert len(found) >= 4
    assert all(f"boot.toml:{line}:" in "\n".join(found) for line in (2, 3, 4, 5))


def test_dinit_igr_check_cycle(machine: Machine) -> None:
    """A cycle is an error that names the whole of it."""
    for name, needs in (("boot", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "b")):
        unit(machine, name, PAUSE, requires=[needs])
    assert [line.partition("dependency cycle: ")[2] for line in check(machine)] == [
        "b → c → d → e → b"
    ]


def test_dinit_igr_check_cycle2(machine: Machine) -> None:
    """So is one through different kinds of dependency."""
    unit(machine, "a", PAUSE, wants=["b"])
    unit(machine, "b", PAUSE, bound_to=["c"])
    unit(machine, "c", PAUSE, after=["a"])
    assert [line.partition("dependency cycle: ")[2] for line in check(machine)] == ["a → b → c → a"]


def test_dinit_igr_check_lint(machine: Machine) -> None:
    """Keys that can have no effect on such a unit are mistakes."""
    unit(machine, "boot", PAUSE, type="oneshot", watchdog_s=3, fd_store_max=1)
    assert len(check(machine)) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"after": ["b"]}, {"after": ["a"]}),
        ({"before": ["b"], "after": ["b"]}, {}),
        ({"before": ["a"]}, {}),
        ({"after": ["a"]}, {}),
    ],
    ids=["after", "before-and-after", "before-itself", "after-itself"],
)
def test_dinit_igr_cycles(
    machine: Machine, one: dict[str, object], other: dict[str, object]
) -> None:
    """Order alone can be a cycle, of two or of one."""
    unit(machine, "a", PAUSE, **one)
    unit(machine, "b", PAUSE, **other)
    assert any("cycle" in line for line in check(machine))


def test_dinit_igr_pseudo_cycle(machine: Machine) -> None:
    """What is needed through another, and also says that it is before, is no cycle."""
    ordered(machine, "boot", requires=["middle"])
    ordered(machine, "middle", requires=["service"])
    ordered(machine, "service", before=["boot"])
    booted(machine, "boot")
    assert entries(machine) == ["+service", "+middle", "+boot"]


def test_dinit_igr_dep_not_found(machine: Machine) -> None:
    """A requirement that is no unit is an error; one that is only wanted is not."""
    unit(machine, "a", PAUSE, requires=["missing"])
    unit(machine, "b", PAUSE, wants=["missing"], after=["missing"])
    (found,) = check(machine)
    assert found.endswith("a requires missing, which is no unit")


def test_dinit_igr_no_command_error(machine: Machine) -> None:
    """A service without a program is an error."""
    (machine.directory / "units/boot.toml").write_text("[service]\ntype = 'simple'\n")
    assert any(line.endswith("exec is missing") for line in check(machine))


def test_dinit_igr_reload1(machine: Machine) -> None:
    """A change that makes a running unit need a new one starts that; the running one goes on."""
    machine.boot()
    configure(machine, boot=text(PAUSE))
    pid = machine.wait_state("boot", "ready")["pid"]
    change = configure(machine, boot=text(PAUSE, requires=["c"]), c=text(PAUSE, autostart=False))
    assert change["start"] == ["c"]
    machine.wait_state("c", "ready")
    assert machine.pid("boot") == pid


def test_dinit_igr_reload2(machine: Machine) -> None:
    """A unit that is down takes another program with the change, and runs it when it is started."""
    machine.boot()
    configure(machine, boot=text(PAUSE))
    machine.wait_state("boot", "ready")
    machine.call("Stop", name="boot")
    machine.wait_state("boot", "inactive")
    configure(machine, boot=text(shell("echo second"), type="oneshot"))
    assert machine.state("boot") == "inactive"
    machine.call("Start", name="boot")
    machine.wait_state("boot", "exited")
    assert "second" in machine.log("boot")


def test_dinit_igr_add_rm_dep(machine: Machine) -> None:
    """Dependencies may be removed and added while all of them run; nobody restarts for that."""
    machine.boot()
    configure(machine, main=text(PAUSE, wants=["other"]), other=text(PAUSE, autostart=False))
    machine.wait_state("other", "ready")
    pids = machine.pid("main"), machine.pid("other")
    configure(machine, main=text(PAUSE))
    machine.call("Stop", name="other")
    machine.wait_state("other", "inactive")
    change = configure(machine, main=text(PAUSE, wants=["other"]))
    assert change["start"] == ["other"]
    machine.wait_state("other", "ready")
    assert machine.pid("main") == pids[0]


@pytest.mark.parametrize("command", [["/nonexistent/bad"], FALSE], ids=["no-program", "fails"])
def test_dinit_igr_svc_start_fail(machine: Machine, command: list[str]) -> None:
    """A start that fails is told with its reason, and so is one that takes too long."""
    unit(machine, "bad", command, type="oneshot", restart="never", autostart=False)
    unit(
        machine, "timeout", PAUSE, type="oneshot", restart="never", autostart=False,
        start_timeout_s=0.2,
    )  # fmt: skip
    machine.boot()
    for name, words in (("bad", ("could not be executed", "exited")), ("timeout", ("not ready",))):
        machine.call("Start", name=name)
        assert str(machine.wait_state(name, "failed")["reason"]).startswith(words)


def test_dinit_igr_before_after(machine: Machine) -> None:
    """Order holds for units that are started together, from both sides."""
    ordered(machine, "service1", before=["service2"], autostart=False)
    ordered(machine, "service2", autostart=False)
    ordered(machine, "service3", after=["service2"], autostart=False)
    target(machine, "parent", wants=["service3", "service2", "service1"], autostart=False)
    machine.boot()
    machine.call("Start", name="parent")
    machine.wait_state("parent", "ready")
    assert entries(machine) == ["+service1", "+service2", "+service3"]


def test_dinit_igr_before_after2(machine: Machine) -> None:
    """Order outlives the requirement: with it removed, the two still start one after the other."""
    machine.boot()
    path = str(machine.directory / "journal")
    first = text([*ACTOR, "ordered", path, "one"], type="notify", autostart=False, before=["two"])
    second = [*ACTOR, "ordered", path, "two"]
    configure(machine, one=first, two=text(second, type="notify", requires=["one"]))
    machine.wait_state("two", "ready")
    machine.call("Stop", name="one")
    machine.wait_state("one", "inactive")
    configure(machine, two=text(second, type="notify", autostart=False))
    machine.call("Start", name="one")
    machine.call("Start", name="two")
    machine.wait_state("two", "ready")
    assert entries(machine)[-2:] == ["+one", "+two"]


def test_dinit_igr_log_via_pipe(machine: Machine) -> None:
    """What a service writes is kept over its restarts, in order."""
    unit(machine, "producer", shell("echo Producing output..."), type="oneshot", autostart=False)
    machine.boot()
    for times in (1, 2):
        machine.call("Start", name="producer")
        wait_for(lambda: machine.log("producer").count("Producing output...") == times, "it")  # noqa: B023
        machine.wait_state("producer", "exited")


def test_dinit_igr_catlog(machine: Machine) -> None:
    """It can be read while the service is down, and read again."""
    unit(machine, "output", shell("printf Output..."), type="oneshot")
    machine.boot()
    machine.wait_state("output", "exited")
    machine.wait_log("output", "Output...")
    assert machine.log("output").count("Output...") == 1


# src/tests/tests.cc


def test_dinit_basic_test1(machine: Machine) -> None:
    """Starting a service starts what it needs, and what that needs."""
    for name, needs in (("s1", []), ("s2", ["s1"]), ("s3", ["s2"])):
        ordered(machine, name, requires=needs, autostart=False)
    machine.boot()
    machine.call("Start", name="s3")
    machine.wait_state("s3", "ready")
    assert entries(machine) == ["+s1", "+s2", "+s3"]


def test_dinit_basic_test2(machine: Machine) -> None:
    """Stopping one of two that need a third leaves the third and the other alone."""
    puppet(machine, "s1", ready=True)
    puppet(machine, "s2", ready=True, requires=["s1"])
    puppet(machine, "s3", ready=True, requires=["s1"])
    booted(machine, "s2", "s3")
    machine.call("Stop", name="s3")
    machine.wait_state("s3", "inactive")
    assert states(machine, "s1", "s2") == ["ready", "ready"]


def test_dinit_basic_test5(machine: Machine) -> None:
    """Each waits for the one before, although that takes its time."""
    puppet(machine, "s1", type="notify", start_timeout_s=HOUR)
    puppet(machine, "s2", type="notify", start_timeout_s=HOUR, requires=["s1"])
    puppet(machine, "s3", ready=True, requires=["s2"])
    machine.boot()
    tell(machine, "s1", "answer = 1")
    assert states(machine, "s1", "s2", "s3") == ["starting", "waiting", "waiting"]
    tell(machine, "s1", "notify(b'READY=1')")
    machine.wait_state("s2", "starting")
    assert machine.state("s3") == "waiting"
    tell(machine, "s2", "notify(b'READY=1')")
    machine.wait_state("s3", "ready")


def test_dinit_basic_test7(machine: Machine) -> None:
    """What stopped because of what it needs does not come back by itself, restart or not."""
    puppet(machine, "s1", ready=True)
    puppet(machine, "s2", ready=True, requires=["s1"], restart="always")
    booted(machine, "s2")
    machine.call("Stop", name="s1")
    machine.wait_state("s1", "inactive")
    machine.wait_state("s2", "inactive")
    assert machine.describe("s2")["desired"] == "down"


def test_dinit_basic_test9(machine: Machine) -> None:
    """A restart takes those that require it along, and leaves those that only want it alone."""
    for name, keys in (("s1", {}), ("hard", {"requires": ["s1"]}), ("soft", {"wants": ["s1"]})):
        puppet(machine, name, ready=True, **keys)
    booted(machine, "hard", "soft")
    before = {name: machine.pid(name) for name in ("s1", "hard", "soft")}
    machine.call("Restart", name="s1")
    replaced(machine, "s1", before["s1"])
    replaced(machine, "hard", before["hard"])
    assert machine.pid("soft") == before["soft"]


def test_dinit_basic_test10(machine: Machine) -> None:
    """A diamond comes down as it went up: the tip first, the root last."""
    ordered(machine, "root")
    ordered(machine, "left", requires=["root"])
    ordered(machine, "right", requires=["root"])
    ordered(machine, "tip", requires=["left", "right"])
    booted(machine, "tip")
    machine.call("Stop", name="root")
    machine.wait_state("root", "inactive")
    found = entries(machine)
    assert (found[0], found[3], found[4], found[7]) == ("+root", "+tip", "-tip", "-root")
    assert sorted(found[5:7]) == ["-left", "-right"]


def test_dinit_test_softdep1(machine: Machine) -> None:
    """Stopping what is only wanted does not stop who wants it."""
    puppet(machine, "s1", ready=True)
    puppet(machine, "s2", ready=True, wants=["s1"])
    booted(machine, "s2")
    machine.call("Stop", name="s1")
    machine.wait_state("s1", "inactive")
    assert machine.state("s2") == "ready"


def test_dinit_test_softdep3(machine: Machine) -> None:
    """Who requires what fails does not start; who wants it does."""
    unit(machine, "s1", FALSE, type="oneshot", restart="never")
    puppet(machine, "hard", ready=True, requires=["s1"])
    puppet(machine, "soft", ready=True, wants=["s1"])
    booted(machine, "soft")
    assert machine.describe("hard")["reason"] == "waits for s1, which is failed"


def test_dinit_test_softdep4(machine: Machine) -> None:
    """When the start of what is required is cancelled, nobody starts on it."""
    puppet(machine, "s1", type="notify", start_timeout_s=HOUR)
    puppet(machine, "s2", ready=True, requires=["s1"])
    machine.boot()
    tell(machine, "s1", "answer = 1")
    machine.call("Stop", name="s1")
    machine.wait_state("s1", "inactive")
    machine.wait_state("s2", "inactive")
    assert machine.describe("s2")["spawned_at"] is None


def test_dinit_test_softdep7(machine: Machine) -> None:
    """What is wanted comes back by itself after a crash, and who wants it does not notice."""
    puppet(machine, "s1", ready=True, backoff=FAST)
    puppet(machine, "s2", ready=True, wants=["s1"])
    booted(machine, "s2")
    one, two = machine.pid("s1"), machine.pid("s2")
    machine.kill(one)
    replaced(machine, "s1", one)
    assert machine.pid("s2") == two


def test_dinit_test_softdep8(machine: Machine) -> None:
    """One that need not come back stays down."""
    puppet(machine, "s1", ready=True, restart="never")
    puppet(machine, "s2", ready=True, wants=["s1"])
    booted(machine, "s2")
    tell(machine, "s1", "os._exit(0)")
    machine.wait_state("s1", "exited")
    assert machine.state("s2") == "ready"


def test_dinit_test_other3(machine: Machine) -> None:
    """A restart of a service brings back what it took along, in order."""
    ordered(machine, "s1")
    ordered(machine, "s2", requires=["s1"])
    booted(machine, "s2")
    machine.call("Restart", name="s1")
    wait_for(lambda: len(entries(machine)) == 6, "both to be back")
    assert entries(machine) == ["+s1", "+s2", "-s2", "-s1", "+s1", "+s2"]


def test_dinit_test_other4(machine: Machine) -> None:
    """A restart happens once: a stop afterwards is a stop."""
    puppet(machine, "s1", ready=True)
    booted(machine, "s1")
    pid = machine.pid("s1")
    machine.call("Restart", name="s1")
    replaced(machine, "s1", pid)
    machine.call("Stop", name="s1")
    machine.wait_state("s1", "inactive")
    assert machine.describe("s1")["desired"] == "down"
    alone(machine)


def test_dinit_test_other5(machine: Machine) -> None:
    """A stop cancels a restart that still waits for the end of the old process."""
    puppet(machine, "s1", ready=True)
    booted(machine, "s1")
    tell(machine, "s1", "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")
    machine.call("Restart", name="s1")
    machine.wait_log("s1", "asked")
    machine.call("Stop", name="s1")
    tell(machine, "s1", "os._exit(0)")
    machine.wait_state("s1", "inactive")
    assert machine.describe("s1")["restarts"] == 0


def test_dinit_test_other6(machine: Machine) -> None:
    """A start can be interrupted: the process goes, and nothing has failed."""
    puppet(machine, "s1", type="notify", start_timeout_s=HOUR)
    machine.boot()
    tell(machine, "s1", "answer = 1")
    machine.call("Stop", name="s1")
    machine.wait_state("s1", "inactive")
    alone(machine)


@pytest.mark.parametrize("key", ["before", "after"])
def test_dinit_test_order(machine: Machine, key: str) -> None:
    """Order alone starts nobody."""
    unit(machine, "other", PAUSE, autostart=False)
    puppet(machine, "s1", ready=True, **{key: ["other"]})
    booted(machine, "s1")
    assert machine.state("other") == "inactive"


def test_dinit_test_restart_stop2(machine: Machine) -> None:
    """A stop during a restart with what depends on it leaves both down."""
    puppet(machine, "s1", ready=True)
    puppet(machine, "s2", ready=True, requires=["s1"])
    booted(machine, "s2")
    tell(machine, "s2", "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")
    machine.call("Restart", name="s1")
    machine.wait_log("s2", "asked")
    machine.call("Stop", name="s1")
    tell(machine, "s2", "os._exit(0)")
    machine.wait_state("s1", "inactive")
    machine.wait_state("s2", "inactive")
    alone(machine)
    assert [machine.describe(name)["desired"] for name in ("s1", "s2")] == ["down", "down"]


def test_dinit_test_release_from_failed(machine: Machine) -> None:
    """A failed unit is put to rest by a stop and may be started again."""
    flag = machine.directory / "flag"
    command = shell(f"test -e {flag}")
    unit(machine, "s1", command, type="oneshot", restart="never")
    machine.boot()
    machine.wait_state("s1", "failed")
    machine.call("Stop", name="s1")
    assert machine.state("s1") == "inactive"
    flag.touch()
    machine.call("Start", name="s1")
    machine.wait_state("s1", "exited")


# src/tests/proctests.cc


def test_dinit_test_proc_unexpected_term(machine: Machine) -> None:
    """An unexpected end is a failure with its reason, and takes nobody along who only wants it."""
    puppet(machine, "p", ready=True, restart="never")
    puppet(machine, "soft", ready=True, wants=["p"])
    booted(machine, "soft")
    tell(machine, "p", "os._exit(2)")
    assert machine.wait_state("p", "failed")["reason"] == "exited with status 2"
    assert machine.state("soft") == "ready"


def test_dinit_test_proc_term_start(machine: Machine) -> None:
    """After its restarts are used up, a service can be started by hand, and counts anew."""
    puppet(machine, "p", ready=True, backoff={**FAST, "limit": 1})
    booted(machine, "p")
    for _ in range(2):
        for _ in range(2):
            pid = machine.wait_state("p", "ready")["pid"]
            tell(machine, "p", "os._exit(1)")
            wait_for(lambda: machine.describe("p")["pid"] != pid, "its end")  # noqa: B023
        machine.wait_state("p", "failed")
        machine.call("Start", name="p")
        machine.wait_state("p", "ready")


def test_dinit_test_proc_term_restart4(machine: Machine) -> None:
    """A restart that does not get ready in time is a failure like the first."""
    flag = machine.directory / "flag"
    code = (
        "import os, signal, socket, sys\n"
        "if not os.path.exists(sys.argv[1]):\n"
        "    open(sys.argv[1], 'w').close()\n"
        "    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "    channel.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])\n"
        "    os._exit(1)\n"
        "signal.pause()\n"
    )
    command = ["/usr/bin/python3", "-I", "-c", code, str(flag)]
    backoff = {**FAST, "limit": 1}
    unit(machine, "p", command, type="notify", start_timeout_s=2, backoff=backoff)
    machine.boot()
    found = machine.wait_state("p", "failed")
    assert found["reason"] == "not ready in 2 s; held after 2 failures in a row"


def test_dinit_test_term_via_stop3(machine: Machine) -> None:
    """Two stops are one: the process is asked once."""
    puppet(machine, "p", ready=True)
    booted(machine, "p")
    tell(machine, "p", "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")
    machine.call("Stop", name="p")
    machine.wait_log("p", "asked")
    machine.call("Stop", name="p")
    tell(machine, "p", "answer = 1")
    assert machine.log("p").count("asked") == 1
    tell(machine, "p", "os._exit(0)")
    assert machine.wait_state("p", "inactive")["reason"] == ""


def test_dinit_test_proc_start_timeout2(machine: Machine) -> None:
    """Who only wants a service that is not ready in time starts after that."""
    unit(machine, "p", PAUSE, type="notify", start_timeout_s=0.2, restart="never")
    puppet(machine, "soft", ready=True, wants=["p"])
    booted(machine, "soft")
    assert machine.describe("p")["reason"] == "not ready in 0.2 s"


def test_dinit_test_proc_notify_fail(machine: Machine) -> None:
    """A service that ends before it said that it is ready has failed to start."""
    puppet(machine, "p", type="notify", restart="never", start_timeout_s=HOUR)
    puppet(machine, "hard", ready=True, requires=["p"])
    machine.boot()
    tell(machine, "p", "os._exit(1)")
    machine.wait_state("p", "failed")
    assert machine.state("hard") == "waiting"


def test_dinit_test_proc_smooth_recovery(machine: Machine) -> None:
    """A service that crashes and recovers leaves those that require it running."""
    puppet(machine, "p", ready=True, backoff=FAST)
    puppet(machine, "hard", ready=True, requires=["p"])
    booted(machine, "hard")
    pid, other = machine.pid("p"), machine.pid("hard")
    machine.kill(pid)
    replaced(machine, "p", pid)
    assert machine.pid("hard") == other


def test_dinit_test_proc_smooth_recovery4(machine: Machine) -> None:
    """A stop while it waits for the next try ends the recovery."""
    puppet(machine, "p", ready=True, backoff=NEVER)
    booted(machine, "p")
    machine.kill(machine.pid("p"))
    machine.wait_state("p", "backoff")
    machine.call("Stop", name="p")
    assert machine.state("p") == "inactive"


def test_dinit_test_bgproc_unexpected_term(machine: Machine) -> None:
    """The end of a background process is seen, although it was adopted."""
    unit(machine, "b", shell("sleep inf &"), type="forking", restart="never")
    booted(machine, "b")
    machine.kill(machine.pid("b"), signal.SIGTERM)
    assert machine.wait_state("b", "failed")["reason"] == "killed by signal 15"


def test_dinit_test_bgproc_several(machine: Machine) -> None:
    """With several of them none is the main one; the last that is left is, and ends the unit."""
    unit(machine, "b", shell("sleep inf & sleep inf &"), type="forking", restart="never")
    booted(machine, "b")
    assert machine.describe("b")["pid"] is None
    sleeps = [one.pid for one in machine.processes() if one.command.startswith("sleep")]
    machine.kill(sleeps[0])
    wait_for(lambda: machine.describe("b")["pid"] == sleeps[1], "the other to be the main one")
    assert machine.state("b") == "ready"
    machine.kill(sleeps[1])
    assert machine.wait_state("b", "failed")["reason"] == "killed by signal 9"


def test_dinit_test_bgproc_stop(machine: Machine) -> None:
    """All of them are stopped together."""
    unit(machine, "b", shell("sleep inf & sleep inf &"), type="forking")
    booted(machine, "b")
    machine.call("Stop", name="b")
    machine.wait_state("b", "inactive")
    alone(machine)


def test_dinit_test_waitsfor_restart(machine: Machine) -> None:
    """Starting what wants a service that is just stopping has that come back first."""
    puppet(machine, "p", ready=True)
    puppet(machine, "soft", ready=True, wants=["p"], autostart=False)
    booted(machine, "p")
    pid = machine.pid("p")
    tell(machine, "p", "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")
    machine.call("Stop", name="p")
    machine.wait_log("p", "asked")
    machine.call("Start", name="soft")
    tell(machine, "p", "os._exit(0)")
    replaced(machine, "p", pid)
    machine.wait_state("soft", "ready")
