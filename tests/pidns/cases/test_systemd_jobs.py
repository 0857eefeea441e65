"""Starting, stopping and coming back: ported from systemd's TEST-03-JOBS, TEST-18-FAILUREACTION,
TEST-23-UNIT-FILE, TEST-38-FREEZER and the subtests start-limit, subgroup-kill, concurrency, mask,
reload-count, multi-units-transaction, DeferReactivation and issue-… of TEST-07-PID1.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.pidns.cases.kit import (
    FALSE,
    FAST,
    NEVER,
    PAUSE,
    TRUE,
    alone,
    booted,
    configure,
    error,
    findings,
    header,
    puppet,
    reexec,
    replaced,
    shell,
    status,
    target,
    tell,
    text,
    unit,
)
from tests.pidns.machine import Machine
from tests.support.wait import wait_for

HOUR = 3600


def held(machine: Machine, name: str, reason: str) -> None:
    """Wait until a unit is held, and see that it says why."""
    assert machine.wait_state(name, "failed")["reason"] == reason


def group(machine: Machine, name: str) -> Path:
    """A unit's cgroup, seen from outside."""
    return Path(f"/proc/{machine.init_host_pid}/root{machine.directory}/cgroup") / (
        f"{machine.directory.name}/ainos/{name}"
    )


# TEST-03-JOBS


def test_systemd_03_jobs_queued_start_is_stopped(machine: Machine) -> None:
    """A start that still waits for another is taken back by a stop, which the other survives."""
    puppet(machine, "sleep", type="notify", start_timeout_s=HOUR)
    puppet(machine, "hello", ready=True, after=["sleep"])
    machine.boot()
    tell(machine, "sleep", "answer = 1")
    assert machine.describe("hello")["reason"] == "waits for sleep"
    machine.call("Stop", name="hello")
    assert (machine.state("hello"), machine.state("sleep")) == ("inactive", "starting")


def test_systemd_03_jobs_restart_of_a_queued_start(machine: Machine) -> None:
    """A restart of a unit that still waits is the same start."""
    puppet(machine, "sleep", type="notify", start_timeout_s=HOUR)
    puppet(machine, "hello", ready=True, after=["sleep"])
    machine.boot()
    for _ in range(3):
        machine.call("Restart", name="hello")
    tell(machine, "sleep", "notify(b'READY=1')")
    machine.wait_state("hello", "ready")
    assert machine.log("hello").count("starting") == 1


def test_systemd_03_jobs_restart_propagates_to_activating(machine: Machine) -> None:
    """A restart takes along what is only on its way up."""
    puppet(machine, "base", ready=True)
    puppet(machine, "activating", type="notify", requires=["base"], start_timeout_s=HOUR)
    booted(machine, "base")
    first = tell(machine, "activating", "answer = os.getpid()")
    machine.call("Restart", name="base")
    wait_for(lambda: machine.describe("activating")["pid"] not in (first, None), "another one")
    assert machine.state("activating") == "starting"


