"""NVIDIA's open kernel modules, compiled against our kernel, patched where it has moved on, signed.

The result lies in ``build/cache/nvidia/modules/<hash of the inputs>``: source of the driver, kernel
and its source, patches, certificate. Equal inputs give equal modules up to the signature, in which
ECDSA puts a random number: no path, no time and no debugging information gets in.

    folder = build(driver, kernel)      # nvidia.ko, nvidia-uvm.ko
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lib import debian_lock, kernel_source
from lib import kernel as linux
from lib.debian_lock import Entry
from lib.host import (
    REPOSITORY,
    HostError,
    exclusive,
    published_tree,
    run,
    sha256_file,
)
from lib.modules import Signer, verify_signature
from lib.nvidia import OUTPUT, Driver
from lib.progress import follow, step

PATCHES = REPOSITORY / "scripts" / "nvidia-patches"
# CUDA needs these two. Display (modeset, drm) is for workstations. nvidia-peermem serves InfiniBand
# drivers from outside the kernel; the kernel's own share GPU memory by dma-buf, as nvidia.ko does.
MODULES = ("nvidia", "nvidia-uvm")
LOG = OUTPUT / "modules.log"
# How many lines make prints; only the progress bar needs it.
EXPECTED_LINES = 820
BUILD_DEADLINE_S = 3600
# Raised when a change in this module changes the bytes that come out.
RECIPE = 1


class ModuleBuildError(HostError):
    """A patch does not fit, or a module is not what the kernel would take."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A change to the driver's source. It is not for a source whose file holds the word."""

    path: Path
    file: str
    word: str

    def is_needed(self, source: Path) -> bool:
        """Whether this source has not got the change in its own way."""
        file = source / self.file
        return self.word not in (file.read_text(errors="replace") if file.exists() else "")

    def apply(self, source: Path) -> None:
        """Change the source. Raises ModuleBuildError when the patch does not fit."""
        command = ["patch", "--strip=1", "--forward", "--no-backup-if-mismatch", "--fuzz=0"]
        command += ["--directory", str(source), "--input", str(self.path)]
        try:
            run(command)
        except HostError as error:
            raise ModuleBuildError(
                f"{self.path.name} does not fit this driver; it needs a patch of its own, or none "
                f"({self.file} would then hold {self.word})\n{error}"
            ) from error


def patches(folder: Path = PATCHES) -> list[Patch]:
    """Read the patches, each with its line ``Unless: <file> has <word>``."""
    found = []
    for path in sorted(folder.glob("*.patch")):
        match = re.search(r"^Unless: (\S+) has (\S+)$", path.read_text(), re.MULTILINE)
        if not match:
            raise ModuleBuildError(f"{path}: no line `Unless: <file> has <word>`")
        found.append(Patch(path, match[1], match[2]))
    return found


def digest(
    driver: Driver, kernel: Path, headers: Entry, needed: list[Patch], certificate: Path
) -> str:
    """Return what names the result."""
    found = hashlib.sha256(f"{RECIPE} {' '.join(MODULES)} {driver.digest}".encode())
    found.update(headers.sha256.encode())
    paths = [kernel / "build/.config", kernel / "build/Module.symvers", kernel / "version"]
    for path in (*paths, *(patch.path for patch in needed), certificate):
        found.update(sha256_file(path).encode())
    return found.hexdigest()[:16]


