"""Credentials: what is copied, what is refused, and who may look. Mounts are real in one test."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.linux import libc
from ainit.pid1.credentials import BYTES_MAX, Credentials
from ainit.policy.plan import Unit

ROOT = Path(__file__).resolve().parents[3]


class Mounts:
    """Takes the place of the kernel's mounts: notes them, and loses what was in one."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.mounted: set[str] = set()
        self.fail_at = 0

    def mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        assert (source, kind) == ("ramfs", "ramfs")
        self.calls.append((target, flags))
        if len(self.calls) == self.fail_at:
            raise OSError(errno.ENOMEM, "no memory", target)
        self.mounted.add(target)

    def unmount(self, target: str, flags: int) -> None:
        if target not in self.mounted:
            raise OSError(errno.EINVAL, "not mounted", target)
        self.mounted.discard(target)
        for path in Path(target).iterdir():
            path.unlink()


class Bench:
    def __init__(self, directory: Path) -> None:
        self.directory = directory / "run" / "credentials"
        self.mounts = Mounts()
        self.environment: dict[str, str] = {}
        self.credentials = Credentials(
            owner=lambda unit: (unit.user, 30 + unit.user),
            directory=str(self.directory),
            mount=self.mounts.mount,
            unmount=self.mounts.unmount,
        )

    def prepare(self, **sources: Path | str) -> Path:
        unit = Unit("a", "service")
        unit.user = 12
        unit.credentials = {name: str(source) for name, source in sources.items()}
        self.credentials.prepare(unit, self.environment)
        return self.directory / "a"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"\0swordfish\n")
    return path


def test_a_unit_finds_its_credentials_and_nobody_else_may_look(bench: Bench, secret: Path) -> None:
    path = bench.prepare(password=secret, token=secret)
    assert bench.environment == {"CREDENTIALS_DIRECTORY": str(path)}
    assert sorted(each.name for each in path.iterdir()) == ["password", "token"]
    assert (path / "token").read_bytes() == b"\0swordfish\n"
    for each, mode in ((path, 0o500), (path / "token", 0o400)):
        found = each.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, 12, 42)


def test_it_is_mounted_before_anything_is_written_and_read_only_after(
    bench: Bench, secret: Path
) -> None:
    path = str(bench.prepare(password=secret))
    (first, made), (last, closed) = bench.mounts.calls
    assert first == last == path
    assert made & (libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC) == made
    assert closed == made | libc.MS_REMOUNT | libc.MS_RDONLY


def test_a_unit_without_credentials_has_no_directory(bench: Bench) -> None:
    assert not bench.prepare().exists()
    assert (bench.environment, bench.mounts.calls) == ({}, [])


def test_another_start_sees_what_the_sources_hold_then(bench: Bench, secret: Path) -> None:
    bench.prepare(old=secret)
    secret.write_bytes(b"new")
    path = bench.prepare(new=secret)
    assert [each.read_bytes() for each in path.iterdir()] == [b"new"]


def test_what_is_removed_is_gone(bench: Bench, secret: Path) -> None:
    path = bench.prepare(password=secret)
    bench.credentials.remove("a")
    bench.credentials.remove("a")
    assert not path.exists()
    assert bench.mounts.mounted == set()


def test_the_largest_credential_is_copied_whole(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(BYTES_MAX))
    path = bench.prepare(big=tmp_path / "big")
    assert (path / "big").read_bytes() == (tmp_path / "big").read_bytes()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot be opened: No such file or directory"),
        (lambda path: path.symlink_to("/etc/hostname"), "cannot be opened: Too many levels"),
        (lambda path: path.mkdir(), "is no regular file"),
        (os.mkfifo, "is no regular file"),
        (lambda path: path.write_bytes(bytes(BYTES_MAX + 1)), "is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_credential_is_refused_by_name(
    bench: Bench, secret: Path, tmp_path: Path, make: object, words: str
) -> None:
    assert callable(make)
    make(tmp_path / "x")
    with pytest.raises(RefusedError, match=f"^credential bad of a: {tmp_path}/x {words}"):
        bench.prepare(good=secret, bad=tmp_path / "x")
    assert not (bench.directory / "a").exists()
    assert bench.mounts.mounted == set()
    assert bench.environment == {}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "x/y", "x" * 256])
def test_a_name_that_leads_elsewhere_is_refused(bench: Bench, secret: Path, name: str) -> None:
    with pytest.raises(RefusedError, match=r"credential .* of a: that is no file name"):
        bench.prepare(**{name: secret})
    assert not (bench.directory / "a").exists()


@pytest.mark.parametrize("at", [1, 2])
def test_a_mount_that_fails_leaves_nothing(bench: Bench, secret: Path, at: int) -> None:
    bench.mounts.fail_at = at
    with pytest.raises(OSError, match="no memory"):
        bench.prepare(password=secret)
    assert not (bench.directory / "a").exists()


def test_what_pid_1_lacks_is_no_refusal(
    bench: Bench, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        if path == str(secret):
            raise OSError(errno.EMFILE, "too many open files")
        return real(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OSError, match="too many"):
            bench.prepare(password=secret)


PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from ainit.pid1.credentials import Credentials
from ainit.policy.plan import Unit
credentials = Credentials(owner=lambda unit: (0, 0), directory=sys.argv[2])
unit, environment = Unit("a", "service"), {}
unit.credentials = {"password": sys.argv[3]}
said = []
for _ in range(2):
    credentials.prepare(unit, environment)
    path = environment["CREDENTIALS_DIRECTORY"]
    said.append(open(path + "/password").read())
try:
    open(path + "/more", "w")
except OSError as error:
    said.append(error.strerror)
with open("/proc/self/mounts") as file:
    said.append([line.split()[2] for line in file if line.split()[1] == path])
credentials.remove("a")
said.append(os.path.exists(path))
print(json.dumps(said))
"""


def test_with_the_kernels_own_mounts_nobody_can_write(tmp_path: Path, secret: Path) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    program = [sys.executable, "-I", "-c", PROGRAM, str(ROOT), str(tmp_path / "run"), str(secret)]
    done = subprocess.run(
        [*unshare, *program], check=True, capture_output=True, text=True, timeout=60
    )
    said = json.loads(done.stdout)
    assert said == ["\0swordfish\n"] * 2 + ["Read-only file system", ["ramfs"], False]
