"""Control groups for tests: real ones of this computer, and directories that look like them.

A real tree has no controllers where the computer gives them to cgroup v1: processes, population,
kill, freeze and pressure work all the same.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ainit.linux.cgroup import Tree
from ainit.policy import resources
from tests.support.wait import wait_for

# What a group of a kernel with all controllers has, and what it says when it is new.
FRESH = {
    **{file: f"{default.strip()}\n" for file, default in resources.FILES.values()},
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0\n",
    "cgroup.kill": "",
    "cgroup.procs": "",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_throttled 3\n",
    "io.max": "",
    "io.stat": "8:0 rbytes=4096 wbytes=10 rios=1 wios=1\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
    "memory.current": "2097152\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n",
    "memory.oom.group": "0\n",
    "memory.peak": "3145728\n",
    "pids.current": "4\n",
    **{
        f"{what}.pressure": f"some avg10={average} avg60=0.00 avg300=0.00 total=0\n"
        for what, average in (("cpu", "1.50"), ("memory", "23.50"), ("io", "0.00"))
    },
}


class FakeGroups:
    """A tree of plain files. A group that is made has the files of ``files``; ``written`` says what
    each has been told, in order.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.files = dict(FRESH)
        self.written: list[tuple[str, str]] = []
        self.tree = Tree(str(root))
        mkdir, write, open_ = os.mkdir, os.write, os.open
        names: dict[int, str] = {}

        def make(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            mkdir(path, mode, dir_fd=dir_fd)
            if Path(path).parent == root:
                for name, text in self.files.items():
                    Path(path, name).write_text(text)

        def remember(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            descriptor = open_(path, flags, mode, dir_fd=dir_fd)
            names[descriptor] = os.path.basename(path)
            return descriptor

        def record(descriptor: int, data: bytes) -> int:
            if (name := names.get(descriptor)) in {*self.files, *FRESH}:
                self.written.append((name, data.decode()))
                os.ftruncate(descriptor, 0)  # the kernel's files have no length
            return write(descriptor, data)

        root.mkdir()
        monkeypatch.setattr(os, "mkdir", make)
        monkeypatch.setattr(os, "open", remember)
        monkeypatch.setattr(os, "write", record)

    def take(self) -> dict[str, str]:
        """What was written since the last time."""
        taken, self.written = dict(self.written), []
        return taken


@contextmanager
def real_groups(name: str = "") -> Iterator[Tree]:
    """A tree of real groups; what is left in it at the end is killed and removed."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mounted = next(words[1] for words in mounts if words[2] == "cgroup2")
    root = Path(mounted, f"ainos-test-{os.getpid()}{name}")
    tree = Tree(str(root))
    tree.prepare()
    try:
        yield tree
    finally:
        (root / "cgroup.kill").write_text("1")
        events = root / "cgroup.events"
        wait_for(lambda: "populated 0" in events.read_text(), "the groups to be empty")
        assert Tree(str(root.parent)).remove(root.name)


@contextmanager
def member(tree: Tree, group: str, *command: str) -> Iterator[Callable[[], None]]:
    """A process in a group; gives a function that ends it."""
    os.makedirs(tree.path(group), exist_ok=True)
    script = 'echo 0 >"$0/cgroup.procs" && exec "$@"'
    argv = ["/bin/sh", "-c", script, tree.path(group), *(command or ("/bin/sleep", "600"))]
    with subprocess.Popen(argv) as process:

        def end() -> None:
            process.kill()
            process.wait(60)

        try:
            wait_for(lambda: tree.populated(group), f"{group} to have a process")
            yield end
        finally:
            end()
