"""Our tree in Buildroot, without compiling: every option survives, every package is known to it.

BUILDROOT names the tree of Buildroot; `make test BUILDROOT=…` and `make buildroot-check` run these.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lib import buildroot, nvidia_versions
from lib.debian_lock import read
from lib.host import REPOSITORY

Data = dict[str, Any]

PACKAGES = REPOSITORY / "buildroot-external" / "package"
RELEASE = "-release"
DEADLINE_S = 600


@pytest.fixture(scope="session")
def tree() -> Path:
    """Buildroot itself."""
    path = Path(os.environ.get("BUILDROOT", "")).absolute()
    assert (path / "Config.in").is_file(), f"BUILDROOT={path} is no Buildroot tree"
    return path


@pytest.fixture(scope="session", params=[*sorted(buildroot.boards()), f"server{RELEASE}"])
def configured(
    request: pytest.FixtureRequest, tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[str]]:
    """A board, configured for development or as a release: its name and the command that builds.

    Configuring fails, naming file and line, when an option of ours does not survive.
    """
    out = tmp_path_factory.mktemp(request.param)
    board, release = request.param.removesuffix(RELEASE), request.param.endswith(RELEASE)
    make = buildroot.make_command(tree, out, tarball="/nowhere/linux-6.12.tar.xz", release=release)
    buildroot.configure(make, buildroot.requested(board, release=release), out)
    return request.param, make


def information(make: list[str]) -> dict[str, Data]:
    """What Buildroot knows of every package of the configuration, by name."""
    environment = {**os.environ, "PATH": buildroot.path(os.environ["PATH"])}
    done = subprocess.run(
        [*make, "--silent", "--no-print-directory", "show-info"],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    known: dict[str, Data] = json.loads(done.stdout)
    return known


def version_in(tree: Path, package: str) -> str:
    """The version of a package of Buildroot's own."""
    text = (tree / "package" / package / f"{package}.mk").read_text()
    (found,) = re.findall(r"^[A-Z0-9_]+_VERSION = (\S+)$", text, re.MULTILINE)
    return str(found)


def test_packages_are_there_with_their_versions(
    configured: tuple[str, list[str]], tree: Path
) -> None:
    board, make = configured
    known = information(make)
    ours = {path.name for path in PACKAGES.iterdir()}
    left_out = set() if board == "server-nvidia" else {"nvidia-open"}
    left_out |= {"nvml-emulator"} if board.endswith(RELEASE) else set()
    assert ours & known.keys() == ours - left_out
    assert ("busybox" in known) is not board.endswith(RELEASE)
    for name, twin in (("systemd-parts", "systemd"), ("tpm2-pytss", "python-tpm2-pytss")):
        assert known[name]["version"] == version_in(tree, twin)
    if board == "server-nvidia":
        (debian,) = [e for e in read(group="nvidia-driver") if e.package == "libcuda1"]
        assert debian.version.startswith(known["nvidia-open"]["version"] + "-")
        nvidia_versions.check(known["nvidia-open"]["version"])


def test_the_dependency_graph_is_complete(configured: tuple[str, list[str]]) -> None:
    _, make = configured
    known = information(make)
    lost = {
        f"{name} needs {needed}"
        for name, package in known.items()
        for needed in package.get("dependencies", [])
        if needed not in known
    }
    assert lost == set()


def test_packages_declare_their_licence(configured: tuple[str, list[str]]) -> None:
    _, make = configured
    known = information(make)
    for path in PACKAGES.iterdir():
        if path.name in known:
            assert known[path.name]["licenses"] not in ("", "unknown"), path.name


def test_check_package_finds_nothing(tree: Path) -> None:
    files = [
        str(path)
        for path in sorted((REPOSITORY / "buildroot-external").rglob("*"))
        if path.is_file() and path.suffix in (".mk", ".hash", ".in", ".desc", ".patch")
    ]
    done = subprocess.run(
        ["/usr/bin/python3", str(tree / "utils/check-package"), "--br2-external", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 warnings generated" in done.stdout + done.stderr
