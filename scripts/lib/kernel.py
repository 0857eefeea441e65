"""The kernel: Debian's source, our fragments, one bzImage.

The result lies in ``build/cache/kernel/<hash of the inputs>`` and appears there complete or not at
all. Source and objects stay in ``build/cache/kernel/work``: an interrupted build goes on where it
was, and a changed option recompiles only what it touches. The inputs are the source package, the
merged options, the module-signing certificate and the tools' versions. Equal inputs give equal
bytes: time, user, host and build number are fixed, and a fixed time also makes kbuild write type
information (BTF) in one thread, hence in one order.

    directory = build(Inputs.collect())
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.debian import Archive, Entry
from lib.host import (
    CACHE,
    KEYS,
    REPOSITORY,
    HostError,
    exclusive,
    published,
    published_tree,
    run,
    sha256_file,
)
from lib.kconfig import Option, find_dropped, merge_fragments, render
from lib.progress import follow, step

FRAGMENTS = REPOSITORY / "kernel-config"
OUTPUT = CACHE / "kernel"
WORK = OUTPUT / "work"
SOURCE = WORK / "source"
OBJECTS = WORK / "objects"
LOG = OUTPUT / "build.log"
# Certificates are looked up in the object tree, so no path of this machine gets into the kernel.
CERTIFICATE_IN_TREE = "certs/module-signing.pem"
# How many lines make prints for a whole build; only the progress bar needs it.
EXPECTED_LINES = 3270
BUILD_DEADLINE_S = 3 * 3600
# Raised when a change in this module changes the bytes that come out.
RECIPE = 1


class KernelError(HostError):
    """The kernel's configuration or its compilation failed."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that the kernel's bytes depend on."""

    source: Entry
    options: dict[str, Option]
    certificate: Path
    tools: tuple[str, ...]

    @classmethod
    def collect(cls) -> Inputs:
        """Read the lock, the fragments and the tools' versions. Raises HostError."""
        (source,) = Archive.lock_read(group="kernel")
        fragments = [
            (str(path.relative_to(REPOSITORY)), path.read_text())
            for path in sorted(FRAGMENTS.glob("*.config"))
        ]
        options, findings = merge_fragments(fragments)
        if findings:
            raise KernelError("kernel configuration:\n" + "\n".join(findings))
        commands = (["gcc", "--version"], ["ld", "--version"], ["pahole", "--version"])
        tools = tuple(run(command).splitlines()[0] for command in commands)
        return cls(source, options, module_certificate(), tools)

    @property
    def digest(self) -> str:
        """Return what names the result. Comments and order of fragments do not count."""
        recipe = {
            "recipe": RECIPE,
            "source": self.source.sha256,
            "options": render(self.options),
            "certificate": sha256_file(self.certificate),
            "tools": self.tools,
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def module_certificate() -> Path:
    """Return the certificate that modules are verified with; make its key on first use.

    The private key stays in ``build/keys``: the kernel is compiled with the certificate alone.
    """
    key, certificate = KEYS / "module-signing.key", KEYS / "module-signing.pem"
    with exclusive("keys"):
        if not (key.exists() and certificate.exists()):
            KEYS.mkdir(parents=True, exist_ok=True)
            KEYS.chmod(0o700)
            with published(key) as new_key, published(certificate) as new_certificate:
                command = ["openssl", "req", "-new", "-x509", "-sha512", "-days", "36500"]
                command += ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]
                command += ["-batch", "-subj", "/CN=AINOS module signing"]
                command += ["-addext", "keyUsage=digitalSignature"]
                command += ["-addext", "basicConstraints=critical,CA:FALSE"]
                run([*command, "-keyout", str(new_key), "-out", str(new_certificate)])
                new_key.chmod(0o600)
    return certificate


