"""What the build host must have: Debian packages, a virtual environment with pinned wheels, and
the part of PID 1 that is C, compiled for this host.

Nothing is done twice: packages are looked up in dpkg's state, the environment carries a stamp with
the hash of what it was made from. Packages are only ever added, with the host's own apt
configuration.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from lib import architecture, native
from lib.host import BUILD, REPOSITORY, VENV, HostError, exclusive, published, run
from lib.progress import follow, step

PACKAGES = REPOSITORY / "scripts" / "host-packages.txt"
REQUIREMENTS = REPOSITORY / "scripts" / "requirements-host.txt"
LOGS = BUILD / "log"
# Debian's own Python: the one whose headers and ABI the distribution's libraries are built for.
PYTHON = Path("/usr/bin/python3")
PYTHON_MINIMUM = (3, 11)
INSTALL_DEADLINE_S = 1800
# What each mode installs, by the sections of the list.
MODES = {
    "run": ("run",),
    "test": ("run", "test"),
    "aarch64": ("run", "aarch64"),
    "buildroot": ("run", "test", "buildroot"),
}
SECTIONS = tuple(dict.fromkeys(section for each in MODES.values() for section in each))


class SetupError(HostError):
    """The host cannot be set up; the message says what a person can do."""


def parse_packages(text: str, name: str) -> dict[str, list[str]]:
    """Return the package names of each section. Raises SetupError with file and line."""
    found: dict[str, list[str]] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        word = line.split("#", 1)[0].strip()
        if not word:
            continue
        if word.startswith("[") and word.endswith("]"):
            section = word[1:-1]
            if section not in SECTIONS or section in found:
                raise SetupError(f"{name}:{number}: no section {word}, or twice")
            found[section] = []
        elif not section or not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", word):
            raise SetupError(f"{name}:{number}: {word!r} is not a package name in a section")
        else:
            found[section].append(word)
    return found


def wanted_packages(mode: str) -> list[str]:
    """Return what a mode needs."""
    sections = parse_packages(PACKAGES.read_text(), str(PACKAGES))
    return [package for name in MODES[mode] for package in sections.get(name, [])]


def missing_packages(wanted: list[str]) -> list[str]:
    """Return the packages that dpkg does not know as installed."""
    try:
        state = subprocess.run(
            ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *wanted],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        ).stdout
    except FileNotFoundError as error:
        raise SetupError("this is not a Debian system: there is no dpkg-query") from error
    installed = {
        name for name, status in map(str.split, state.splitlines()) if status == "installed"
    }
    return [package for package in wanted if package not in installed]


def install_packages(missing: list[str]) -> None:
    """Install Debian packages, through sudo when this is not root. Raises SetupError."""
    if not missing:
        return
    root = [] if os.geteuid() == 0 else ["sudo"]
    by_hand = f"sudo apt-get update && sudo apt-get install {' '.join(missing)}"
    if root and not shutil.which("sudo"):
        raise SetupError(f"packages are missing and there is no sudo; as root, run:\n  {by_hand}")
    # The password is asked for here, where a person sees it, not in the middle of a progress bar.
    if root and subprocess.run(["sudo", "--validate"], check=False).returncode:
        raise SetupError(f"packages are missing and sudo refused; as root, run:\n  {by_hand}")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"]
    apt += ["-o", "DPkg::Lock::Timeout=600"]
    try:
        with step("package lists") as progress:
            log = LOGS / "apt-update.log"
            follow([*apt, "update"], log, progress, 10, INSTALL_DEADLINE_S, own_group=False)
        with step("host packages") as progress:
            command = [*apt, "install", "--no-install-recommends", *missing]
            log = LOGS / "apt-install.log"
            expected = 12 * len(missing)
            follow(command, log, progress, expected, INSTALL_DEADLINE_S, own_group=False)
            progress.note(f"{len(missing)} installed")
    except HostError as error:
        raise SetupError(f"{error}\nTo do it by hand:\n  {by_hand}") from error


def create_environment() -> None:
    """Make ``build/venv`` with the wheels that are pinned. Raises SetupError."""
    requirements = REQUIREMENTS.read_bytes() if REQUIREMENTS.exists() else b""
    version = run([str(PYTHON), "-c", "import sys; print(*sys.version_info[:3], sep='.')"]).strip()
    if tuple(map(int, version.split(".")[:2])) < PYTHON_MINIMUM:
        raise SetupError(f"{PYTHON} is {version}; AINOS needs 3.11, which Debian 12 has")
    digest = hashlib.sha256(requirements + version.encode()).hexdigest()
    stamp = VENV / ".made-from"
    if stamp.exists() and stamp.read_text() == digest and (VENV / "bin" / "python").exists():
        return
    with step("python environment") as progress:
        # One that was complete is brought up to date where it is; anything else is made anew.
        fresh = [] if stamp.exists() else ["--clear"]
        stamp.unlink(missing_ok=True)
        run([str(PYTHON), "-m", "venv", *fresh, str(VENV)])
        if requirements:
            command = [str(VENV / "bin" / "python"), "-m", "pip", "install"]
            command += ["--require-hashes", "--no-deps", "--disable-pip-version-check"]
            command += ["--requirement", str(REQUIREMENTS)]
            count = len(re.findall(rb"^[A-Za-z0-9]", requirements, re.MULTILINE))
            try:
                follow(command, LOGS / "pip.log", progress, 4 * count, INSTALL_DEADLINE_S)
            except HostError as error:
                hint = "Is PyPI, or the index in pip's configuration, reachable?"
                raise SetupError(f"{error}\n{hint}") from error
            progress.note(f"{count} packages")
        with published(stamp) as file:
            file.write_text(digest)


def setup(mode: str) -> None:
    """Bring the host to where ``make run`` or ``make test`` can start. Raises SetupError."""
    with exclusive("setup"):
        install_packages(missing_packages(wanted_packages(mode)))
        create_environment()
    native.build(architecture.of(platform.machine()))
