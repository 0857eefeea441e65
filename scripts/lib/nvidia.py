"""NVIDIA's driver: one version of it, from Debian's packages or from a directory of the user's.

A driver is one release of everything: kernel modules, GSP firmware and user space refuse each other
when their versions differ by a digit. `of_debian` and `of_directory` find the parts and compare
what each says of itself, not its file name; `UNCHECKED` are those that do not say it.

    driver = selected()              # NVIDIA_DRIVER, or Debian's
    components = nvidia_tree.lay(root, driver, kernel)

The open modules are used, the only ones that Hopper and later take; they need a GPU with a GSP
(Turing and later).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lib import debian_lock
from lib.architecture import X86_64
from lib.debian import Archive
from lib.debian_lock import Entry
from lib.host import CACHE, HostError, exclusive, published_tree, run, sha256_file
from lib.tree import unpack

GROUP = "nvidia-driver"
OUTPUT = CACHE / "nvidia"
VARIABLE = "NVIDIA_DRIVER"
# What a compute server runs of the user space: no graphics, no video, no OpenCL.
REQUIRED = (
    "libcuda.so",
    "libnvidia-ml.so",
    "libnvidia-ptxjitcompiler.so",  # kernels that arrive as PTX
    "libnvidia-cfg.so",  # nvidia-persistenced
)
# Cryptography of confidential computing on Hopper and later; releases before 535 have none.
OPTIONAL = ("libnvidia-pkcs11-openssl3.so",)
PROGRAMS = ("nvidia-smi", "nvidia-modprobe", "nvidia-persistenced")
# What states no release that could be checked: the compiler none at all, and Debian packages the
# other two by themselves, with releases of their own.
UNCHECKED = ("libnvidia-ptxjitcompiler.so", "nvidia-modprobe", "nvidia-persistenced")
# Turing and GA100 (A100) take the first, the other Amperes and all later GPUs (H100) the second.
FIRMWARE = ("gsp_tu10x.bin", "gsp_ga10x.bin")
# Where the archive of the fabric manager is unpacked, inside the user's directory.
FABRIC_MANAGER = "fabricmanager"
FABRIC_MANAGER_PROGRAM = "bin/nv-fabricmanager"
FABRIC_MANAGER_CONFIGURATION = "etc/fabricmanager.cfg"
FABRIC_MANAGER_DATA = "share/nvidia/nvswitch"
# The places in Debian's packages.
DEBIAN_LIBRARIES = (f"{X86_64.libraries}/nvidia/current", X86_64.libraries)
DEBIAN_SOURCE = "usr/src/nvidia-open-kernel.tar.xz"


class DriverError(HostError):
    """The driver is incomplete, or its parts are not of one release."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One release of the driver, by where its parts lie on the build host."""

    version: str
    source: Path
    libraries: tuple[Path, ...]
    programs: tuple[Path, ...]
    firmware: tuple[Path, ...]
    licences: tuple[Path, ...]
    # The unpacked archive of the fabric manager, for machines with NVSwitches.
    fabric_manager: Path | None
    # The packages that it came from; none when it came from a directory.
    entries: tuple[Entry, ...] = ()

    @property
    def digest(self) -> str:
        """Return what names this driver: the hash of its parts."""
        digest = hashlib.sha256(self.version.encode())
        if self.entries:
            digest.update("".join(sorted(entry.sha256 for entry in self.entries)).encode())
            return digest.hexdigest()
        parts = [*self.libraries, *self.programs, *self.firmware, *self.licences]
        for folder in (self.source, self.fabric_manager):
            parts += sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
        for path in parts:
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        return digest.hexdigest()


def selected(environment: Mapping[str, str] = os.environ) -> Driver:
    """Return the driver that the user chose with NVIDIA_DRIVER, else Debian's."""
    chosen = environment.get(VARIABLE, "")
    return of_directory(Path(chosen)) if chosen else of_debian()


def of_debian() -> Driver:
    """Return the driver that the lock names, downloaded and unpacked on first use."""
    entries = tuple(debian_lock.read(group=GROUP))
    if not entries:
        raise DriverError(f"scripts/debian.lock has no group {GROUP}; `make relock` writes it")
    key = hashlib.sha256("".join(entry.sha256 for entry in entries).encode()).hexdigest()[:16]
    tree = OUTPUT / "debian" / key
    with exclusive("nvidia-driver"):
        if not tree.exists():
            packages = Archive().download(entries)
            with published_tree(tree) as temporary:
                unpack(packages, temporary)
                source = temporary / "kernel-open"
                source.mkdir()
                extract = ["tar", "--extract", "--xz", "--no-same-owner", "--strip-components=2"]
                extract += ["--directory", str(source), "--file", str(temporary / DEBIAN_SOURCE)]
                run(extract)
                (temporary / DEBIAN_SOURCE).unlink()
    firmware = tree / "usr/lib/firmware/nvidia"
    return _collect(
        tree / "kernel-open",
        [tree / place for place in DEBIAN_LIBRARIES],
        [tree / "usr/bin", tree / "usr/lib/nvidia/current"],
        sorted(firmware.iterdir()),
        sorted((tree / "usr/share/doc").glob("*/copyright")),
        entries=entries,
    )


