"""The files of cgroup v2, in a directory that looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.linux.cgroup import Tree

FILES = {"cgroup.procs", "cgroup.kill", "cgroup.events", "memory.max", "memory.oom.group"}
FILES |= {"pids.max", "cpu.weight", "memory.current"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A hierarchy with two directories that pass controllers on, and a group for ``a``."""
    for directory in (tmp_path, tmp_path / "ainos"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.subtree_control").touch()
    group = tmp_path / "ainos/a"
    group.mkdir()
    for name in FILES:
        (group / name).touch()
    return tmp_path / "ainos"


def content(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir() if file.read_text()}


def test_limits_are_written(root: Path) -> None:
    procs = Tree(str(root)).create("a", memory_max=1 << 20, pids_max=7, cpu_weight=200)
    assert procs == f"{root}/a/cgroup.procs"
    assert content(root / "a") == {
        "memory.max": "1048576",
        "memory.oom.group": "1",
        "pids.max": "7",
        "cpu.weight": "200",
    }


def test_no_limit_is_not_written(root: Path) -> None:
    Tree(str(root)).create("b", memory_max=0, pids_max=0, cpu_weight=0)
    assert content(root / "b") == {}


@pytest.mark.parametrize("limit", ["memory_max", "pids_max", "cpu_weight"])
def test_a_limit_that_cannot_be_set_is_an_error(root: Path, limit: str) -> None:
    """A service must not run without the limit that it was given."""
    limits = {"memory_max": 0, "pids_max": 0, "cpu_weight": 0, limit: 1}
    with pytest.raises(OSError, match="No such file"):
        Tree(str(root)).create("b", **limits)


def test_kill(root: Path) -> None:
    tree = Tree(str(root))
    tree.kill("a")
    assert content(root / "a") == {"cgroup.kill": "1"}
    tree.kill("never-made")


def test_memory_and_population(root: Path) -> None:
    tree = Tree(str(root))
    assert tree.memory("a") is None
    (root / "a/memory.current").write_text("4096\n")
    assert tree.memory("a") == 4096
    assert tree.memory("never-made") is None
    for text, populated in (("populated 1\nfrozen 0\n", True), ("populated 0\nfrozen 0\n", False)):
        (root / "a/cgroup.events").write_text(text)
        assert tree.populated("a") is populated
    assert not tree.populated("never-made")


def test_controllers_are_passed_on_and_missing_ones_named(root: Path) -> None:
    assert Tree(str(root)).prepare() == []
    (root / "cgroup.subtree_control").unlink()
    assert Tree(str(root)).prepare() == ["cpu", "memory", "pids", "io", "cpuset"]