def test_systemd_03_jobs_start_of_what_stops(machine: Machine) -> None:
    """A start during a stop is not lost: the unit comes back once it is down."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    pid = machine.pid("a")
    tell(machine, "a", "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")
    machine.call("Stop", name="a")
    machine.wait_log("a", "asked")
    machine.call("Start", name="a")
    tell(machine, "a", "os._exit(0)")
    replaced(machine, "a", pid)


def test_systemd_03_jobs_transactions_with_cycles(machine: Machine) -> None:
    """A cycle of twenty is refused as a whole and named from end to end; nothing changes."""
    puppet(machine, "bystander", ready=True)
    booted(machine, "bystander")
    names = [f"cycle-{number:02}" for number in range(20)]
    files = {
        name: text(TRUE, requires=[names[(index + 1) % 20]]) for index, name in enumerate(names)
    }
    (found,) = findings(machine, **files)
    assert found.endswith(" → ".join([*names, names[0]]))
    assert error(machine, "Describe", name=names[0]) == "NoSuchUnit"
    assert machine.state("bystander") == "ready"


def test_systemd_03_jobs_propagates_stop_to(machine: Machine) -> None:
    """A stop goes through a target to those that require it, and stops at those that want it."""
    target(machine, "middle", requires=["base"])
    puppet(machine, "base", ready=True)
    puppet(machine, "hard", ready=True, requires=["middle"])
    puppet(machine, "soft", ready=True, wants=["middle"])
    booted(machine, "hard", "soft")
    machine.call("Stop", name="base")
    for name in ("base", "middle", "hard"):
        machine.wait_state(name, "inactive")
    assert machine.state("soft") == "ready"


def test_systemd_03_jobs_succeeds_on_restart(machine: Machine) -> None:
    """Who requires a unit that fails at first starts when a later try succeeds."""
    flag = machine.directory / "flag"
    command = shell(f"test -e {flag} || {{ touch {flag}; exit 1; }}")
    unit(machine, "flaky", command, type="oneshot", restart="on-failure", backoff=FAST)
    target(machine, "goal", requires=["flaky"])
    booted(machine, "goal")
    assert machine.describe("flaky")["restarts"] == 1


def test_systemd_03_jobs_fails_on_restart(machine: Machine) -> None:
    """When every try fails, who requires it waits and says for what."""
    unit(machine, "hopeless", FALSE, type="oneshot", backoff={**FAST, "limit": 2})
    target(machine, "goal", requires=["hopeless"])
    machine.boot()
    held(machine, "hopeless", "exited with status 1; held after 3 failures in a row")
    assert machine.describe("goal")["reason"] == "waits for hopeless, which is failed"


def test_systemd_03_jobs_daemon_reexec(machine: Machine) -> None:
    """A PID 1 that executed itself anew knows which starts are still to come."""
    puppet(machine, "sleep", type="notify", start_timeout_s=HOUR)
    puppet(machine, "hello", ready=True, after=["sleep"])
    machine.boot()
    tell(machine, "sleep", "answer = 1")
    reexec(machine)
    assert machine.describe("hello")["reason"] == "waits for sleep"
    tell(machine, "sleep", "notify(b'READY=1')")
    machine.wait_state("hello", "ready")


# TEST-07-PID1


@pytest.mark.parametrize("kind", ["status", "signal", "ready"])
def test_systemd_07_pid1_start_limit(machine: Machine, kind: str) -> None:
    """However a unit ends, so many failures in a row are enough, and a start begins anew."""
    code = {"status": "exit 3", "signal": "kill -9 $$", "ready": "exit 0"}[kind]
    unit(machine, "a", shell(code), backoff={**FAST, "limit": 2})
    machine.boot()
    word = {"status": "exited with status 3", "signal": "killed by signal 9"}
    held(machine, "a", f"{word.get(kind, 'exited with status 0')}; held after 3 failures in a row")
    machine.call("Start", name="a")
    wait_for(lambda: machine.log("a").count("starting") == 6, "three more")
    machine.wait_state("a", "failed")


def test_systemd_07_pid1_start_limit_reexec(machine: Machine) -> None:
    """The count is not forgotten by a PID 1 that executes itself anew, nor is the pause."""
    unit(machine, "a", FALSE, backoff={**NEVER, "limit": 2})
    machine.boot()
    machine.wait_state("a", "backoff")
    reexec(machine)
    found = machine.describe("a")
    assert (found["state"], found["restarts"]) == ("backoff", 1)


def test_systemd_07_pid1_subgroup_kill(machine: Machine) -> None:
    """Processes in groups below the unit's own are killed with it."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    below = group(machine, "a") / "below"
    below.mkdir()
    tell(machine, "a", "orphan()")
    machine.wait_log("a", "grandchild armed")
    main = machine.pid("a")
    other = next(one for one in machine.processes() if one.pid not in (1, main))
    (below / "cgroup.procs").write_text(str(other.host_pid))
    machine.call("Stop", name="a")
    machine.wait_state("a", "inactive")
    alone(machine)
    machine.call("Start", name="a")
    machine.wait_state("a", "ready")


def test_systemd_07_pid1_concurrency(machine: Machine) -> None:
    """Units without order between them start at once: none waits for another."""
    for name in ("one", "two", "three"):
        puppet(machine, name, type="notify", start_timeout_s=HOUR)
    machine.boot()
    for name in ("three", "one", "two"):
        tell(machine, name, "answer = 1")
        assert machine.state(name) == "starting"
    for name in ("two", "three", "one"):
        tell(machine, name, "notify(b'READY=1')")
        machine.wait_state(name, "ready")


