"""Limits and accounts on files that look like cgroup v2, life and death on real groups."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux import accounts
from ainit.linux.cgroup import LimitError, Tree
from tests.support import descriptors
from tests.support.groups import FakeGroups, member, real_groups
from tests.support.units import make_unit
from tests.support.wait import wait_for

EVERYTHING: dict[str, object] = {
    "memory_min": 1 << 20,
    "memory_low": 2 << 20,
    "memory_high": 48 << 20,
    "memory_max": 64 << 20,
    "memory_swap_max": 0,
    "cpu_weight": 200,
    "cpu_max": 150,
    "cpus": "0-1",
    "memory_nodes": "0",
    "io_weight": 50,
    "pids_max": 7,
}


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGroups:
    return FakeGroups(tmp_path / "ainos", monkeypatch)


@pytest.fixture
def real() -> Iterator[Tree]:
    with real_groups() as tree:
        yield tree


def prepare(groups: FakeGroups, **fields: object) -> dict[str, str]:
    """What is written for a unit of these fields."""
    os.close(groups.tree.prepare_unit(make_unit("a", **fields)))
    return groups.take()


# Limits.


def test_every_limit_is_written(groups: FakeGroups) -> None:
    assert prepare(groups, **EVERYTHING) == {
        "memory.oom.group": "1",
        "memory.min": "1048576",
        "memory.low": "2097152",
        "memory.high": "50331648",
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "cpu.weight": "200",
        "cpu.max": "150000 100000",
        "cpuset.cpus": "0-1",
        "cpuset.mems": "0",
        "io.weight": "default 50",
        "pids.max": "7",
    }


def test_no_limit_is_not_written(groups: FakeGroups) -> None:
    assert prepare(groups) == {"memory.oom.group": "1"}


def test_a_disk_is_named_by_its_numbers(
    groups: FakeGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.stat_result([stat.S_IFBLK | 0o600, *[0] * 9], {"st_rdev": os.makedev(259, 3)})
    monkeypatch.setattr(os, "stat", lambda path: found)
    written = prepare(groups, io_max={"/dev/nvme0n1": {"rbps": 1000, "wiops": 5}})
    assert written["io.max"] == "259:3 rbps=1000 wbps=max riops=max wiops=5"


def test_a_disk_may_be_given_by_its_numbers(groups: FakeGroups) -> None:
    assert prepare(groups, io_max={"8:0": {"wbps": 1}})["io.max"].startswith("8:0 rbps=max wbps=1 ")


@pytest.mark.parametrize(
    ("path", "why"), [("/dev/null", "Block device"), ("/dev/no-disk", "No su")]
)
def test_what_is_no_disk_has_no_limit(groups: FakeGroups, path: str, why: str) -> None:
    with pytest.raises(LimitError, match=f"a: io_max cannot be set .*{path}.*{why}"):
        prepare(groups, io_max={path: {"rbps": 1}})


@pytest.mark.parametrize("key", EVERYTHING)
def test_a_limit_without_its_controller_is_an_error(groups: FakeGroups, key: str) -> None:
    """A service must not run without the limit that it was given."""
    groups.files = {"cgroup.procs": ""}
    with pytest.raises(LimitError, match=f"^a: {key} cannot be set .* controller is missing"):
        prepare(groups, **{key: EVERYTHING[key]})
    before = len(descriptors.at_first())
    with pytest.raises(LimitError):
        prepare(groups, **{key: EVERYTHING[key]})
    assert len(descriptors.now()) == before


def test_what_the_kernel_refuses_is_told(
    groups: FakeGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def refuse(descriptor: int, data: bytes) -> int:
        if data == b"99":
            raise OSError(34, "Numerical result out of range")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(LimitError, match=r"a: cpus .* \(99 in cpuset.cpus\): Numerical result"):
        prepare(groups, cpus="99")


def test_a_kernel_without_group_kill_is_no_error_unless_memory_is_limited(
    groups: FakeGroups,
) -> None:
    del groups.files["memory.oom.group"]
    assert prepare(groups) == {}
    with pytest.raises(LimitError, match="memory_max"):
        Tree(str(groups.root)).prepare_unit(make_unit("a", memory_max=1))


def test_a_started_unit_loses_the_limits_of_its_last_configuration(groups: FakeGroups) -> None:
    prepare(groups, memory_max=1 << 20, io_max={"8:0": {"rbps": 1}})
    written = prepare(groups, pids_max=5)
    assert (written["memory.max"], written["pids.max"]) == ("max", "5")
    assert written["cpuset.cpus"] == "\n"
    assert written["io.max"] == "8:0 rbps=max wbps=max riops=max wiops=max"


def test_a_restart_writes_only_what_is_asked_for(groups: FakeGroups) -> None:
    prepare(groups, pids_max=5)
    assert prepare(groups, pids_max=5) == {"pids.max": "5"}


def test_after_a_restart_of_pid_1_nothing_is_taken_for_granted(groups: FakeGroups) -> None:
    prepare(groups, memory_max=1 << 20)
    groups.tree = Tree(str(groups.root))
    assert prepare(groups)["memory.max"] == "max"


def test_limits_are_applied_to_a_group_that_runs(groups: FakeGroups) -> None:
    unit = make_unit("a", memory_max=1 << 20, pids_max=7)
    os.close(groups.tree.prepare_unit(unit))
    groups.take()
    unit.memory_max, unit.pids_max = 2 << 20, 0
    groups.tree.apply(unit)
    written = groups.take()
    assert (written["memory.max"], written["pids.max"]) == ("2097152", "max")


def test_the_descriptor_is_of_the_group_and_closed_on_exec(groups: FakeGroups) -> None:
    group = groups.tree.prepare_unit(make_unit("a"))
    try:
        assert os.readlink(f"/proc/self/fd/{group}") == f"{groups.root}/a"
        assert not os.get_inheritable(group)
    finally:
        os.close(group)


def test_controllers_are_passed_on_and_missing_ones_named(tmp_path: Path) -> None:
    root = tmp_path / "ainos"
    root.mkdir()
    for directory in (tmp_path, root):
        (directory / "cgroup.subtree_control").touch()
    assert Tree(str(root)).prepare() == []
    (root / "cgroup.subtree_control").unlink()
    assert Tree(str(root)).prepare() == ["cpu", "memory", "pids", "io", "cpuset"]


# Accounts.


def test_accounting(groups: FakeGroups) -> None:
    prepare(groups)
    assert groups.tree.accounting("a") == {
        "cpu_usec": 1_500_000,
        "memory_bytes": 2 << 20,
        "memory_peak_bytes": 3 << 20,
        "pids": 4,
        "io_read_bytes": 4097,
        "io_write_bytes": 12,
        "oom_kills": 0,
        "cpu_pressure": 1.5,
        "memory_pressure": 23.5,
        "io_pressure": 0.0,
    }
    assert groups.tree.memory("a") == 2 << 20


def test_what_is_not_accounted_for_is_none(groups: FakeGroups) -> None:
    groups.files = {"cpu.stat": "usage_usec 5\n", "memory.peak": "garbage"}
    prepare(groups)
    account = groups.tree.accounting("a")
    assert account.pop("cpu_usec") == 5
    assert set(account.values()) == {None}
    assert (groups.tree.memory("a"), groups.tree.oom_kills("a")) == (None, None)


def test_a_group_that_is_not_there_hides_no_file_of_the_others(groups: FakeGroups) -> None:
    prepare(groups)
    assert set(groups.tree.accounting("never-made").values()) == {None}
    os.mkdir(groups.root / "b")
    for file in groups.files:
        (groups.root / "b" / file).unlink()
    assert set(groups.tree.accounting("b").values()) == {None}
    assert groups.tree.accounting("a")["pids"] == 4


def test_a_group_that_goes_away_while_it_is_read_hides_no_file_of_the_others(
    groups: FakeGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(groups)
    os.mkdir(groups.root / "b")
    read = accounts._read

    def vanish(path: str, directory: int | None) -> str:
        found = read(path, directory)
        for file in groups.files:
            (groups.root / "b" / file).unlink(missing_ok=True)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "_read", vanish)
        groups.tree.accounting("b")
    assert groups.tree.accounting("a")["pids"] == 4


def test_a_file_that_the_kernel_lacks_is_looked_for_once(groups: FakeGroups) -> None:
    del groups.files["io.stat"]
    prepare(groups)
    assert groups.tree.accounting("a")["io_read_bytes"] is None
    (groups.root / "a/io.stat").write_text("8:0 rbytes=1 wbytes=1\n")
    assert groups.tree.accounting("a")["io_read_bytes"] is None


def test_a_long_file_is_read_to_its_end(groups: FakeGroups) -> None:
    groups.files["io.stat"] = "".join(f"8:{n} rbytes=1 wbytes=2 rios=0\n" for n in range(1000))
    prepare(groups)
    account = groups.tree.accounting("a")
    assert (account["io_read_bytes"], account["io_write_bytes"]) == (1000, 2000)


def test_oom_kills_are_counted(groups: FakeGroups) -> None:
    prepare(groups)
    assert groups.tree.oom_kills("a") == 0
    (groups.root / "a/memory.events").write_text("oom 1\noom_kill 3\n")
    assert groups.tree.oom_kills("a") == 3
    assert groups.tree.oom_kills("never-made") is None


def test_each_oom_kill_is_told_once_whoever_is_pid_1(groups: FakeGroups) -> None:
    prepare(groups)
    assert groups.tree.new_oom_kills("a") == 0
    (groups.root / "a/memory.events").write_text("oom_kill 3\n")
    assert groups.tree.new_oom_kills("a") == 3
    assert groups.tree.new_oom_kills("a") == 0
    (groups.root / "a/memory.events").write_text("oom_kill 5\n")
    assert Tree(str(groups.root)).new_oom_kills("a") == 2
    assert groups.tree.new_oom_kills("never-made") == 0


def test_an_oom_kill_that_cannot_be_remembered_is_not_told_again_and_again(
    groups: FakeGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    groups.files["memory.events"] = "oom_kill 3\n"
    prepare(groups)
    monkeypatch.setattr(os, "setxattr", refuse)
    assert groups.tree.new_oom_kills("a") == 0


# Real groups.


def test_population_and_kill(real: Tree) -> None:
    assert not real.populated("a")
    os.close(real.prepare_unit(make_unit("a")))
    assert not real.populated("a")
    with member(real, "a"), member(real, "a/below"):
        real.kill("a")
        wait_for(lambda: not real.populated("a"), "the group to be empty")
    real.kill("never-made")


def test_a_killed_group_is_made_anew_as_soon_as_it_can_be(real: Tree) -> None:
    """Whoever is born into it meanwhile is killed, and that is no reason to keep it."""
    with member(real, "a"):
        old = os.stat(real.path("a")).st_ino
        os.close(real.prepare_unit(make_unit("a")))  # of a former PID 1's, and not empty yet
        assert os.stat(real.path("a")).st_ino == old
        real.kill("a")
        wait_for(lambda: not real.populated("a"), "the group to be empty")
    os.close(real.prepare_unit(make_unit("a")))
    assert os.stat(real.path("a")).st_ino != old


def test_one_that_was_not_empty_is_made_anew_the_next_time(real: Tree) -> None:
    with member(real, "a"):
        old = os.stat(real.path("a")).st_ino
        os.close(real.prepare_unit(make_unit("a")))
    wait_for(lambda: not real.populated("a"), "the group to be empty")
    os.close(real.prepare_unit(make_unit("a")))
    assert os.stat(real.path("a")).st_ino != old


def test_a_frozen_group_does_not_run(real: Tree) -> None:
    def is_frozen() -> bool:
        return "frozen 1" in Path(real.events_path("a")).read_text()

    with member(real, "a"):
        assert real.freeze("a")
        wait_for(is_frozen, "the group to be frozen")
        assert real.thaw("a")
        wait_for(lambda: not is_frozen(), "the group to be thawed")
    assert not real.freeze("never-made")


def test_a_group_is_removed_with_what_the_unit_made_below_it(real: Tree) -> None:
    for below in ("a/b/c", "a/d"):
        os.makedirs(f"{real.path(below)}")
    assert real.remove("a")
    assert not os.path.exists(real.path("a"))
    assert real.remove("a")


def test_a_group_with_processes_is_not_removed(real: Tree) -> None:
    """Nor are the empty groups beside them, which may be about to be used."""
    for below in ("a/1", "a/2", "a/3"):
        os.makedirs(real.path(below))
    with os.scandir(real.path("a")) as entries:
        groups = [entry.name for entry in entries if entry.is_dir()]
    with member(real, f"a/{groups[0]}"):
        assert not real.remove("a")
        assert set(groups) <= set(os.listdir(real.path("a")))
    wait_for(lambda: not real.populated("a"), "the group to be empty")
    assert real.remove("a")


def test_more_groups_than_one_call_removes(real: Tree) -> None:
    for number in range(300):
        os.makedirs(real.path(f"a/{number}"))
    assert not real.remove("a")
    assert real.remove("a")


def test_what_a_real_group_accounts_for(real: Tree) -> None:
    with member(real, "a", "/bin/sh", "-c", "while :; do :; done"):
        used = wait_for(lambda: real.accounting("a")["cpu_usec"], "the processor to be accounted")
        assert isinstance(used, int)


def test_a_real_group_remembers_what_was_told(real: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir(real.path("a"))
    monkeypatch.setattr(Tree, "oom_kills", lambda tree, name: 4)
    assert (real.new_oom_kills("a"), real.new_oom_kills("a")) == (4, 0)
    assert real.remove("a")
    os.mkdir(real.path("a"))
    assert real.new_oom_kills("a") == 4


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_who_cannot_look_does_not_say_that_nobody_is_there(
    groups: FakeGroups, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    prepare(groups)

    def fails(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fails)
    monkeypatch.setattr("ainit.linux.cgroup.open", fails, raising=False)
    with pytest.raises(OSError, match=os.strerror(number)):
        groups.tree.populated("u")
    with pytest.raises(OSError, match=os.strerror(number)):
        groups.tree.pids("u")
    with pytest.raises(OSError, match=os.strerror(number)):
        groups.tree.kill("u")
