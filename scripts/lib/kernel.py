"""The kernel: Debian's source, our fragments, one image, and modules where a server needs them.

Fragments lie in ``kernel-config``: those at its top are in every kernel, those of a directory in
the kernels for that architecture, and those of ``server`` in the kernel of that set, which has
modules and microcode. The result lies in ``build/cache/kernel/<hash of the inputs>`` and appears
there complete or not at all. Source and objects stay in ``build/cache/kernel/work``: an interrupted
build goes on where it was, and a changed option recompiles only what it touches. The inputs are the
source package, the merged options, the module-signing certificate, microcode, and the tools'
versions. Equal inputs give equal bytes: time, user, host and build number are fixed, and a fixed
time also makes kbuild write type information (BTF) in one thread, hence in one order.

    directory = build(Inputs.collect(X86_64, KernelSet.BASE))
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lib import debian_lock, modules
from lib.architecture import X86_64, Architecture
from lib.debian import Archive
from lib.debian_lock import Entry
from lib.host import (
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
from lib.kernel_source import OUTPUT, SOURCE, WORK, unpack
from lib.progress import follow, step

FRAGMENTS = REPOSITORY / "kernel-config"
# Microcode that is compiled in, where kbuild looks for it (CONFIG_EXTRA_FIRMWARE_DIR).
FIRMWARE = SOURCE / "firmware"
LOG = OUTPUT / "build.log"
MODULE_KEY = KEYS / "module-signing.key"
# Certificates are looked up in the object tree, so no path of this machine gets into the kernel.
CERTIFICATE_IN_TREE = "certs/module-signing.pem"
BUILD_DEADLINE_S = 3 * 3600
# Raised when a change in this module or in `lib.modules` changes the bytes that come out.
RECIPE = 2


class KernelError(HostError):
    """The kernel's configuration or its compilation failed."""


class KernelSet(Enum):
    """Which drivers there are beside those that a root disk needs, and those of virtual machines.

    ``SERVER`` adds the fragments in ``kernel-config/server``: modules that the device service loads
    for the hardware it finds, and microcode.
    """

    BASE = "base"
    SERVER = "server"


# How many lines make prints for a whole build; only the progress bar needs it.
EXPECTED_LINES = {KernelSet.BASE: 3350, KernelSet.SERVER: 4900}