def unpack(source: Entry) -> None:
    """Lay out the kernel's source, unless this very package is laid out already."""
    stamp = SOURCE / ".package-sha256"
    if stamp.exists() and stamp.read_text() == source.sha256:
        return
    (package,) = Archive().download([source])
    with step("kernel source") as progress:
        progress.note(source.version)
        shutil.rmtree(OBJECTS, ignore_errors=True)
        with published_tree(SOURCE) as tree:
            extract = "tar --extract --xz --strip-components=1 --directory"
            _pipe(source, package, f"{extract} {shlex.quote(str(tree))}")
            (tree / stamp.name).write_text(source.sha256)


def source_tarball(source: Entry) -> Path:
    """Return the source as a tarball whose name holds its version, for Buildroot's cache."""
    tarball = OUTPUT / f"linux-{source.version}.tar.xz"
    if not tarball.exists():
        (package,) = Archive().download([source])
        with published(tarball) as file:
            _pipe(source, package, f"cat > {shlex.quote(str(file))}")
    return tarball


def _pipe(source: Entry, package: Path, sink: str) -> None:
    """Feed the tarball inside the source package to a shell command."""
    shell = f'dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout "$2" | {sink}'
    inner = f"./usr/src/{source.package}.tar.xz"
    run(["bash", "-o", "pipefail", "-c", shell, "bash", str(package), inner])


def fixed_environment() -> dict[str, str]:
    """Return the variables that keep time, place and person out of the kernel."""
    epoch = int((SOURCE / "Makefile").stat().st_mtime)
    return {
        "SOURCE_DATE_EPOCH": str(epoch),
        "KBUILD_BUILD_TIMESTAMP": time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(epoch)),
        "KBUILD_BUILD_USER": "ainos",
        "KBUILD_BUILD_HOST": "ainos",
        "KBUILD_BUILD_VERSION": "1",
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def make_command(*targets: str) -> list[str]:
    """Return the command line of kbuild for some targets."""
    return ["make", "-C", str(SOURCE), f"O={OBJECTS}", "ARCH=x86_64", *targets]


def configure(inputs: Inputs) -> Path:
    """Write the final ``.config`` and check every requested option in it. Raises KernelError."""
    unpack(inputs.source)
    OBJECTS.mkdir(parents=True, exist_ok=True)
    requested = WORK / "requested.config"
    requested.write_text(render(inputs.options))
    config = OBJECTS / ".config"
    run(
        make_command("--silent", f"KCONFIG_ALLCONFIG={requested}", "allnoconfig"),
        env=fixed_environment(),
    )
    check(inputs.options, config)
    return config


def check(options: Mapping[str, Option], config: Path) -> None:
    """Raise KernelError, naming file and line, when a requested option is not in ``config``."""
    findings = find_dropped(options, config.read_text())
    if findings:
        raise KernelError(
            "Kconfig did not keep what was asked for (a dependency is missing):\n"
            + "\n".join(findings)
        )


def compile_kernel() -> None:
    """Run make, with its output in a log and its progress shown. Raises CommandError."""
    command = ["nice", "-n", "5", *make_command(f"-j{os.cpu_count() or 1}", "bzImage")]
    with step("kernel") as progress:
        follow(command, LOG, progress, EXPECTED_LINES, BUILD_DEADLINE_S, env=fixed_environment())
        progress.note(f"log in {LOG.relative_to(REPOSITORY)}")


def build(inputs: Inputs) -> Path:
    """Return the directory with ``bzImage``, ``config``, ``System.map`` and ``version``.

    Built when it is not there yet. Raises HostError.
    """
    directory = OUTPUT / inputs.digest
    with exclusive("kernel"):
        if directory.exists():
            return directory
        config = configure(inputs)
        certificate = OBJECTS / CERTIFICATE_IN_TREE
        certificate.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(inputs.certificate, certificate)
        compile_kernel()
        with published_tree(directory) as result:
            shutil.copyfile(OBJECTS / "arch/x86/boot/bzImage", result / "bzImage")
            shutil.copyfile(OBJECTS / "System.map", result / "System.map")
            shutil.copyfile(config, result / "config")
            shutil.copyfile(OBJECTS / "include/config/kernel.release", result / "version")
    return directory