def test_systemd_07_pid1_type_exec_parallel(machine: Machine) -> None:
    """A hundred units of one moment all start, each once."""
    names = [f"unit-{number:03}" for number in range(100)]
    for name in names:
        unit(machine, name, TRUE, type="oneshot", restart="never")
    machine.boot()

    def done() -> bool:
        units = machine.call("Status")["units"]
        assert isinstance(units, list)
        return {one["state"] for one in units} == {"exited"}

    wait_for(done, "all to have exited")
    for name in names[::9]:
        assert machine.log(name).count("starting") == 1


def test_systemd_07_pid1_mask(machine: Machine) -> None:
    """A unit that the machine disables does not exist, although the image has it."""
    unit(machine, "a", PAUSE)
    unit(machine, "b", PAUSE)
    machine.configure("[machine]\nhostname = 'test'\n[units]\ndisabled = ['a']\n")
    booted(machine, "b")
    assert error(machine, "Start", name="a") == "NoSuchUnit"


def test_systemd_07_pid1_reload_count(machine: Machine) -> None:
    """A configuration read anew without a change changes nothing, however often."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    before = machine.describe("a")
    for _ in range(2):
        change = machine.call("ReloadConfiguration")["change"]
        assert isinstance(change, dict)
        assert (change["unchanged"], change["restart"], change["stop"]) == (["a"], [], [])
    after = machine.describe("a")
    assert (after["pid"], after["since"]) == (before["pid"], before["since"])


def test_systemd_07_pid1_multi_units_transaction(machine: Machine) -> None:
    """Several units change at once: new, changed and removed ones each get what they need."""
    machine.boot()
    configure(machine, stays=text(PAUSE), changes=text(PAUSE), goes=text(PAUSE))
    for name in ("stays", "changes", "goes"):
        machine.wait_state(name, "ready")
    pids = {name: machine.pid(name) for name in ("stays", "changes")}
    change = configure(
        machine, goes="", comes=text(PAUSE), changes=text(PAUSE, environment={"A": "b"})
    )
    assert [change[key] for key in ("start", "stop", "restart")] == [
        ["comes"], ["goes"], ["changes"],
    ]  # fmt: skip
    machine.wait_state("comes", "ready")
    replaced(machine, "changes", pids["changes"])
    wait_for(lambda: error(machine, "Describe", name="goes") == "NoSuchUnit", "it to be gone")
    assert machine.pid("stays") == pids["stays"]


def test_systemd_07_pid1_multi_units_transaction_invalid(machine: Machine) -> None:
    """One mistake in one file refuses the change as a whole, with every finding."""
    machine.boot()
    configure(machine, good=text(PAUSE))
    pid = machine.wait_state("good", "ready")["pid"]
    found = findings(machine, good=text(PAUSE, environment={"A": "b"}), bad="[service]\nexec = 3\n")
    assert any(line.startswith("units/bad.toml:2:") for line in found)
    assert machine.pid("good") == pid
    assert error(machine, "Describe", name="bad") == "NoSuchUnit"


def test_systemd_07_pid1_defer_reactivation(machine: Machine) -> None:
    """A timer that elapses while its unit runs starts no second one."""
    puppet(machine, "a", ready=True, timer={"every_s": 0.2})
    booted(machine, "a")
    pid = machine.pid("a")
    machine.wait_log("a", "its timer elapsed while it still ran")
    assert machine.pid("a") == pid
    assert machine.log("a").count("starting") == 1


def test_systemd_07_pid1_issue_14566(machine: Machine) -> None:
    """A process that escaped into a session of its own is killed with its unit."""
    puppet(machine, "a", ready=True, stop_signal="KILL")
    booted(machine, "a")
    tell(machine, "a", "detached(orphan)")
    machine.wait_log("a", "grandchild armed")
    machine.call("Stop", name="a")
    machine.wait_state("a", "inactive")
    alone(machine)


def test_systemd_07_pid1_issue_16115(machine: Machine) -> None:
    """A oneshot that is killed while it starts has failed, and says by what."""
    unit(machine, "a", shell("kill -9 $$"), type="oneshot", restart="never")
    machine.boot()
    held(machine, "a", "killed by signal 9")


def test_systemd_07_pid1_issue_2467(machine: Machine) -> None:
    """A unit whose socket starts it over and over in vain is held and not started for ever."""
    path = machine.directory / "flag"
    path.touch()
    unit(
        machine, "a", TRUE, type="oneshot", restart="never",
        more=f"[[path]]\nexists = '{path}'\n",
    )  # fmt: skip
    machine.boot()
    found = machine.wait_state("a", "failed")
    assert str(found["reason"]).endswith("exists started it 20 times in 10 s")


def test_systemd_07_pid1_issue_31752(machine: Machine) -> None:
    """A change that only loosens what a unit is told takes effect without a restart."""
    machine.boot()
    configure(machine, a=text(PAUSE, restart="never"))
    pid = machine.wait_state("a", "ready")["pid"]
    assert isinstance(pid, int)
    change = configure(machine, a=text(PAUSE, restart="always", backoff=FAST))
    assert change["refresh"] == ["a"]
    machine.kill(pid)
    replaced(machine, "a", pid)


# TEST-18-FAILUREACTION, TEST-23-UNIT-FILE, TEST-38-FREEZER


def test_systemd_18_failureaction_reboot(machine: Machine) -> None:
    """A unit that uses up its tries may take the machine down for it."""
    unit(machine, "a", FALSE, backoff={**FAST, "limit": 1, "exhausted": "reboot"})
    boot_until_left(machine)
    assert (machine.directory / "left").read_text() == "reboot"


def boot_until_left(machine: Machine) -> None:
    """Boot a machine that may be gone before it has answered."""
    try:
        machine.boot()
    except AssertionError:
        pass
    machine.left()


def test_systemd_18_failureaction_hold(machine: Machine) -> None:
    """Or the machine goes on without it, degraded."""
    unit(machine, "a", FALSE, backoff={**FAST, "limit": 1, "exhausted": "hold"})
    unit(machine, "b", PAUSE)
    booted(machine, "b")
    machine.wait_state("a", "failed")
    wait_for(lambda: header(machine)["health"] == "degraded", "it to be said")


@pytest.mark.parametrize(
    ("restart", "end", "state"),
    [
        ("always", "os._exit(0)", "backoff"),
        ("always", "os._exit(1)", "backoff"),
        ("on-failure", "os._exit(0)", "exited"),
        ("on-failure", "os._exit(7)", "exited"),
        ("on-failure", "os._exit(1)", "backoff"),
        ("on-failure", "os.kill(os.getpid(), 9)", "backoff"),
        ("on-failure", "os.kill(os.getpid(), 15)", "backoff"),
        ("never", "os._exit(0)", "exited"),
        ("never", "os._exit(1)", "failed"),
        ("never", "os.kill(os.getpid(), 11)", "failed"),
    ],
)
def test_systemd_23_unit_file_restart(machine: Machine, restart: str, end: str, state: str) -> None:
    """What follows from an end depends on the policy and on what counts as success."""
    puppet(machine, "a", ready=True, restart=restart, success_status=[0, 7], backoff=NEVER)
    booted(machine, "a")
    tell(machine, "a", end)
    machine.wait_state("a", state)


def test_systemd_23_unit_file_oneshot_restart(machine: Machine) -> None:
    """A oneshot that fails is tried again until it succeeds, and then is done."""
    path = machine.directory / "tries"
    command = shell(f"echo x >> {path}; test $(wc -l < {path}) -ge 3")
    unit(machine, "a", command, type="oneshot", restart="on-failure", backoff=FAST)
    machine.boot()
    assert machine.wait_state("a", "exited")["restarts"] == 2


def test_systemd_23_unit_file_oneshot_start_timeout(machine: Machine) -> None:
    """A oneshot that takes too long is killed with everything that it started."""
    unit(machine, "a", shell("sleep inf & wait"), type="oneshot", restart="never",
         start_timeout_s=0.2)  # fmt: skip
    machine.boot()
    held(machine, "a", "not ready in 0.2 s")
    alone(machine)


def test_systemd_38_freezer_stop(machine: Machine) -> None:
    """A frozen unit cannot end by itself; it is killed when its time is over."""
    puppet(machine, "a", ready=True, stop_timeout_s=0.3)
    booted(machine, "a")
    tell(machine, "a", "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))")
    freeze(machine, "a")
    machine.call("Stop", name="a")
    assert machine.wait_state("a", "inactive")["reason"] == "did not stop in 0.3 s"
    alone(machine)


def freeze(machine: Machine, name: str, code: str = "") -> None:
    """Freeze a puppet, which does this just before."""
    folder = group(machine, name)
    tell(machine, name, code)
    (folder / "cgroup.freeze").write_text("1")
    wait_for(lambda: "frozen 1" in (folder / "cgroup.events").read_text(), "it to be frozen")


def test_systemd_38_freezer_watchdog(machine: Machine) -> None:
    """A frozen unit does not ping: its watchdog kills it, and the next one is not frozen."""
    puppet(machine, "a", ready=True, watchdog_s=HOUR, backoff=NEVER)
    booted(machine, "a")
    pid = machine.pid("a")
    freeze(machine, "a", "notify(b'WATCHDOG_USEC=500000')")
    machine.wait_state("a", "backoff")
    machine.call("Start", name="a")
    assert machine.wait_state("a", "ready")["pid"] != pid
    assert pid not in {one.pid for one in machine.processes()}


def test_systemd_38_freezer_thaw(machine: Machine) -> None:
    """Frozen and thawed again, a unit goes on where it was."""
    puppet(machine, "a", ready=True)
    booted(machine, "a")
    pid = machine.pid("a")
    freeze(machine, "a")
    reexec(machine)
    (group(machine, "a") / "cgroup.freeze").write_text("0")
    status(machine, "a", "thawed")
    assert machine.pid("a") == pid


# What two units may mean to each other: Conflicts=, BindsTo= of systemd.unit(5)


def test_systemd_unit_conflicts(machine: Machine) -> None:
    """Who starts stops the other first, and waits until that is down."""
    puppet(machine, "a", ready=True)
    puppet(machine, "b", ready=True, conflicts=["a"], autostart=False)
    booted(machine, "a")
    tell(machine, "a", "signal.signal(signal.SIGTERM, lambda *_: say('asked'))")
    machine.call("Start", name="b")
    machine.wait_log("a", "asked")
    assert machine.describe("b")["reason"] == "waits for a to stop"
    tell(machine, "a", "os._exit(0)")
    machine.wait_state("b", "ready")
    machine.call("Start", name="a")  # it is the other's conflict, too
    machine.wait_state("a", "ready")
    assert machine.state("b") == "inactive"


def test_systemd_unit_conflicts_takes_along(machine: Machine) -> None:
    """With a rival goes what requires it."""
    puppet(machine, "a", ready=True)
    puppet(machine, "on-a", ready=True, requires=["a"])
    puppet(machine, "b", ready=True, conflicts=["a"], autostart=False)
    booted(machine, "on-a")
    machine.call("Start", name="b")
    machine.wait_state("b", "ready")
    assert [machine.state(name) for name in ("a", "on-a")] == ["inactive", "inactive"]


def test_systemd_unit_binds_to(machine: Machine) -> None:
    """Bound to another, a unit goes down when that crashes, and comes back after it."""
    puppet(machine, "a", ready=True, backoff=FAST)
    puppet(machine, "bound", ready=True, bound_to=["a"])
    puppet(machine, "requiring", ready=True, requires=["a"])
    booted(machine, "bound", "requiring")
    pids = {name: machine.pid(name) for name in ("a", "bound", "requiring")}
    machine.kill(pids["a"])
    replaced(machine, "a", pids["a"])
    replaced(machine, "bound", pids["bound"])
    assert machine.pid("requiring") == pids["requiring"]


def test_systemd_unit_binds_to_while_starting(machine: Machine) -> None:
    """The dependency dies while the dependent starts: that start does not go on without it."""
    puppet(machine, "a", ready=True, backoff=FAST)
    puppet(machine, "bound", type="notify", bound_to=["a"], start_timeout_s=HOUR)
    booted(machine, "a")
    first = tell(machine, "bound", "answer = os.getpid()")
    pid = machine.pid("a")
    machine.kill(pid)
    replaced(machine, "a", pid)
    wait_for(lambda: machine.describe("bound")["pid"] not in (first, None), "another one")
    tell(machine, "bound", "notify(b'READY=1')")
    machine.wait_state("bound", "ready")


def test_systemd_unit_binds_to_held(machine: Machine) -> None:
    """Bound to what does not come back, a unit waits and says for what."""
    puppet(machine, "a", ready=True, restart="never")
    puppet(machine, "bound", ready=True, bound_to=["a"])
    booted(machine, "bound")
    machine.kill(machine.pid("a"), signal.SIGSEGV)
    machine.wait_state("a", "failed")
    found = machine.wait_state("bound", "waiting")
    assert found["reason"] == "waits for a, which is failed"