def fragments(architecture: Architecture, kind: KernelSet) -> list[Path]:
    """Return the files that make up one configuration, in the order in which they are read."""
    folders = [FRAGMENTS, FRAGMENTS / architecture.name]
    if kind is KernelSet.SERVER:
        folders.append(FRAGMENTS / "server")
    return [path for folder in folders for path in sorted(folder.glob("*.config"))]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that the kernel's bytes depend on."""

    architecture: Architecture
    kind: KernelSet
    source: Entry
    microcode: tuple[Entry, ...]
    options: dict[str, Option]
    certificate: Path
    tools: tuple[str, ...]

    @classmethod
    def collect(
        cls, architecture: Architecture = X86_64, kind: KernelSet = KernelSet.BASE
    ) -> Inputs:
        """Read the lock, the fragments and the tools' versions. Raises HostError."""
        if kind is KernelSet.SERVER and architecture is not X86_64:
            raise KernelError(f"there is no server kernel for {architecture.name} yet")
        (source,) = debian_lock.read(group="kernel")
        has_microcode = kind is KernelSet.SERVER
        microcode = debian_lock.read(group="microcode") if has_microcode else []
        options, findings = merge_fragments(
            (str(path.relative_to(REPOSITORY)), path.read_text(), path.parent.name == "server")
            for path in fragments(architecture, kind)
        )
        if findings:
            raise KernelError("kernel configuration:\n" + "\n".join(findings))
        compiler = compiler_prefix(architecture)
        commands = [[f"{compiler}gcc", "--version"], [f"{compiler}ld", "--version"]]
        commands.append(["pahole", "--version"])
        tools = tuple(run(command).splitlines()[0] for command in commands)
        certificate = module_certificate()
        return cls(architecture, kind, source, tuple(microcode), options, certificate, tools)

    @property
    def objects(self) -> Path:
        """The object tree. Both sets share one: what they have in common is compiled once."""
        return WORK / f"objects-{self.architecture.name}"

    @property
    def digest(self) -> str:
        """Return what names the result. Comments and order of fragments do not count."""
        recipe = {
            "recipe": RECIPE,
            "architecture": self.architecture.name,
            "set": self.kind.value,
            "source": self.source.sha256,
            "microcode": [entry.sha256 for entry in self.microcode],
            "options": render(self.options),
            "certificate": sha256_file(self.certificate),
            "tools": self.tools,
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def compiler_prefix(architecture: Architecture) -> str:
    """Return what the names of the compiler's programs begin with; empty for this machine's own."""
    return "" if architecture.name == platform.machine() else f"{architecture.triplet}-"


def module_certificate() -> Path:
    """Return the certificate that modules are verified with; make its key on first use.

    The private key stays in ``build/keys``: the kernel is compiled with the certificate alone.
    """
    key, certificate = MODULE_KEY, KEYS / "module-signing.pem"
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


def make_command(inputs: Inputs, *targets: str) -> list[str]:
    """Return the command line of kbuild for some targets."""
    command = ["make", "-C", str(SOURCE), f"O={inputs.objects}"]
    command.append(f"ARCH={inputs.architecture.kernel}")
    if prefix := compiler_prefix(inputs.architecture):
        command.append(f"CROSS_COMPILE={prefix}")
    return [*command, *targets]


def configure(inputs: Inputs) -> Path:
    """Write the final ``.config`` and check every requested option in it. Raises KernelError."""
    unpack(inputs.source)
    lay_microcode(inputs, FIRMWARE)
    inputs.objects.mkdir(parents=True, exist_ok=True)
    requested = inputs.objects / "requested.config"
    requested.write_text(render(inputs.options))
    config = inputs.objects / ".config"
    run(
        make_command(inputs, "--silent", f"KCONFIG_ALLCONFIG={requested}", "allnoconfig"),
        env=fixed_environment(),
    )
    check(inputs.options, config)
    return config


def lay_microcode(inputs: Inputs, target: Path) -> None:
    """Put the microcode that is compiled in, if there is any, where kbuild looks for it."""
    if inputs.microcode:
        modules.lay_firmware(Archive().download(inputs.microcode), target)


def check(options: Mapping[str, Option], config: Path) -> None:
    """Raise KernelError, naming file and line, when a requested option is not in ``config``."""
    findings = find_dropped(options, config.read_text())
    if findings:
        raise KernelError(
            "Kconfig did not keep what was asked for (a dependency is missing):\n"
            + "\n".join(findings)
        )


def compile_kernel(inputs: Inputs) -> None:
    """Run make, with its output in a log and its progress shown. Raises CommandError."""
    targets = [Path(inputs.architecture.kernel_image).name]
    if inputs.kind is KernelSet.SERVER:
        targets.append("modules")
    make = make_command(inputs, f"-j{os.cpu_count() or 1}", *targets)
    expected = EXPECTED_LINES[inputs.kind]
    with step("kernel") as progress:
        environment = fixed_environment()
        follow(
            ["nice", "-n", "5", *make], LOG, progress, expected, BUILD_DEADLINE_S, env=environment
        )
        progress.note(f"log in {LOG.relative_to(REPOSITORY)}")


def build(inputs: Inputs) -> Path:
    """Return the directory with ``image``, ``config``, ``System.map`` and ``version``.

    That of a server kernel also has ``modules``, a tree to lay over a root file system, and
    ``build``, which other modules are compiled against. Built when it is not there yet. Raises
    HostError.
    """
    directory = OUTPUT / inputs.digest
    if not directory.exists():
        with exclusive("kernel"):
            if not directory.exists():
                _build(inputs, directory)
    return directory


def _build(inputs: Inputs, directory: Path) -> None:
    config = configure(inputs)
    certificate = inputs.objects / CERTIFICATE_IN_TREE
    certificate.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(inputs.certificate, certificate)
    compile_kernel(inputs)
    with published_tree(directory) as result:
        shutil.copyfile(inputs.objects / inputs.architecture.kernel_image, result / "image")
        shutil.copyfile(inputs.objects / "System.map", result / "System.map")
        shutil.copyfile(config, result / "config")
        release = inputs.objects / "include/config/kernel.release"
        shutil.copyfile(release, result / "version")
        if inputs.kind is KernelSet.SERVER:
            _install_modules(inputs, result)


def _install_modules(inputs: Inputs, result: Path) -> None:
    with step("kernel modules") as progress:
        install = ["CONFIG_MODULE_SIG_ALL=", "INSTALL_MOD_STRIP=1", "DEPMOD=true"]
        install += [f"INSTALL_MOD_PATH={result / 'modules'}", "modules_install"]
        run(make_command(inputs, "--silent", *install), env=fixed_environment())
        signer = modules.Signer(inputs.objects, MODULE_KEY, inputs.certificate)
        count = modules.finish(result / "modules", signer)
        modules.keep_build_tree(inputs.objects, result / "build")
        progress.note(f"{count} signed")