def of_directory(path: Path) -> Driver:
    """Return the driver in an unpacked ``NVIDIA-Linux-<machine>-<version>.run``."""
    if not (path / "kernel-open").is_dir():
        raise DriverError(
            f"{VARIABLE}={path}: there is no kernel-open/ in it; unpack the driver with "
            "`sh NVIDIA-Linux-x86_64-<version>.run --extract-only` and name that directory"
        )
    fabric_manager = path / FABRIC_MANAGER
    return _collect(
        path / "kernel-open",
        [path],
        [path],
        [path / "firmware"],
        [path / "LICENSE"],
        fabric_manager=fabric_manager if fabric_manager.is_dir() else None,
    )


def _collect(
    source: Path,
    libraries: Iterable[Path],
    programs: Iterable[Path],
    firmware: Iterable[Path],
    licences: Iterable[Path],
    *,
    fabric_manager: Path | None = None,
    entries: tuple[Entry, ...] = (),
) -> Driver:
    """Find every part in the places given and check them. Raises DriverError with all findings."""
    version = source_version(source)
    findings: list[str] = []

    def find(names: Iterable[str], places: Iterable[Path], *, needed: bool = True) -> list[Path]:
        found = []
        for name in names:
            hits = [place / name for place in places if (place / name).is_file()]
            found += hits[:1]
            if needed and not hits:
                findings.append(f"{name} is missing in {', '.join(map(str, places))}")
        return found

    libraries, programs, firmware = list(libraries), list(programs), list(firmware)
    found = find((f"{name}.{version}" for name in REQUIRED), libraries)
    found += find((f"{name}.{version}" for name in OPTIONAL), libraries, needed=False)
    driver = Driver(
        version,
        source,
        tuple(found),
        tuple(find(PROGRAMS, programs)),
        tuple(find(FIRMWARE, firmware)),
        tuple(path for path in licences if path.is_file()),
        fabric_manager,
        entries,
    )
    if not driver.licences:
        findings.append("its licence is missing")
    findings += mismatches(driver)
    if findings:
        raise DriverError(
            f"the driver's modules ({source}) are of release {version}, and not all of it is:\n  "
            + "\n  ".join(findings)
            + "\ntake all parts from one release"
        )
    return driver


def source_version(source: Path) -> str:
    """Return the release of the modules' source, as its Kbuild states it."""
    kbuild = source / "Kbuild"
    text = kbuild.read_text(errors="replace") if kbuild.exists() else ""
    match = re.search(r'-DNV_VERSION_STRING=\\"([0-9]+(?:\.[0-9]+)+)\\"', text)
    if not match:
        raise DriverError(f"{kbuild}: no NV_VERSION_STRING; this is not NVIDIA's kernel-open")
    return match[1]


def firmware_version(path: Path) -> str:
    """Return the release that a GSP firmware states in its section ``.fwversion``; "" for none."""
    printed = run(["readelf", "--string-dump=.fwversion", str(path)], env={"LC_ALL": "C"})
    match = re.search(r"^ +\[ *0\] +(\S+)$", printed, re.MULTILINE)
    return match[1] if match else ""


def states(path: Path, version: str) -> bool:
    """Whether a file holds this release as a whole, not as the beginning or end of another."""
    pattern = rb"(?<![0-9])(?<![0-9]\.)" + re.escape(version.encode()) + rb"(?!\.?[0-9])"
    return re.search(pattern, path.read_bytes()) is not None


def mismatches(driver: Driver) -> list[str]:
    """Return a finding for each part whose content states another release than the modules'."""
    findings = []
    for path in driver.firmware:
        stated = firmware_version(path)
        if stated != driver.version:
            findings.append(f"{path} is of release {stated or 'unknown'}")
    stating = [
        path
        for path in (*driver.libraries, *driver.programs)
        if path.name.removesuffix(f".{driver.version}") not in UNCHECKED
    ]
    if driver.fabric_manager:
        if (manager := driver.fabric_manager / FABRIC_MANAGER_PROGRAM).is_file():
            stating.append(manager)
        else:
            findings.append(f"{manager} is missing")
        data = (FABRIC_MANAGER_DATA, FABRIC_MANAGER_CONFIGURATION)
        wanted = [driver.fabric_manager / name for name in data]
        findings += [f"{path} is missing" for path in wanted if not path.exists()]
    return findings + [
        f"{path} does not state release {driver.version}"
        for path in stating
        if not states(path, driver.version)
    ]