def build(driver: Driver, kernel: Path) -> Path:
    """Return the directory of the signed modules, compiled when it is not there yet.

    ``kernel`` is what `lib.kernel.build` returned for the server set. Raises HostError.
    """
    needed = [patch for patch in patches() if patch.is_needed(driver.source)]
    certificate = linux.module_certificate()
    release = (kernel / "version").read_text().strip()
    (headers,) = debian_lock.read(group="kernel")
    if release.split("-")[0] != headers.version.split("-")[0]:
        raise ModuleBuildError(
            f"{kernel} is a kernel of release {release}, and scripts/debian.lock has the source of "
            f"{headers.version}: `scripts/kernel --set server` builds its kernel"
        )
    folder = OUTPUT / "modules" / digest(driver, kernel, headers, needed, certificate)
    with exclusive("nvidia-modules"):
        if folder.exists():
            return folder
        OUTPUT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="work.", dir=OUTPUT) as work:
            source = Path(work) / "source"
            run(["cp", "--archive", "--reflink=auto", f"{driver.source}/.", str(source)])
            for patch in needed:
                patch.apply(source)
            compile_modules(source, kernel, headers)
            with published_tree(folder) as result:
                signer = Signer(kernel / "build", linux.MODULE_KEY, certificate)
                for name in MODULES:
                    module = result / f"{name}.ko"
                    strip = ["strip", "--strip-debug", f"{source}/{name}.ko", "-o", str(module)]
                    run(strip)
                    signer.sign(module)
                    verify(module, driver.version, release, certificate)
    return folder


def compile_modules(source: Path, kernel: Path, headers: Entry) -> None:
    """Run NVIDIA's makefile, with its output in a log and its progress shown.

    ``headers`` is the kernel's source package: a kernel out of the cache may have left none behind,
    or another one's. Nobody replaces it meanwhile: that takes the kernel's lock. modpost fails,
    naming it, on every symbol that kernel and modules lack.
    """
    flags = f"-g0 -ffile-prefix-map={source}=nvidia"
    command = ["nice", "-n", "5", "make", "-C", str(source), f"-j{os.cpu_count() or 1}", "modules"]
    command += [f"SYSSRC={kernel_source.SOURCE}", f"SYSOUT={kernel / 'build'}", "ARCH=x86_64"]
    command += [f"NV_KERNEL_MODULES={' '.join(MODULES)}", f"KCFLAGS={flags}"]
    # Type information would need the kernel's own, hundreds of MiB; nothing here reads it.
    command.append("CONFIG_DEBUG_INFO_BTF_MODULES=")
    with exclusive("kernel"):
        kernel_source.unpack(headers)
        with step("nvidia modules") as progress:
            environment = linux.fixed_environment()
            follow(command, LOG, progress, EXPECTED_LINES, BUILD_DEADLINE_S, env=environment)
            progress.note(f"log in {LOG.relative_to(REPOSITORY)}")


def verify(module: Path, version: str, release: str, certificate: Path) -> None:
    """Check what the kernel of that release will: that it is for it, and signed by the build's key.

    Raises HostError.
    """
    stated = {
        field: run(["modinfo", "-F", field, str(module)]).strip()
        for field in ("vermagic", "version")
    }
    if stated["vermagic"].split(" ")[0] != release:
        raise ModuleBuildError(f"{module} is for {stated['vermagic']}, not for {release}")
    if stated["version"] != version:
        raise ModuleBuildError(f"{module} is of release {stated['version']}, not {version}")
    verify_signature(module, certificate)


def verify_tree(root: Path, version: str, objects: Path, certificate: Path) -> list[Path]:
    """Check the modules that another builder put into a tree, wherever; return where they are.

    ``objects`` is where the tree's kernel was compiled. Raises HostError.
    """
    release = (objects / "include/config/kernel.release").read_text().strip()
    folder = root / "usr/lib/modules" / release
    checked = []
    for name in MODULES:
        found = sorted(folder.rglob(f"{name}.ko"))
        if len(found) != 1:
            places = ", ".join(map(str, found)) or "none"
            raise ModuleBuildError(f"{folder} has to hold one {name}.ko; it holds {places}")
        verify(found[0], version, release, certificate)
        checked += found
    return checked


def install(folder: Path, root: Path, kernel: Path) -> None:
    """Copy built modules to where modprobe finds them; the caller writes the indexes anew."""
    release = (kernel / "version").read_text().strip()
    target = root / "usr/lib/modules" / release / "extra"
    target.mkdir(parents=True, exist_ok=True)
    for name in MODULES:
        shutil.copyfile(folder / f"{name}.ko", target / f"{name}.ko")
