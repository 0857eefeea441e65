"""Which mounts are made, in which order; real ones are in tests/pidns/test_measure.py."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.linux import libc
from ainit.pid1.model_directories import ModelDirectories
from tests.support import descriptors

READ_ONLY = libc.MS_REMOUNT | libc.MS_RDONLY


class Mounts:
    """Takes the place of the kernel's mounts: notes them, and loses what was in one."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.mounted: set[str] = set()
        self.fail_at = 0

    def mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        assert Path(target).exists()
        self.calls.append((source, target, flags))
        if len(self.calls) == self.fail_at:
            raise OSError(errno.ENOMEM, "no memory", target)
        self.mounted.add(target)

    def unmount(self, target: str, flags: int) -> None:
        if target not in self.mounted:
            raise OSError(errno.EINVAL, "not mounted", target)
        self.mounted.clear()
        for path in Path(target).iterdir():
            shutil.rmtree(path)


class Bench:
    def __init__(self, directory: Path) -> None:
        self.root = directory / "run/models"
        self.mounts = Mounts()
        self.directories = ModelDirectories(
            directory=str(self.root), mount=self.mounts.mount, unmount=self.mounts.unmount
        )
        self.files = {}
        for name in ("a.gguf", "b.gguf"):
            (directory / name).write_text(name)
            self.files[name] = os.open(directory / name, os.O_RDONLY)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for descriptor in bench.files.values():
        os.close(descriptor)


def test_the_open_files_are_mounted_and_then_nothing_can_be_added(bench: Bench) -> None:
    found = bench.directories.lay("unit", {"llama": bench.files})
    where = f"{bench.root}/unit"
    assert found == {"llama": f"{where}/llama"}
    first, *files, last = bench.mounts.calls
    assert (first[:2], last[:2]) == (("tmpfs", where), ("tmpfs", where))
    assert first[2] == libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    assert last[2] & READ_ONLY == READ_ONLY
    assert files == [
        (f"/proc/self/fd/{descriptor}", f"{where}/llama/{name}", libc.MS_BIND)
        for name, descriptor in bench.files.items()
    ]


def test_each_start_makes_them_anew(bench: Bench) -> None:
    bench.directories.lay("unit", {"llama": bench.files, "other": bench.files})
    bench.directories.lay("unit", {"llama": bench.files})
    assert os.listdir(bench.root / "unit") == ["llama"]


def test_they_go_and_once_more_is_no_error(bench: Bench) -> None:
    bench.directories.lay("unit", {"llama": bench.files})
    for _ in range(2):
        bench.directories.remove("unit")
    assert os.listdir(bench.root) == []
    assert bench.mounts.mounted == set()


@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
def test_what_cannot_be_mounted_leaves_nothing(bench: Bench, fail_at: int) -> None:
    bench.mounts.fail_at = fail_at
    before = descriptors.at_first()
    with pytest.raises(OSError, match="no memory"):
        bench.directories.lay("unit", {"llama": bench.files})
    assert bench.mounts.mounted == set()
    assert os.listdir(bench.root) == []
    assert descriptors.now() == before
