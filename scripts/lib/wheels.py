"""Wheels: lists resolved into pinned files, downloaded by hash, laid into a tree.

A list ``<name>.in`` says what is wanted and why, and ``-name`` what is not; its lock ``<name>.txt``
pins one file of each package by version and SHA-256. pip resolves, downloads and checks; a wheel is
a zip archive (PEP 427), so laying it out needs neither pip nor the interpreter it is meant for.

    for wheel in download(lock_of("wheels", X86_64), guest(X86_64)): lay(wheel, site_packages)
"""

from __future__ import annotations

import email.message
import email.parser
import hashlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib.architecture import X86_64, Architecture
from lib.host import CACHE, REPOSITORY, VENV, HostError, published, published_tree, run, sha256_file

SCRIPTS = REPOSITORY / "scripts"
# The guest's Python where Debian provides it; Buildroot's is the next one.
PYTHON = "3.13"
PYTHONS = (PYTHON, "3.14")
DIST_PACKAGES = "usr/lib/python3/dist-packages"
# What the guest's glibc (2.41) satisfies (PEP 600); pip takes exactly the tags it is given.
MANYLINUX = (*(f"manylinux_2_{minor}" for minor in (34, 31, 28, 27, 17)), "manylinux2014")
DOWNLOAD_DEADLINE_S = 1800


class WheelError(HostError):
    """A wheel, or a list of them, is not what it should be."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a wheel says about itself. ``licence`` is "" when it says nothing usable."""

    name: str
    version: str
    licence: str
    sha256: str


def guest(architecture: Architecture, python: str = PYTHON) -> tuple[str, ...]:
    """Return pip's options that describe the guest, whose Python has that version."""
    version = python.replace(".", "")
    return (
        f"--python-version={python}",
        "--implementation=cp",
        *(f"--abi={abi}" for abi in (f"cp{version}", "abi3", "none")),
        *(f"--platform={tag}_{architecture.wheel}" for tag in MANYLINUX),
    )


def lock_of(name: str, architecture: Architecture, python: str = PYTHON) -> Path:
    """Return the lock of a list; compiled files differ by architecture and version of Python."""
    suffix = "" if architecture is X86_64 else f"-{architecture.name}"
    suffix += "" if python == PYTHON else f"-python{python}"
    return SCRIPTS / f"{name}{suffix}.txt"


def _pip(arguments: Sequence[str]) -> None:
    run([str(VENV / "bin/python"), "-m", "pip", *arguments], timeout=DOWNLOAD_DEADLINE_S)


def resolve(wanted: Path, lock: Path, target: Sequence[str] = (), *, closure: bool = True) -> int:
    """Write the lock of a list, with what the packages depend on; return how many there are."""
    lines = [line.split("#", 1)[0].strip() for line in wanted.read_text().splitlines()]
    excluded = {line[1:] for line in lines if line.startswith("-")}
    names = [line for line in lines if line and not line.startswith("-")]
    command = ["download", "--quiet", "--only-binary=:all:", *target]
    with tempfile.TemporaryDirectory() as folder:
        _pip([*command, *([] if closure else ["--no-deps"]), "-d", folder, *names])
        found = sorted(map(inspect, Path(folder).glob("*.whl")), key=lambda wheel: wheel.name)
    if idle := excluded - {distribution.name for distribution in found}:
        raise WheelError(f"{wanted}: nothing depends on {', '.join(sorted(idle))}")
    found = [distribution for distribution in found if distribution.name not in excluded]
    with published(lock) as file:
        text = [f"# From {wanted.name} by `make relock`: what is taken, and no other file.\n"]
        text += [f"{d.name}=={d.version} --hash=sha256:{d.sha256}\n" for d in found]
        file.write_text("".join(text))
    return len(found)


def parse_lock(text: str, name: str) -> dict[str, str]:
    """Return SHA-256 by package name. Raises WheelError with file and line."""
    pins = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line)
        if not match:
            raise WheelError(f"{name}:{number}: expected <name>==<version> --hash=sha256:<digits>")
        pins[match[1]] = match[3]
    return pins


def download(lock: Path, target: Sequence[str] = (), cache: Path = CACHE / "wheels") -> list[Path]:
    """Return the files of a lock, sorted; each is checked against its hash, cached or not."""
    text = lock.read_text()
    pins = set(parse_lock(text, str(lock)).values())
    folder = cache / hashlib.sha256(text.encode()).hexdigest()[:16]
    if not folder.exists():
        with published_tree(folder) as temporary:
            command = ["download", "--quiet", "--no-deps", "--only-binary=:all:", *target]
            _pip([*command, "--require-hashes", "-d", str(temporary), "-r", str(lock)])
    wheels = sorted(folder.glob("*.whl"))
    if {sha256_file(wheel) for wheel in wheels} != pins:
        shutil.rmtree(folder)
        raise WheelError(f"{folder} did not hold the files of {lock.name}; removed it, try again")
    return wheels


def inspect(wheel: Path) -> Distribution:
    """Read a wheel's own metadata (PEP 566, PEP 639)."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
        if len(names) != 1:
            raise WheelError(f"{wheel}: not one METADATA file")
        metadata = email.parser.BytesParser().parsebytes(archive.read(names[0]), headersonly=True)
    name = re.sub(r"[-_.]+", "-", str(metadata["Name"])).lower()
    return Distribution(name, str(metadata["Version"]), _licence(metadata), sha256_file(wheel))


def _licence(metadata: email.message.Message) -> str:
    """The licence expression; else a short free-text licence; else the classifier's last part."""
    if metadata["License-Expression"]:
        return str(metadata["License-Expression"])
    text = str(metadata["License"] or "").strip()
    if text and text != "UNKNOWN" and "\n" not in text and len(text) < 60:
        return text
    classifiers = [str(value) for value in metadata.get_all("Classifier", [])]
    named = [value.split(" :: ")[-1] for value in classifiers if value.startswith("License ::")]
    return " AND ".join(sorted(set(named) - {"OSI Approved"}))


def lay(wheel: Path, destination: Path) -> None:
    """Lay a wheel's modules into a directory; programs and data files are left out."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = PurePosixPath(member.filename)
            if member.is_dir():
                continue
            if path.is_absolute() or ".." in path.parts:
                raise WheelError(f"{wheel}: {member.filename} leaves the tree")
            parts = path.parts
            if parts[0].endswith(".data"):
                if parts[1] not in ("purelib", "platlib"):
                    continue
                parts = parts[2:]
            target = destination.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
